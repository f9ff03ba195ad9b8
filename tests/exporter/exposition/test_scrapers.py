"""Simulated scrapers, and what each of them sees of new series."""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from temporal_slo.exporter.exposition.scrapers import SCRAPERS_MAX, Scraper, Scrapers, pattern_length
from temporal_slo.exporter.exposition.start_at_zero import RELEASE_TIMEOUT, StartAtZero
from temporal_slo.testing import FixedClock

PROMETHEUS = Scraper("127.0.0.6", "Prometheus/3.5.0", "10")
POLL = 3.0
WARM_UP, LENGTH = 200.0, 620.0
JITTER = 0.02


@dataclass(frozen=True)
class Client:
    """A client that scrapes at an interval, or once if that is infinite."""

    identity: Scraper
    interval: float
    offset: float

    def times(self) -> list[float]:
        """Return when it scrapes, with a jitter as that of Prometheus."""
        if math.isinf(self.interval):
            return [self.offset]
        count = int((LENGTH - self.offset) / self.interval)
        return [self.offset + index * self.interval + JITTER * (index * 7 % 3) for index in range(count)]


@dataclass
class Seen:
    """Values that each client has seen of each series, and when the series appeared and was released."""

    values: dict[tuple[int, str], list[float]]
    held: dict[str, float]


def simulate(clients: Sequence[Client], born: Sequence[float]) -> Seen:
    """Poll and scrape; one series appears at 1 at each of the times *born*."""
    events = [(time, number) for number, client in enumerate(clients) for time in client.times()]
    events += [(index * POLL, -1) for index in range(int(LENGTH / POLL))]
    clock = FixedClock(0.0)
    counters: StartAtZero[str, float] = StartAtZero(clock)
    exposed: dict[str, float] = {}
    seen = Seen(defaultdict(list), {})
    first = dict[str, float]()
    for time, number in sorted(events):
        clock.now = time
        if number < 0:
            exposed = dict(counters.expose({str(index): 1.0 for index, at in enumerate(born) if at <= time}))
            first.update({key: time for key in exposed if key not in first})
            seen.held.update({key: time - first[key] for key in counters.released})
        else:
            counters.served(counters.generation, clients[number].identity)
            for key, value in exposed.items():
                seen.values[number, key].append(value)
    return seen


def rises(values: Sequence[float]) -> float:
    """Return the increase between samples, as Prometheus computes it."""
    return sum(later - earlier for earlier, later in pairwise(values))


intervals = st.sampled_from([5.0, 10.0, 15.0, 30.0, 60.0, 100.0])
prometheus = intervals.flatmap(
    lambda interval: st.builds(
        Client, st.just(PROMETHEUS), st.just(interval), st.floats(0, interval).map(lambda at: round(at, 2))
    )
)
probes = st.builds(
    Client,
    st.sampled_from([Scraper("127.0.0.6", "curl/8"), Scraper("127.0.0.6", "kube-probe/1.31")]),
    st.sampled_from([1.0, 7.0, math.inf]),
    st.floats(0, 340).map(lambda at: round(at, 2)),
)
born_times = st.lists(st.floats(WARM_UP, WARM_UP + 100), min_size=1, max_size=5)


@settings(deadline=None, max_examples=30)
@given(st.lists(prometheus, min_size=1, max_size=2), st.lists(probes, max_size=2), born_times)
def test_every_prometheus_sees_the_zero(one_or_two: list[Client], probing: list[Client], born: list[float]) -> None:
    """Of one or two Prometheus behind one address, whatever the intervals, each sees each new series rise from 0 to 1.

    Probes at the same address change nothing, and no series is held longer than the timeout and a poll.
    """
    seen = simulate([*one_or_two, *probing], born)
    assert len(seen.held) == len(born)
    assert max(seen.held.values()) <= RELEASE_TIMEOUT + POLL
    for number in range(len(one_or_two)):
        for index in range(len(born)):
            values = seen.values[number, str(index)]
            assert (values[0], rises(values)) == (0, 1)


@pytest.mark.parametrize(
    ("intervals", "held"),
    [((15,), 30), ((60,), 120), ((5,), 10), ((15, 15), 30), ((15, 60), 90), ((15, 15, 15, 15), 30)],
)
def test_duration_of_the_hold(intervals: Sequence[float], held: float) -> None:
    """A series is held for two scrapes of one Prometheus, and for a pattern and a scrape of several."""
    clients = [Client(PROMETHEUS, every, 1.0 + 2.7 * number) for number, every in enumerate(intervals)]
    seen = simulate(clients, [WARM_UP + 33])
    assert seen.held["0"] <= held + POLL


def test_probe_that_stops() -> None:
    """A probe that has stopped does not delay a release, and one that goes on does not cause it."""
    probe = Scraper("127.0.0.1", "curl/8")
    for times in ([WARM_UP, WARM_UP + 1], [WARM_UP + index for index in range(100)]):
        once = [Client(probe, math.inf, time) for time in times]
        seen = simulate([Client(PROMETHEUS, 15.0, 1.0), *once], [WARM_UP + 4])
        assert 15 < seen.held["0"] <= 30 + POLL
        assert rises(seen.values[0, "0"]) == 1


def test_retried_scrape() -> None:
    """A scrape that a proxy repeats ends the pattern: new series are held until the timeout, and nothing is lost."""
    pair = [Client(PROMETHEUS, 15.0, 1.0), Client(PROMETHEUS, 60.0, 3.0), Client(PROMETHEUS, math.inf, 231.5)]
    seen = simulate(pair, [WARM_UP + 32])
    assert seen.held["0"] >= RELEASE_TIMEOUT
    assert [rises(seen.values[number, "0"]) for number in (0, 1)] == [1, 1]


@pytest.mark.parametrize(
    ("times", "length"),
    [
        ([], None),
        ([0, 15], None),
        ([0, 15, 30.2], 1),
        ([0, 5, 15, 20, 30], 2),
        ([0, 5, 15, 20], None),
        ([0, 7.4, 15, 22.4], 1),
        ([0, 3, 5, 9, 20, 21, 50], None),
        ([index * 0.4 for index in range(300)], None),
    ],
)
def test_pattern(times: Sequence[float], length: int | None) -> None:
    """A pattern is what has repeated once, within some jitter; of more scrapes than are remembered none is known."""
    assert pattern_length(times) == length


def test_bounded() -> None:
    """Clients that give themselves ever new names are not remembered without limit, and are forgotten after a while."""
    clock = FixedClock()
    scrapers = Scrapers(clock)
    for number in range(SCRAPERS_MAX + 10):
        scrapers.record(Scraper("10.0.0.1", f"agent/{number}", "10"), 3)
    assert scrapers.received() == 0
    clock.forward(RELEASE_TIMEOUT)
    for _ in range(2):
        scrapers.record(Scraper("10.0.0.2"), 5)
    assert scrapers.received() == 5
