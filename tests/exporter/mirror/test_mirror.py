from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from temporal_slo import names
from temporal_slo.errors import TemporalRequestError
from temporal_slo.exporter.mirror.mirror import Mirror
from temporal_slo.exporter.mirror.slo_rules import OverdueRule, SloRules
from temporal_slo.ledger.change import MINUTES, Change
from temporal_slo.ledger.ledger import Ledger
from temporal_slo.ledger.state import State
from temporal_slo.names.values import PAUSED, RUNNING
from temporal_slo.runs.counted import ClosedKey, RunningKey
from temporal_slo.runs.microseconds import SECOND
from temporal_slo.temporal.visibility import Page
from temporal_slo.testing import FakeVisibility
from tests.exposed import Exposed, exposed
from tests.run_factory import BEGAN, close, closed, from_visibility, running

UNAVAILABLE = TemporalRequestError("UNAVAILABLE", "connection refused")
RIDE = RunningKey("Ride", "rides")


class Watched:
    """A mirror of a fake namespace; times are seconds after its start."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.visibility = FakeVisibility()
        self.mirror = self.restarted(State(), 0)

    def restarted(self, state: State, at: float) -> Mirror:
        """Return a mirror that starts with *state*."""
        now = BEGAN + round(at * SECOND)
        return Mirror("shop", self.visibility, self.ledger, state, now, classify=from_visibility)

    async def restart(self, at: float) -> None:
        """Replace the mirror by one with the state of the ledger."""
        self.mirror = self.restarted(await self.ledger.load("shop"), at)

    async def poll(self, at: float) -> Exposed:
        """Poll *at* seconds after the start, with a new list of requests."""
        self.visibility.requests.clear()
        now = BEGAN + round(at * SECOND)
        await self.mirror.poll(now)
        while await self.mirror.catch_up(now):
            pass
        return exposed(self.mirror, now)

    def exposed(self, at: float) -> Exposed:
        """Return the samples *at* seconds after the start."""
        return exposed(self.mirror, BEGAN + round(at * SECOND))


@pytest.fixture
async def watched(tmp_path: Path) -> AsyncIterator[Watched]:
    """Return a mirror with an empty ledger, before its first poll."""
    ledger = Ledger(f"sqlite:///{tmp_path / 'ledger.db'}")
    yield Watched(ledger)
    ledger.close()


def by_status(values: Exposed) -> Counter[str]:
    """Return closed runs by status."""
    counts: Counter[str] = Counter()
    for key, count in values.closed.items():
        counts[key.status] += count
    return counts


async def test_counts_once(watched: Watched) -> None:
    """A closed run is counted once, however often it is read."""
    watched.visibility.put(closed(1), closed(2, "failed"), closed(2, "timed_out"))
    for at in (3, 4, 5, 70, 75):
        values = await watched.poll(at)
    assert by_status(values) == {"completed": 1, "failed": 1, "timed_out": 1}


async def test_every_closed_status(watched: Watched) -> None:
    """Every closed status is counted under Temporal's name in lower case, by type and task queue."""
    watched.visibility.put(closed(1, "continued_as_new"), closed(1, "canceled", workflow_type="Other", task_queue="q"))
    assert (await watched.poll(2)).closed == {
        ClosedKey("Ride", "rides", "continued_as_new", "none"): 1,
        ClosedKey("Other", "q", "canceled", "none"): 1,
    }


async def test_before_start(watched: Watched) -> None:
    """Runs that closed before the start are not counted, even by a microsecond."""
    watched.visibility.put(closed(-0.000001), closed(-100), closed(0, "failed"))
    assert by_status(await watched.poll(1)) == {"failed": 1}


async def test_idle_poll_is_two_requests(watched: Watched) -> None:
    """Without new rows a poll makes two requests, however many runs are stored, open or recently closed."""
    watched.visibility.put(*(closed(-n) for n in range(1, 3000)))
    watched.visibility.put(*(running(-n) for n in range(1, 2500)))
    watched.visibility.put(*(closed(n / 1000) for n in range(2200)))
    await watched.poll(3)
    requests = []
    for at in range(200, 500, 15):
        await watched.poll(at)
        requests.append(watched.visibility.requests)
    assert requests == [["running", "closed"]] * len(requests)


async def test_stops_early(watched: Watched) -> None:
    """The number of pages depends on new rows, not on stored rows."""
    watched.visibility.put(*(closed(-n) for n in range(1, 5000)))
    await watched.poll(1)
    watched.visibility.put(*(closed(20 + n / 1000) for n in range(1300)))
    values = await watched.poll(25)
    assert watched.visibility.requests == ["running", "closed", "closed", "closed"]
    assert by_status(values) == {"completed": 1300}


async def test_ties_across_pages(watched: Watched) -> None:
    """Runs that close in the same microsecond are all counted, across pages and polls."""
    watched.visibility.put(*(closed(5) for _ in range(1500)))
    await watched.poll(6)
    watched.visibility.put(*(closed(5) for _ in range(700)))
    assert by_status(await watched.poll(7)) == {"completed": 2200}


@pytest.mark.parametrize("late", [1, 4.9, 60, 121, 179])
@pytest.mark.parametrize("phase", [0, 7, 14])
@pytest.mark.parametrize("outage", [0, 290])
async def test_late_rows(watched: Watched, late: float, phase: float, outage: float) -> None:
    """A row that becomes visible up to three minutes late is counted, whatever the times of polls and outages.

    Up to five seconds late, it is counted by the first poll after it becomes visible.
    """
    watched.visibility.put(closed(60 + phase))
    await watched.poll(75)
    hidden = closed(74 + phase, "failed")
    visible_at = 74 + phase + late
    for at in range(round(90 + outage), 600, 15):
        if at >= visible_at:
            watched.visibility.put(hidden)
        watched.visibility.put(closed(at - 1))
        found = by_status(await watched.poll(at))["failed"]
        if late < 5 and at >= visible_at:
            assert found == 1
    assert found == 1


async def test_late_row_after_idle_time(watched: Watched) -> None:
    """If a late row moves the watermark after a long idle time, no run is counted twice."""
    watched.visibility.put(closed(100), closed(200))
    for at in range(205, 355, 15):
        await watched.poll(at)
    watched.visibility.put(closed(220, "failed"))
    for at in range(355, 900, 15):
        values = await watched.poll(at)
    assert by_status(values) == {"completed": 2, "failed": 1}


async def test_clock_set_back(watched: Watched) -> None:
    """After the local clock was set back by twenty minutes each run is counted once."""
    watched.visibility.put(*(closed(at) for at in range(1, 1500)))
    await watched.poll(1500)
    watched.visibility.put(*(closed(at) for at in range(1500, 1515)))
    await watched.poll(315)
    watched.visibility.put(*(closed(at) for at in range(1515, 1600)), closed(1400, "failed"))
    assert by_status(await watched.poll(400)) == {"completed": 1599, "failed": 1}


async def test_killed_between_pages(watched: Watched) -> None:
    """A mirror killed after any page resumes there, and each run is counted once."""
    watched.visibility.put(closed(0))
    await watched.poll(1)
    watched.visibility.put(*(closed(2 + n / 1000) for n in range(7500)))
    for succeeded in range(2, 8):
        watched.visibility.errors.extend([*[None] * succeeded, UNAVAILABLE])
        with pytest.raises(TemporalRequestError):
            await watched.poll(20 + succeeded)
        watched.visibility.errors.clear()
        await watched.restart(20 + succeeded)
    assert by_status(await watched.poll(60)) == {"completed": 7501}


async def test_catching_up(watched: Watched) -> None:
    """After a long downtime a poll reads a few pages and leaves a gap, which is ingested page by page."""
    watched.visibility.put(closed(0))
    await watched.poll(1)
    watched.visibility.put(*(closed(2 + n / 100) for n in range(9000)))
    watched.visibility.requests.clear()
    await watched.mirror.poll(BEGAN + 100 * SECOND)
    assert watched.visibility.requests == ["running", *["closed"] * 5]
    gap = exposed(watched.mirror, 0).gap
    assert 40 < gap < 60
    assert await watched.mirror.catch_up(BEGAN + 101 * SECOND)
    assert 0 < exposed(watched.mirror, 0).gap < gap
    found = await watched.poll(115)
    assert (by_status(found), found.gap) == ({"completed": 9001}, 0)


async def test_started(watched: Watched) -> None:
    """A run is counted as started when it is first read, open or closed, and only if it started after the mirror."""
    old, new = running(-50), running(3)
    watched.visibility.put(old)
    await watched.poll(1)
    watched.visibility.put(close(old, 4), new, close(running(5), 6))
    await watched.poll(7)
    watched.visibility.put(close(new, 8))
    await watched.restart(9)
    assert (await watched.poll(10)).started == {RIDE: 2}


async def test_skewed_close_time(watched: Watched) -> None:
    """A run with a close time in the future is counted once, and hides no runs below it."""
    watched.visibility.put(closed(4000, "failed"))
    await watched.poll(1)
    for at in (2, 3, 20, 40, 3990, 4010):
        watched.visibility.put(closed(at - 0.5))
        values = await watched.poll(at)
        assert values.closed[ClosedKey("Ride", "rides", "failed", "none")] == 1
    assert by_status(values) == {"failed": 1, "completed": 6}


@pytest.mark.parametrize("succeeded", range(4))
async def test_failed_poll(watched: Watched, succeeded: int) -> None:
    """After a poll that failed at any of its requests, the next one counts each run once."""
    watched.visibility.put(*(running(n / 1000) for n in range(1200)))
    watched.visibility.put(*(closed(n / 1000) for n in range(1100)))
    watched.visibility.errors.extend([*[None] * succeeded, UNAVAILABLE])
    with pytest.raises(TemporalRequestError):
        await watched.poll(5)
    values = await watched.poll(8)
    assert (by_status(values), values.running) == ({"completed": 1100}, {RIDE: 1200})


async def test_unknown_status(watched: Watched) -> None:
    """Rows of unknown status are skipped and counted, and do not fail the poll."""
    watched.visibility.put(closed(1, None), running(1, None), closed(1), running(1))
    values = await watched.poll(2)
    assert (by_status(values), values.running) == ({"completed": 1}, {RIDE: 1})
    assert watched.mirror.state.counters[names.EXPORTER_UNKNOWN_STATUS_ROWS] >= 2


async def test_open_run_closes(watched: Watched) -> None:
    """An open run is counted as running until its close is read; then its series stays at 0."""
    run = running(-50)
    watched.visibility.put(run)
    assert (await watched.poll(1)).running == {RIDE: 1}
    watched.visibility.put(close(run, 11))
    values = await watched.poll(15)
    assert (values.running, values.oldest_running_age) == ({RIDE: 0}, {"Ride": 0.0})


async def test_closed_run_still_listed_open(watched: Watched) -> None:
    """A run whose close was read does not become open again by a listing that lags."""
    run = running(1)
    watched.visibility.put(close(run, 2))
    await watched.poll(3)
    watched.visibility.put(run)
    assert (await watched.poll(4)).running == {RIDE: 0}


async def test_new_open_runs(watched: Watched) -> None:
    """New open runs are found without listing the earlier ones again."""
    watched.visibility.put(*(running(-n) for n in range(1500)))
    await watched.poll(1)
    watched.visibility.put(running(12), running(13, task_queue="other"))
    values = await watched.poll(15)
    assert values.running == {RIDE: 1501, RunningKey("Ride", "other"): 1}
    assert watched.visibility.requests == ["running", "closed"]


async def test_reconciliation(watched: Watched) -> None:
    """An open run missing in a reconciliation, whose close no poll finds, is dropped and counted as vanished."""
    run = running(-3)
    watched.visibility.put(run, running(-4))
    await watched.poll(1)
    await watched.poll(61)
    del watched.visibility.runs[run.run_id]
    assert (await watched.poll(100)).running == {RIDE: 2}
    assert (await watched.poll(661)).running == {RIDE: 2}
    assert (await watched.poll(662)).running == {RIDE: 1}
    assert watched.mirror.state.counters[names.EXPORTER_VANISHED_RUNS] == 1


async def test_closed_before_start_listed_open(watched: Watched) -> None:
    """A run that closed just before the start, and was still listed as open, is dropped within two minutes."""
    stale = running(-50)
    watched.visibility.put(stale, closed(0))
    assert (await watched.poll(1)).running == {RIDE: 1}
    watched.visibility.put(close(stale, -1))
    for at in range(16, 121, 15):
        values = await watched.poll(at)
    assert (values.running, by_status(values)) == ({RIDE: 0}, {"completed": 1})


async def test_oldest_age(watched: Watched) -> None:
    """The age of a run counts from its scheduled start; before that it is 0."""
    watched.visibility.put(
        running(-500, due_time=BEGAN - 30 * SECOND),
        running(-11),
        running(-500, workflow_type="Nightly", due_time=BEGAN + 3600 * SECOND),
    )
    assert (await watched.poll(5)).oldest_running_age == {"Ride": 35.0, "Nightly": 0.0}


async def test_durations(watched: Watched) -> None:
    """A duration is counted in the first bucket whose bound it does not exceed."""
    watched.visibility.put(
        closed(1, duration=SECOND // 2), closed(1, duration=SECOND // 2 + 1), closed(1, duration=10**12)
    )
    ((key, (observed, _)),) = (await watched.poll(2)).durations.items()
    assert (key, observed.total) == (("Ride", "completed", "none"), 1_000_001.000001)
    assert (observed.counts[0], observed.counts[1], observed.counts[-1], sum(observed.counts)) == (1, 1, 1, 3)


async def test_overdue(watched: Watched) -> None:
    """A run is overdue when it is open for longer than the SLO allows, on the task queue of the SLO if it has one."""
    watched.visibility.put(running(0), running(-20, task_queue="other"), running(-20, workflow_type="Else"))
    rules = (OverdueRule("slow", ("Ride",), None, 15 * SECOND), OverdueRule("queue", ("Ride",), "rides", 15 * SECOND))
    watched.mirror.store.rules = SloRules(overdue=rules)
    assert (await watched.poll(15)).overdue == {("Ride", "slow"): 1, ("Ride", "queue"): 0}
    assert (await watched.poll(15.1)).overdue == {("Ride", "slow"): 2, ("Ride", "queue"): 1}


async def test_idle_poll_writes_nothing(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without new rows the ledger is written only once a minute, with the evaluated minutes."""
    changes: list[Change] = []
    watched.visibility.put(closed(1), running(2))
    for at in (3, 70, 200):
        await watched.poll(at)

    async def write(_: str, change: Change, __: int, *, written: Callable[[Change], object]) -> None:
        changes.append(change)
        written(change)

    monkeypatch.setattr(watched.ledger, "commit", write)
    for at in range(215, 400, 15):
        await watched.poll(at)
    assert [list(change.positions) for change in changes] == [[MINUTES]] * 3
    assert all(change == Change(positions=change.positions) for change in changes)


async def test_late_open_run(watched: Watched) -> None:
    """An open run that became visible too late for any poll is found by reconciliation, and counted as reconciled."""
    watched.visibility.put(running(-9), running(1), running(300))
    for at in (0, 70, 301, 500):
        await watched.poll(at)
    assert names.EXPORTER_RECONCILED_RUNS not in watched.mirror.state.counters
    watched.visibility.put(running(10))
    assert (await watched.poll(520)).running == {RIDE: 3}
    values = await watched.poll(700)
    assert (values.running, values.started, values.counters[names.EXPORTER_RECONCILED_RUNS]) == (
        {RIDE: 4},
        {RIDE: 3},
        1,
    )


async def test_paused(watched: Watched) -> None:
    """A paused run is open but not running; a pause is found by reconciliation, and survives a restart."""
    stays, pauses, later = running(1), running(2, PAUSED), running(3)
    watched.visibility.put(stays, pauses, later)
    values = await watched.poll(4)
    assert (values.running, values.paused, values.started) == ({RIDE: 2}, {"Ride": 1}, {RIDE: 3})
    watched.visibility.put(
        replace(later, status=PAUSED), replace(pauses, status=RUNNING), replace(stays, status=PAUSED)
    )
    await watched.poll(70)
    await watched.restart(80)
    values = watched.exposed(80)
    assert (values.running, values.paused, values.started) == ({RIDE: 1}, {"Ride": 2}, {RIDE: 3})
    await watched.poll(81)
    watched.visibility.put(close(later, 90), close(stays, 90))
    values = await watched.poll(95)
    assert (values.running, values.paused, names.EXPORTER_VANISHED_RUNS in values.counters) == (
        {RIDE: 1},
        {"Ride": 0},
        False,
    )


async def test_empty_page_with_a_token(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page without rows ends a listing, even if it has a token."""

    async def empty(*_: object, **__: object) -> Page:
        return Page((), b"more")

    for listing in ("closed", "running"):
        monkeypatch.setattr(watched.visibility, listing, empty)
    assert (await watched.poll(1)).closed == {}


async def test_expected_series(watched: Watched) -> None:
    """Series of workflow types in the specs are exposed as 0 from their first run on; those of other types are not."""
    watched.mirror.store.rules = SloRules(expected_outcomes={"Ride": ("good", "bad")})
    watched.visibility.put(running(1), running(1, workflow_type="Else"))
    values = await watched.poll(2)
    assert values.closed == {
        ClosedKey("Ride", "rides", "completed", "good"): 0,
        ClosedKey("Ride", "rides", "completed", "bad"): 0,
        ClosedKey("Ride", "rides", "failed", "none"): 0,
        ClosedKey("Ride", "rides", "timed_out", "none"): 0,
    }
    assert {sum(duration.observed.counts) for duration in values.durations.values()} == {0}
    watched.visibility.put(closed(3, "failed"))
    assert by_status(await watched.poll(4)) == {"completed": 0, "failed": 1, "timed_out": 0}
