from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from temporal_slo.exporter.exposition.scrapers import Scraper
from temporal_slo.exporter.exposition.start_at_zero import RELEASE_TIMEOUT, StartAtZero, zero_of
from temporal_slo.names.samples import Histogram, Observations


@dataclass
class Clock:
    """A clock that a test moves."""

    now: float = 1000.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


def start_at_zero(clock: Clock | None = None, released_before: Iterable[str] = ()) -> StartAtZero[str, float]:
    """Return a StartAtZero for plain numbers."""
    return StartAtZero(clock or Clock(), released_before=released_before)


def served(counters: StartAtZero[Any, Any], generation: int, name: str = "") -> None:
    """Record that a client that is not Prometheus received *generation*: twice, because it counts from then on."""
    for _ in range(2):
        counters.served(generation, Scraper(name))


def test_new_series_starts_at_zero() -> None:
    """A series that appears at 7 is exposed at 0 until a scrape has received the 0, then at its value."""
    counters = start_at_zero()
    assert counters.expose({"a": 7}) == {"a": 0}
    assert counters.expose({"a": 9}) == {"a": 0}
    served(counters, 2)
    assert counters.expose({"a": 11}) == {"a": 11}


def test_unscraped_zero() -> None:
    """A series that appears at 0 stays at 0 until a scrape has received it, so that its next increment is seen."""
    counters = start_at_zero()
    counters.expose({"a": 0})
    assert counters.expose({"a": 3}) == {"a": 0}
    served(counters, counters.generation)
    assert counters.expose({"a": 3}) == {"a": 3}


def test_scraped_zero() -> None:
    """A series whose 0 was scraped is exposed at its first increment immediately."""
    counters = start_at_zero()
    counters.expose({"a": 0})
    served(counters, 1)
    counters.expose({"a": 0})
    assert counters.expose({"a": 3}) == {"a": 3}


def test_series_of_an_earlier_process() -> None:
    """A series that an earlier process released starts at its value, and increases once that value was scraped."""
    counters = start_at_zero(released_before=["a"])
    assert counters.expose({"a": 7, "b": 5}) == {"a": 7, "b": 0}
    assert counters.expose({"a": 9, "b": 6}) == {"a": 7, "b": 0}
    served(counters, 2)
    assert counters.expose({"a": 12, "b": 8}) == {"a": 12, "b": 8}
    assert counters.expose({"a": 13, "b": 8}) == {"a": 13, "b": 8}


def test_changed_bucket_bounds() -> None:
    """A histogram whose bucket bounds changed is exposed at its value: it has no initial value with these bounds."""
    before, after = (Histogram(Observations((1,) * (len(bounds) + 1), 3.5), bounds) for bounds in ((5.0,), (5.0, 9.0)))
    counters: StartAtZero[str, Histogram] = StartAtZero(Clock(), released_before=["a"])
    assert counters.expose({"a": before}) == {"a": before}
    assert counters.expose({"a": after}) == {"a": after}


def test_scrape_before_the_series() -> None:
    """A scrape that received an earlier generation releases nothing, however late it ends."""
    counters = start_at_zero()
    counters.expose({"a": 3})
    counters.expose({"a": 3, "b": 5})
    served(counters, 1)
    assert counters.expose({"a": 3, "b": 5}) == {"a": 3, "b": 0}
    served(counters, 1)
    assert counters.expose({"a": 3, "b": 5}) == {"a": 3, "b": 0}
    served(counters, 2)
    assert counters.expose({"a": 3, "b": 5}) == {"a": 3, "b": 5}


def test_slow_scrape_of_an_older_generation() -> None:
    """A slow scrape of an older generation that ends after one of the newest does not prevent a release."""
    counters = start_at_zero()
    counters.expose({"a": 3})
    counters.expose({"a": 3, "b": 5})
    served(counters, 2)
    served(counters, 1)
    assert counters.expose({"a": 3, "b": 5}) == {"a": 3, "b": 5}


def test_release_timeout() -> None:
    """Without scrapes a series is released two minutes after its own first generation."""
    clock = Clock()
    counters = start_at_zero(clock)
    counters.expose({"a": 3})
    clock.now += RELEASE_TIMEOUT - 1
    assert counters.expose({"a": 3, "b": 5}) == {"a": 0, "b": 0}
    clock.now += 1
    assert counters.expose({"a": 3, "b": 5}) == {"a": 3, "b": 0}


def test_slowest_scraper_decides() -> None:
    """With two active scrapers a series stays at 0 until both have received the 0."""
    counters = start_at_zero()
    counters.expose({})
    served(counters, 1, "one")
    served(counters, 1, "other")
    counters.expose({"a": 3})
    served(counters, 2, "one")
    assert counters.expose({"a": 3}) == {"a": 0}
    served(counters, 3, "other")
    assert counters.expose({"a": 3}) == {"a": 3}


def test_stopped_scraper_does_not_count() -> None:
    """A scraper that stopped two minutes ago no longer delays releases."""
    clock = Clock()
    counters = start_at_zero(clock)
    counters.expose({})
    served(counters, 1, "stopped")
    clock.now += RELEASE_TIMEOUT
    counters.expose({"a": 3})
    served(counters, 2, "active")
    assert counters.expose({"a": 3}) == {"a": 3}


def test_released_together() -> None:
    """A counter and a histogram that first appear in one generation are released in one generation."""
    mixed: StartAtZero[str, float | Observations] = StartAtZero(Clock())
    durations = Observations((0, 3, 1), 12.5)
    assert mixed.expose({"closed": 4, "duration": durations}) == {"closed": 0, "duration": Observations((0, 0, 0), 0.0)}
    served(mixed, 1)
    assert mixed.expose({"closed": 4, "duration": durations}) == {"closed": 4, "duration": durations}


def test_grouped_values() -> None:
    """Values grouped under one key are released together; the caller defines their zero."""
    grouped: StartAtZero[str, tuple[float, ...]] = StartAtZero(Clock(), zero=lambda value: (0,) * len(value))
    assert grouped.expose({"Ride": (3, 5)}) == {"Ride": (0, 0)}
    served(grouped, 1)
    assert grouped.expose({"Ride": (3, 5)}) == {"Ride": (3, 5)}


def test_released_lists_each_series_once() -> None:
    """`released` has the series that are at their value for the first time, without those of an earlier process."""
    counters = start_at_zero(released_before=["old"])
    released = []
    for values in ({"old": 1, "a": 3}, {"old": 1, "a": 3, "b": 5}, {"old": 1, "a": 3, "b": 5}):
        counters.expose(values)
        released.append(counters.released)
        served(counters, counters.generation)
    assert released == [frozenset(), {"a"}, {"b"}]


def test_series_that_returns() -> None:
    """A series that disappears and returns does not restart at 0, which would count it twice."""
    counters = start_at_zero()
    counters.expose({"a": 3})
    served(counters, 1)
    counters.expose({"a": 3})
    counters.expose({})
    assert counters.expose({"a": 5}) == {"a": 5}


def test_values_are_not_modified() -> None:
    """The mapping that the caller passes is not modified."""
    values = {"a": 3.0}
    start_at_zero().expose(values)
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
    """The zero of a number is 0; that of a histogram has its buckets and no observations."""
    assert zero_of(value) == zero
    assert type(zero_of(value)) is type(zero)


def test_value_without_zero() -> None:
    """A value without a known zero raises an error instead of being exposed at its value."""
    with pytest.raises(TypeError, match="'seven' is neither a number nor a histogram"):
        zero_of("seven")


@settings(deadline=None)
@given(st.lists(st.sampled_from(["count", "publish", "scrape", "restart"]), max_size=60))
def test_restarts_lose_no_increase(plan: list[str]) -> None:
    """If each restart is a new instance in Prometheus, the increases of all instances still add up to the count."""
    truth, released = 0, set[str]()
    counters, exposed, samples, increase = start_at_zero(), 0.0, list[float](), 0.0
    for step in [*plan, "restart", "publish", "scrape", "publish", "scrape"]:
        if step == "count":
            truth += 1
        elif step == "publish":
            exposed = counters.expose({"a": truth})["a"]
            released |= counters.released
        elif step == "scrape" and counters.generation:
            served(counters, counters.generation)
            samples.append(exposed)
        elif step == "restart" and samples:
            # The process published and was scraped before it ended; later counts belong to the next process.
            exposed = counters.expose({"a": truth})["a"]
            released |= counters.released
            samples.append(exposed)
            served(counters, counters.generation)
            exposed = counters.expose({"a": truth})["a"]
            released |= counters.released
            samples.append(exposed)
            increase += samples[-1] - samples[0]
            counters, samples = start_at_zero(released_before=released), []
            # The new process first exposes what the ledger has.
            exposed = counters.expose({"a": truth})["a"]
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
def test_increase_equals_the_count(plan: list[tuple[str, str]]) -> None:
    """Each of two scrapers sees every increment once, in any order of counts, publishes and scrapes."""
    clock, truth, seen = Clock(), defaultdict[str, float](float), defaultdict[tuple[str, str], list[float]](list)
    counters, exposed = start_at_zero(clock), dict[str, float]()
    for step, what in [*FLUSH, *plan, *FLUSH, *FLUSH]:
        if step == "count":
            truth[what] += 1
        elif step == "publish":
            exposed = dict(counters.expose(dict(truth)))
        elif step == "scrape":
            served(counters, counters.generation, what)
            for key, value in exposed.items():
                seen[what, key].append(value)
        else:
            clock.now += 1.5  # sixty of them are less than the timeout
    for (_, key), samples in seen.items():
        assert samples[0] == 0
        assert sum(later - earlier for earlier, later in pairwise(samples) if later > earlier) == truth[key]
        assert samples == sorted(samples)
