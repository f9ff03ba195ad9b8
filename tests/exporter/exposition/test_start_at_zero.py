from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from temporal_slo.exporter.exposition.start_at_zero import HOLD, StartAtZero, zero_of
from temporal_slo.names.samples import Histogram, Observations


@dataclass
class Clock:
    """A clock that stands."""

    now: float = 1000.0

    def __call__(self) -> float:
        """Tell the time."""
        return self.now


def gate(clock: Clock | None = None, known: Iterable[str] = ()) -> StartAtZero[str, float]:
    """A gate for plain numbers."""
    return StartAtZero(clock or Clock(), known=known)


def test_new_series_starts_at_zero() -> None:
    """A series that appears at 7 is exposed at 0 until a scrape has read that, then at what it has become."""
    counters = gate()
    assert counters.expose({"a": 7}) == {"a": 0}
    assert counters.expose({"a": 9}) == {"a": 0}
    counters.served(2)
    assert counters.expose({"a": 11}) == {"a": 11}


def test_zero_is_held_too() -> None:
    """A series that appears at 0 is held as well: unread, its zero is no start for the next increment."""
    counters = gate()
    counters.expose({"a": 0})
    assert counters.expose({"a": 3}) == {"a": 0}
    counters.served(counters.generation)
    assert counters.expose({"a": 3}) == {"a": 3}


def test_read_zero_is_a_start() -> None:
    """A series whose zero was read long ago shows its first increment at once."""
    counters = gate()
    counters.expose({"a": 0})
    counters.served(1)
    counters.expose({"a": 0})
    assert counters.expose({"a": 3}) == {"a": 3}


def test_known_series_begin_where_they_were() -> None:
    """A series that an earlier process exposed goes on from its value, once that was read: its target may be new."""
    counters = gate(known=["a"])
    assert counters.expose({"a": 7, "b": 5}) == {"a": 7, "b": 0}
    assert counters.expose({"a": 9, "b": 6}) == {"a": 7, "b": 0}
    counters.served(2)
    assert counters.expose({"a": 12, "b": 8}) == {"a": 12, "b": 8}
    assert counters.expose({"a": 13, "b": 8}) == {"a": 13, "b": 8}


def test_other_buckets() -> None:
    """A histogram whose buckets have become others is shown as it is: it has no start that would fit."""
    before, after = (Histogram(Observations((1,) * (len(edges) + 1), 3.5), edges) for edges in ((5.0,), (5.0, 9.0)))
    counters: StartAtZero[str, Histogram] = StartAtZero(Clock(), known=["a"])
    assert counters.expose({"a": before}) == {"a": before}
    assert counters.expose({"a": after}) == {"a": after}


def test_scrape_before_the_series() -> None:
    """A scrape that was answered with an earlier publish lets nothing go, however late it ends."""
    counters = gate()
    counters.expose({"a": 3})
    counters.expose({"a": 3, "b": 5})
    counters.served(1)
    assert counters.expose({"a": 3, "b": 5}) == {"a": 3, "b": 0}
    counters.served(1)
    assert counters.expose({"a": 3, "b": 5}) == {"a": 3, "b": 0}
    counters.served(2)
    assert counters.expose({"a": 3, "b": 5}) == {"a": 3, "b": 5}


def test_late_answer_of_an_older_publish() -> None:
    """A slow scrape of an older publish that ends after one of the newest takes nothing back."""
    counters = gate()
    counters.expose({"a": 3})
    counters.expose({"a": 3, "b": 5})
    counters.served(2)
    counters.served(1)
    assert counters.expose({"a": 3, "b": 5}) == {"a": 3, "b": 5}


def test_hold_ends() -> None:
    """Without any scrape a series is let go after two minutes, counted from its own first publish."""
    clock = Clock()
    counters = gate(clock)
    counters.expose({"a": 3})
    clock.now += HOLD - 1
    assert counters.expose({"a": 3, "b": 5}) == {"a": 0, "b": 0}
    clock.now += 1
    assert counters.expose({"a": 3, "b": 5}) == {"a": 3, "b": 0}


def test_slowest_scraper_decides() -> None:
    """Of two scrapers that are at work, the one that has not read the zero yet keeps it."""
    counters = gate()
    counters.expose({})
    counters.served(1, "one")
    counters.served(1, "other")
    counters.expose({"a": 3})
    counters.served(2, "one")
    assert counters.expose({"a": 3}) == {"a": 0}
    counters.served(3, "other")
    assert counters.expose({"a": 3}) == {"a": 3}


def test_gone_scraper_does_not_count() -> None:
    """A scraper that stopped two minutes ago no longer keeps new series back."""
    clock = Clock()
    counters = gate(clock)
    counters.expose({})
    counters.served(1, "gone")
    clock.now += HOLD
    counters.expose({"a": 3})
    counters.served(2, "stays")
    assert counters.expose({"a": 3}) == {"a": 3}


def test_one_publish_one_release() -> None:
    """A counter and a histogram that first appear in one publish are let go in one publish."""
    mixed: StartAtZero[str, float | Observations] = StartAtZero(Clock())
    durations = Observations((0, 3, 1), 12.5)
    assert mixed.expose({"closed": 4, "duration": durations}) == {"closed": 0, "duration": Observations((0, 0, 0), 0.0)}
    mixed.served(1)
    assert mixed.expose({"closed": 4, "duration": durations}) == {"closed": 4, "duration": durations}


def test_groups() -> None:
    """Figures under one key have one fate: the caller says what their zero is."""
    grouped: StartAtZero[str, tuple[float, ...]] = StartAtZero(Clock(), zero=lambda value: (0,) * len(value))
    assert grouped.expose({"Ride": (3, 5)}) == {"Ride": (0, 0)}
    grouped.served(1)
    assert grouped.expose({"Ride": (3, 5)}) == {"Ride": (3, 5)}


def test_released_are_told_once() -> None:
    """Each publish tells which series it is the first to show at their value, restored ones not among them."""
    counters = gate(known=["old"])
    told = []
    for values in ({"old": 1, "a": 3}, {"old": 1, "a": 3, "b": 5}, {"old": 1, "a": 3, "b": 5}):
        counters.expose(values)
        told.append(counters.released)
        counters.served(counters.generation)
    assert told == [frozenset(), {"a"}, {"b"}]


def test_return_is_not_a_debut() -> None:
    """A series that vanishes and comes back does not fall to 0, which would count it twice."""
    counters = gate()
    counters.expose({"a": 3})
    counters.served(1)
    counters.expose({"a": 3})
    counters.expose({})
    assert counters.expose({"a": 5}) == {"a": 5}


def test_values_are_not_touched() -> None:
    """What the caller gives is published or copied, never changed."""
    values = {"a": 3.0}
    gate().expose(values)
    assert values == {"a": 3.0}


@pytest.mark.parametrize(
    ("value", "zero"),
    [
        (7, 0),
        (2.5, 0.0),
        (Observations((1, 2), 3.5), Observations((0, 0), 0.0)),
        (Histogram(Observations((1, 2), 3.5), (5.0,)), Histogram(Observations((0, 0), 0.0), (5.0,))),
    ],
)
def test_zero_of(value: object, zero: object) -> None:
    """The zero of a number is 0; that of a histogram has its buckets and no observation."""
    assert zero_of(value) == zero
    assert type(zero_of(value)) is type(zero)


def test_no_zero() -> None:
    """What has no known zero is refused rather than shown at its value."""
    with pytest.raises(TypeError, match="'seven' is neither a number nor a histogram"):
        zero_of("seven")


@settings(deadline=None)
@given(st.lists(st.sampled_from(["count", "publish", "scrape", "restart"]), max_size=60))
def test_every_instance_sees_what_was_counted(plan: list[str]) -> None:
    """Each process is an instance of its own to Prometheus, and yet nothing that closed between them is lost."""
    truth, released = 0, set[str]()
    counters, shown, samples, increase = gate(), 0.0, list[float](), 0.0
    for step in [*plan, "restart", "publish", "scrape", "publish", "scrape"]:
        if step == "count":
            truth += 1
        elif step == "publish":
            shown = counters.expose({"a": truth})["a"]
            released |= counters.released
        elif step == "scrape" and counters.generation:
            counters.served(counters.generation)
            samples.append(shown)
        elif step == "restart" and samples:
            # It had publish and scrape to its end before; what counts from now on is the next one's.
            shown = counters.expose({"a": truth})["a"]
            released |= counters.released
            samples.append(shown)
            counters.served(counters.generation)
            shown = counters.expose({"a": truth})["a"]
            released |= counters.released
            samples.append(shown)
            increase += samples[-1] - samples[0]
            counters, samples = gate(known=released), []
            # What it exposes first is what the ledger has.
            shown = counters.expose({"a": truth})["a"]
    assert increase + (samples[-1] - samples[0] if samples else 0) == truth


steps = st.lists(
    st.one_of(
        st.sampled_from([("publish", ""), ("scrape", "one"), ("scrape", "other"), ("wait", "")]),
        st.tuples(st.just("count"), st.sampled_from("abc")),
    ),
    max_size=60,
)
FLUSH = [("publish", ""), ("scrape", "one"), ("scrape", "other")]


@settings(deadline=None)
@given(steps)
def test_increase_is_the_truth(plan: list[tuple[str, str]]) -> None:
    """Whatever the order of counts, publishes and scrapes, each of two scrapers sees every increment, none twice."""
    clock, truth, seen = Clock(), defaultdict[str, float](float), defaultdict[tuple[str, str], list[float]](list)
    counters, shown = gate(clock), dict[str, float]()
    for step, what in [*FLUSH, *plan, *FLUSH, *FLUSH]:
        if step == "count":
            truth[what] += 1
        elif step == "publish":
            shown = dict(counters.expose(dict(truth)))
        elif step == "scrape":
            counters.served(counters.generation, what)
            for key, value in shown.items():
                seen[what, key].append(value)
        else:
            clock.now += 1.5  # sixty of them are less than the hold
    for (_, key), samples in seen.items():
        assert samples[0] == 0
        assert sum(later - earlier for earlier, later in pairwise(samples) if later > earlier) == truth[key]
        assert samples == sorted(samples)
