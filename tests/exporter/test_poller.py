from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from temporal_slo.errors import TemporalRequestError
from temporal_slo.exporter import poller as module
from temporal_slo.exporter.exposition.figures import figures
from temporal_slo.exporter.exposition.snapshot import Figures, Snapshot
from temporal_slo.exporter.mirror.mirror import Mirror
from temporal_slo.exporter.poller import Poller
from temporal_slo.ledger.ledger import Ledger
from temporal_slo.ledger.state import State
from temporal_slo.runs.counted import RunningKey
from temporal_slo.runs.microseconds import SECOND
from temporal_slo.temporal.rate_limit import BACKOFF_CAP, backoff
from temporal_slo.testing import FakeVisibility, FixedClock
from tests.run_factory import BEGAN, at_once, closed, running

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
    mirror = Mirror("shop", visibility, ledger, await ledger.load("shop"), BEGAN, judge=at_once)

    def gauge(snapshot: Snapshot) -> Snapshot:
        clock.forward(pace)
        return snapshot

    interval = timedelta(seconds=15)
    poller = Poller("shop", mirror, gauge, publish, interval=interval, clock=clock, sleep=sleeper)
    with pytest.raises(Stopped):
        await poller.run()
    ledger.close()
    return published, sleeper.waits


async def test_publishes_at_once(tmp_path: Path) -> None:
    """A snapshot that says what is missing is there before the first poll."""
    published, _ = await run(tmp_path, FakeVisibility(), 1)
    assert (published[0].figures, published[0].last_success, published[0].poll_duration) == (None, None, None)
    assert published[0].trouble == "the first poll has not ended yet"


async def test_failed_poll_keeps_figures(tmp_path: Path) -> None:
    """After a failed poll the last good figures stay, the last success stands still, and the reason is told."""
    visibility = FakeVisibility([running(-3), closed(0)])
    visibility.errors.extend([None, None, None, None, GONE])
    _, good, bad = (await run(tmp_path, visibility, 2))[0]
    assert (good.trouble, bad.trouble) == (None, "UNAVAILABLE: connection refused")
    assert good.figures is bad.figures
    assert good.figures
    assert good.figures.running == {RunningKey("Ride", "rides"): 1}
    assert (good.last_success, bad.last_success) == (BEGAN / SECOND, BEGAN / SECOND)


async def test_catching_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While catching up figures are computed once a second and at its end; a page that fails leaves the last good."""
    visibility, computed = FakeVisibility([closed(0)], page_limit=1), []

    def compute(state: State, now: int) -> Figures:
        computed.append(now)
        return figures(state, now)

    def meanwhile() -> None:
        visibility.put(*(closed(number / 100) for number in range(1, 21)))
        # The poll's six requests, and seven pages.
        visibility.errors.extend([*[None] * 13, GONE])

    monkeypatch.setattr(module, "figures", compute)
    published, _ = await run(tmp_path, visibility, 3, meanwhile=meanwhile, pace=0.25)
    told = [
        (sum(snapshot.figures.closed.values()), (snapshot.last_success or 0) - BEGAN / SECOND, bool(snapshot.trouble))
        for snapshot in published
        if snapshot.figures
    ]
    assert told[:4] == [(1, 0.25, False), (6, 15.25, False), (10, 16.25, False), (13, 17, True)]
    assert (told[-1][0], told[-1][2]) == (21, False)
    assert len(computed) == len(told)


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
