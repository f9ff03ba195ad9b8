from collections.abc import Callable, Iterable
from datetime import timedelta
from pathlib import Path

import pytest

from temporal_slo import names
from temporal_slo.errors import TemporalRequestError
from temporal_slo.exporter.exposition.snapshot import Snapshot
from temporal_slo.exporter.mirror.mirror import Mirror
from temporal_slo.exporter.mirror.samples import samples
from temporal_slo.exporter.poller import Poller
from temporal_slo.ledger.ledger import Ledger
from temporal_slo.names.samples import Sample
from temporal_slo.runs.counted import RunningKey
from temporal_slo.runs.microseconds import SECOND
from temporal_slo.temporal.rate_limit import BACKOFF_CAP, backoff
from temporal_slo.testing import FakeVisibility, FixedClock
from tests.exposed import Exposed
from tests.run_factory import BEGAN, closed, from_visibility, running

COUNT = names.EXPORTER_VISIBILITY_REQUESTS
GONE = TemporalRequestError("UNAVAILABLE", "connection refused")


class Stopped(Exception):  # noqa: N818 ends the endless loop of a poller, which is no error
    """Ends a poller's loop."""


class Sleeper:
    """Records the waits of a poller and moves its clock, does something in the first, and stops it after so many."""

    def __init__(self, clock: FixedClock, waits: int, meanwhile: Callable[[], None]) -> None:
        self.clock = clock
        self.left = waits
        self.meanwhile = meanwhile
        self.waits: list[float] = []

    async def __call__(self, seconds: float) -> None:
        """Wait."""
        self.waits.append(seconds)
        self.clock.forward(seconds)
        if len(self.waits) == 1:
            self.meanwhile()
        if len(self.waits) == self.left:
            raise Stopped


async def run(
    folder: Path,
    visibility: FakeVisibility,
    polls: int,
    *,
    meanwhile: Callable[[], None] = lambda: None,
    pace: float = 0,
) -> tuple[list[Snapshot], list[float]]:
    """Run a poller for so many polls, *pace* seconds for each and each page; return what it published and its waits."""
    clock = FixedClock(BEGAN / SECOND)
    sleeper = Sleeper(clock, polls, meanwhile)
    published: list[Snapshot] = []

    async def publish(snapshot: Snapshot) -> None:
        published.append(snapshot)

    ledger = Ledger(f"sqlite:///{folder / 'ledger.db'}")
    mirror = Mirror("shop", visibility, ledger, await ledger.load("shop"), BEGAN, classify=from_visibility)

    def self_metrics() -> Iterable[Sample]:
        clock.forward(pace)
        return ()

    interval = timedelta(seconds=15)
    poller = Poller("shop", mirror, self_metrics, publish, interval=interval, clock=clock, sleep=sleeper)
    with pytest.raises(Stopped):
        await poller.run()
    ledger.close()
    return published, sleeper.waits


async def test_publishes_at_once(tmp_path: Path) -> None:
    """A snapshot that says what is missing is there before the first poll."""
    published, _ = await run(tmp_path, FakeVisibility(), 1)
    assert (published[0].samples, published[0].last_success, published[0].poll_duration) == ((), None, None)
    assert published[0].error == "the first poll has not ended yet"


async def test_failed_poll_keeps_values(tmp_path: Path) -> None:
    """After a failed poll the last values and the time of the last success stay, and the error is published."""
    visibility = FakeVisibility([running(-3), closed(0)])
    visibility.errors.extend([None, None, None, None, GONE])
    _, good, bad = (await run(tmp_path, visibility, 2))[0]
    assert (good.error, bad.error) == (None, "UNAVAILABLE: connection refused")
    assert good.samples is bad.samples
    assert Exposed(good.samples).running == {RunningKey("Ride", "rides"): 1}
    assert (good.last_success, bad.last_success) == (BEGAN / SECOND, BEGAN / SECOND)


async def test_catching_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While catching up, samples are computed once a second and at the end; a page that fails keeps the last ones."""
    visibility, computed = FakeVisibility([closed(0)], page_limit=1), []

    def compute(mirror: Mirror, now: int) -> Iterable[Sample]:
        computed.append(now)
        return samples(mirror.store, now)

    def meanwhile() -> None:
        visibility.put(*(closed(number / 100) for number in range(1, 21)))
        # The poll's six requests, and seven pages.
        visibility.errors.extend([*[None] * 13, GONE])

    monkeypatch.setattr(Mirror, "samples", compute)
    published, _ = await run(tmp_path, visibility, 3, meanwhile=meanwhile, pace=0.25)
    found = [
        (
            sum(Exposed(snapshot.samples).closed.values()),
            (snapshot.last_success or 0) - BEGAN / SECOND,
            bool(snapshot.error),
        )
        for snapshot in published
        if snapshot.samples
    ]
    assert found[:4] == [(1, 0.25, False), (6, 15.25, False), (10, 16.25, False), (13, 17, True)]
    assert (found[-1][0], found[-1][2]) == (21, False)
    assert len(computed) == len(found)


async def test_waits(tmp_path: Path) -> None:
    """A complete poll is followed by the interval; failed ones by growing waits, reset by the next complete one."""
    visibility = FakeVisibility()
    visibility.errors.extend([None, None, None, None, GONE, GONE, GONE, None, None, GONE])
    _, waits = await run(tmp_path, visibility, 6)
    assert (waits[0], waits[4]) == (15, 15)
    assert 0.5 <= waits[1] <= 1 <= waits[2] <= 2 <= waits[3] <= 4
    assert 0.5 <= waits[5] <= 1


def test_backoff() -> None:
    """The wait doubles to its cap, also after an outage of weeks, and jitter moves it over its upper half."""
    assert [backoff(n, 1) for n in (1, 2, 3, 5, 6, 100_000)] == [1, 2, 4, 16, BACKOFF_CAP, BACKOFF_CAP]
    assert [backoff(n, 0) for n in (1, 2, 100_000)] == [0.5, 1, BACKOFF_CAP / 2]
