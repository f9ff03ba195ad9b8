import logging
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from pathlib import Path

import pytest

from temporal_slo import names
from temporal_slo.errors import TemporalRequestError
from temporal_slo.exporter.exposition.snapshot import Snapshot
from temporal_slo.exporter.mirror.mirror import Mirror
from temporal_slo.exporter.mirror.samples import samples
from temporal_slo.exporter.poller import AfterPoll, Poller
from temporal_slo.ledger.ledger import Ledger
from temporal_slo.names.samples import Sample
from temporal_slo.runs.counted import RunningKey
from temporal_slo.runs.microseconds import SECOND
from temporal_slo.temporal.rate_limit import BACKOFF_CAP, backoff
from temporal_slo.testing import FakeVisibility, FixedClock
from tests.exposed import Exposed
from tests.run_factory import BEGAN, closed, from_visibility, running

COUNT = names.EXPORTER_VISIBILITY_REQUESTS
UNAVAILABLE = TemporalRequestError("UNAVAILABLE", "connection refused")
SLOW = TemporalRequestError("DEADLINE_EXCEEDED", "slow")


class Stopped(Exception):  # noqa: N818 not an error: it stops the endless loop of a poller
    """Stops a poller."""


class Sleeper:
    """A fake sleep that advances the clock, calls *meanwhile* in the first wait, and stops the poller in the last.

    Attributes:
        waits: The waits so far, in seconds.
    """

    def __init__(self, clock: FixedClock, waits: int, meanwhile: Callable[[], None]) -> None:
        self.clock = clock
        self.left = waits
        self.meanwhile = meanwhile
        self.waits: list[float] = []

    async def __call__(self, seconds: float) -> None:
        """Advance the clock."""
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
    after_poll: Sequence[AfterPoll] = (),
) -> tuple[list[Snapshot], list[float]]:
    """Run a poller for so many polls; each poll and page takes *pace* seconds. Return the snapshots and the waits."""
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
    poller = Poller(
        "shop", mirror, self_metrics, publish, after_poll=after_poll, interval=interval, clock=clock, sleep=sleeper
    )
    with pytest.raises(Stopped):
        await poller.run()
    ledger.close()
    return published, sleeper.waits


async def test_first_snapshot(tmp_path: Path) -> None:
    """Before the first poll a snapshot without values is published, with the reason."""
    published, _ = await run(tmp_path, FakeVisibility(), 1)
    assert (published[0].samples, published[0].last_success, published[0].poll_duration) == ((), None, None)
    assert published[0].error == "the first poll has not ended yet"


async def test_failed_poll_keeps_values(tmp_path: Path) -> None:
    """After a failed poll the last values and the time of the last success are kept, and the error is published."""
    visibility = FakeVisibility([running(-3), closed(0)])
    visibility.errors.extend([None, None, None, None, UNAVAILABLE])
    _, complete, failed = (await run(tmp_path, visibility, 2))[0]
    assert (complete.error, failed.error) == (None, "UNAVAILABLE: connection refused")
    assert complete.samples is failed.samples
    assert Exposed(complete.samples).running == {RunningKey("Ride", "rides"): 1}
    assert (complete.last_success, failed.last_success) == (BEGAN / SECOND, BEGAN / SECOND)


async def test_catching_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While catching up, samples are computed once a second and at the end; a failed page keeps the last ones."""
    visibility, computed = FakeVisibility([closed(0)], page_limit=1), []

    def compute(mirror: Mirror, now: int) -> Iterable[Sample]:
        computed.append(now)
        return samples(mirror.store, now)

    def meanwhile() -> None:
        visibility.put(*(closed(number / 100) for number in range(1, 21)))
        # Six requests of the poll, and seven pages.
        visibility.errors.extend([*[None] * 13, UNAVAILABLE])

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
    """The wait after a complete poll is the interval; failed polls back off, until the next complete one."""
    visibility = FakeVisibility()
    visibility.errors.extend([None, None, None, None, UNAVAILABLE, UNAVAILABLE, UNAVAILABLE, None, None, UNAVAILABLE])
    _, waits = await run(tmp_path, visibility, 6)
    assert (waits[0], waits[4]) == (15, 15)
    assert 0.5 <= waits[1] <= 1 <= waits[2] <= 2 <= waits[3] <= 4
    assert 0.5 <= waits[5] <= 1


async def test_logs_changes_only(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """An error is logged when it first occurs, and the recovery once, however many polls fail in between."""
    visibility = FakeVisibility([closed(0)])
    # Four requests of the first poll, three failed polls with one error, two with another, then complete ones.
    visibility.errors.extend([None, None, None, None, *[UNAVAILABLE] * 3, *[SLOW] * 2])
    with caplog.at_level(logging.INFO, "temporal_slo.exporter.poller"):
        await run(tmp_path, visibility, 8)
    assert [record.getMessage() for record in caplog.records] == [
        "shop: poll succeeded",
        "shop: poll failed, keeping the last values: UNAVAILABLE: connection refused",
        "shop: poll failed, keeping the last values: DEADLINE_EXCEEDED: slow",
        "shop: poll succeeded",
    ]


async def test_logs_missing_values(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """If the first poll fails, the log says that there are no values yet."""
    visibility = FakeVisibility()
    visibility.errors.append(UNAVAILABLE)
    await run(tmp_path, visibility, 1)
    (record,) = caplog.records
    assert record.getMessage() == "shop: poll failed, no values yet: UNAVAILABLE: connection refused"


async def test_after_poll(tmp_path: Path) -> None:
    """The hooks run once after each complete poll, in order, and not after a failed poll."""
    called: list[tuple[str, int]] = []

    def hook(name: str) -> AfterPoll:
        async def record(now: int) -> None:
            called.append((name, (now - BEGAN) // SECOND))

        return record

    visibility = FakeVisibility()
    visibility.errors.extend([None, None, None, None, UNAVAILABLE])
    _, waits = await run(tmp_path, visibility, 3, after_poll=(hook("first"), hook("second")))
    third = int(sum(waits[:2]))
    assert called == [("first", 0), ("second", 0), ("first", third), ("second", third)]


async def test_after_poll_not_while_gaps_fail(tmp_path: Path) -> None:
    """The hooks do not run after a poll whose gaps could not be ingested."""
    visibility, called = FakeVisibility([closed(0)], page_limit=1), []

    async def record(now: int) -> None:
        called.append(now)

    def meanwhile() -> None:
        visibility.put(*(closed(number / 100) for number in range(1, 21)))
        # Six requests of the second poll; the first page of the gap fails.
        visibility.errors.extend([*[None] * 6, UNAVAILABLE])

    published, _ = await run(tmp_path, visibility, 2, meanwhile=meanwhile, after_poll=(record,))
    assert (published[-1].error, called) == ("UNAVAILABLE: connection refused", [BEGAN])


def test_backoff() -> None:
    """The back-off doubles up to its cap, also after an outage of weeks; jitter takes off up to half of it."""
    assert [backoff(n, 1) for n in (1, 2, 3, 5, 6, 100_000)] == [1, 2, 4, 16, BACKOFF_CAP, BACKOFF_CAP]
    assert [backoff(n, 0) for n in (1, 2, 100_000)] == [0.5, 1, BACKOFF_CAP / 2]
