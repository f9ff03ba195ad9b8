import asyncio
import logging
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event
from temporalio.api.enums.v1 import RetryState
from temporalio.api.failure.v1 import ApplicationFailureInfo, Failure
from temporalio.api.history.v1 import HistoryEvent, WorkflowExecutionFailedEventAttributes

from temporal_slo import names
from temporal_slo.errors import LedgerError, TemporalRequestError, UnreadableResponseError
from temporal_slo.exporter.classify import pending_runs as module
from temporal_slo.exporter.classify.classifier import FAILURE_TYPES_MAX, Classifier
from temporal_slo.exporter.classify.lap import Lap
from temporal_slo.exporter.classify.pending_runs import BATCH, BATCH_MAX, DEADLINE, PendingRuns
from temporal_slo.exporter.mirror.mirror import Mirror
from temporal_slo.ledger import reads
from temporal_slo.ledger.change import Change
from temporal_slo.ledger.ledger import Ledger
from temporal_slo.ledger.state import State
from temporal_slo.runs.counted import FailureKey
from temporal_slo.runs.microseconds import SECOND
from temporal_slo.servers.process import until
from temporal_slo.testing import FakeCloseEvents, FakeVisibility, FixedClock
from tests.run_factory import BEGAN, closed


def failed(failure_type: str, successor: str = "") -> HistoryEvent:
    """Return the close event of a run that failed with this failure type; with a successor it is retried."""
    failure = Failure(application_failure_info=ApplicationFailureInfo(type=failure_type))
    retry_state = RetryState.RETRY_STATE_IN_PROGRESS if successor else RetryState.RETRY_STATE_UNSPECIFIED
    attributes = WorkflowExecutionFailedEventAttributes(
        failure=failure, retry_state=retry_state, new_execution_run_id=successor
    )
    return HistoryEvent(workflow_execution_failed_event_attributes=attributes)


class World:
    """A mirror of a fake namespace, and its pending runs."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.visibility = FakeVisibility()
        self.history = FakeCloseEvents()
        self.clock = FixedClock(BEGAN / SECOND)
        self.start(State())

    def start(self, state: State) -> None:
        """Start with this state."""
        classifier = Classifier(decode, failures=state.failures)
        self.mirror = Mirror("shop", self.visibility, self.ledger, state, BEGAN, classify=classifier.from_visibility)
        self.pending = PendingRuns(
            self.mirror.store, self.ledger, self.history, classifier=classifier, clock=self.clock
        )

    async def poll(self) -> None:
        """Poll the mirror."""
        await self.mirror.poll(int(self.clock() * SECOND))

    def statuses(self) -> dict[str, int]:
        """Return counted runs by status."""
        return {key.status: histogram.count for key, histogram in self.mirror.state.closed.items()}


async def decode(*_: object) -> object:
    """Fail: no outcomes are read."""
    raise AssertionError


@pytest.fixture
async def world(ledger_url: str) -> AsyncIterator[World]:
    """Return a world with an empty ledger."""
    ledger = Ledger(ledger_url)
    yield World(ledger)
    ledger.close()


async def test_waits_for_close_event(world: World) -> None:
    """A failed run is counted when its close event was read, with its classification; a completed run at once."""
    run, again = closed(1, "failed"), closed(1, "failed")
    world.visibility.put(run, again, closed(1))
    world.history.events = {run.run_id: failed("Refused"), again.run_id: failed("Unreachable", "next-run")}
    await world.poll()
    assert (world.statuses(), world.mirror.state.pending) == ({"completed": 1}, 2)
    assert await world.pending.count_lap() == 2
    assert (world.statuses(), world.mirror.state.pending) == ({"completed": 1, "failed": 1, "retried": 1}, 0)
    assert world.mirror.state.failures == {
        FailureKey("Ride", "failed", "Refused"): 1,
        FailureKey("Ride", "retried", "Unreachable"): 1,
    }


async def test_missing_event(world: World) -> None:
    """A run without close event is counted at once with failure type unknown, and counted as missing it."""
    world.visibility.put(closed(1, "timed_out"))
    await world.poll()
    await world.pending.count_lap()
    assert world.mirror.state.failures == {FailureKey("Ride", "timed_out", "unknown"): 1}
    assert world.mirror.state.counters[names.EXPORTER_MISSING_CLOSE_EVENTS] == 1


async def test_event_too_large(world: World) -> None:
    """A close event that cannot be received is missing: a run does not wait for what would be the same every time."""
    run = closed(1, "failed")
    world.visibility.put(run)
    world.history.events[run.run_id] = UnreadableResponseError("RESOURCE_EXHAUSTED", "larger than max", "too_large")
    await world.poll()
    assert (await world.pending.count_lap(), world.statuses()) == (1, {"failed": 1})
    assert world.mirror.state.counters[names.EXPORTER_MISSING_CLOSE_EVENTS] == 1


async def test_deadline(world: World) -> None:
    """A run whose requests fail waits, also over a restart, and is counted without close event after the deadline."""
    run = closed(1, "failed")
    world.visibility.put(run)
    world.history.events[run.run_id] = TemporalRequestError("UNAVAILABLE", "refused")
    await world.poll()
    assert await world.pending.count_lap() == 0
    world.start(await world.ledger.load("shop"))
    world.clock.forward(DEADLINE / SECOND)
    assert (await world.pending.count_lap(), world.statuses()) == (0, {})
    world.clock.forward(1)
    assert (await world.pending.count_lap(), world.statuses()) == (1, {"failed": 1})
    await world.poll()
    assert (
        world.statuses(),
        world.mirror.state.pending,
        world.mirror.state.counters[names.EXPORTER_MISSING_CLOSE_EVENTS],
    ) == (
        {"failed": 1},
        0,
        1,
    )


async def test_failures_first(world: World) -> None:
    """Failed and timed-out runs are requested before terminated runs that waited for longer."""
    world.visibility.put(*(closed(1, "terminated") for _ in range(BATCH)))
    await world.poll()
    urgent = closed(2, "timed_out")
    world.visibility.put(urgent)
    world.clock.forward(3)
    await world.poll()
    await world.pending.count_lap()
    assert world.history.requests[0] == ("w", urgent.run_id)


async def test_failure_type_limit(world: World) -> None:
    """Failure types beyond the limit are counted as other; the limit holds over a restart."""
    runs = [closed(1, "failed") for _ in range(FAILURE_TYPES_MAX + 3)]
    world.visibility.put(*runs)
    world.history.events = {run.run_id: failed(f"Type{number}") for number, run in enumerate(runs)}
    await world.poll()
    await world.pending.count_lap()
    failure_types = {key.failure_type for key in world.mirror.state.failures}
    assert (len(failure_types), world.mirror.state.counters[names.EXPORTER_FAILURE_TYPES_OVER_LIMIT]) == (
        FAILURE_TYPES_MAX + 1,
        3,
    )
    assert world.mirror.state.failures[FailureKey("Ride", "failed", "other")] == 3
    world.start(await world.ledger.load("shop"))
    more = closed(2, "failed")
    world.visibility.put(more)
    world.history.events[more.run_id] = failed("Type999")
    await world.poll()
    await world.pending.count_lap()
    assert world.mirror.state.failures[FailureKey("Ride", "failed", "other")] == 4


UNREADABLE = TemporalRequestError("INTERNAL", "cannot be read")


class WrappedCommits:
    """Commits of the ledger, with a call before and after each.

    Attributes:
        changes: The changes committed, in order.
        before: Called before each commit.
        after: Called after each commit.
    """

    def __init__(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        self.changes: list[Change] = []
        self.before = self.after = self.nothing
        self._commit = world.ledger.commit
        monkeypatch.setattr(world.ledger, "commit", self)

    async def nothing(self) -> None:
        """Do nothing."""

    async def __call__(self, namespace: str, change: Change, now: int, *, written: Callable[[Change], object]) -> None:
        """Commit."""
        self.changes.append(change)
        await self.before()
        await self._commit(namespace, change, now, written=written)
        await self.after()


async def test_requests_while_writing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """While runs are written the next ones are requested, first the urgent ones that were added meanwhile."""
    world.visibility.put(*(closed(1, "terminated") for _ in range(3 * BATCH)))
    await world.poll()
    urgent, in_flight = closed(2, "failed"), []
    permits = world.history.permits = asyncio.Semaphore(BATCH)
    commits = WrappedCommits(world, monkeypatch)

    async def before() -> None:
        in_flight.append(len(world.history.requests) - world.history.responses)
        for _ in range(2 * BATCH):
            permits.release()
        if len(in_flight) == 1:
            # The commit of the urgent run must not be recorded.
            monkeypatch.setattr(commits, "before", commits.nothing)
            # Not through the store, which writes one change after the other.
            await world.ledger.commit("shop", Change(pending=[urgent]), BEGAN, written=world.mirror.state.apply)
            monkeypatch.setattr(commits, "before", before)

    commits.before = before
    assert await world.pending.count_lap() == 3 * BATCH + 1
    assert in_flight[0] == BATCH
    assert world.history.requests.index(("w", urgent.run_id)) == 2 * BATCH
    assert len(set(world.history.requests)) == len(world.history.requests)


@pytest.mark.parametrize("written", [False, True])
async def test_killed(world: World, monkeypatch: pytest.MonkeyPatch, written: bool) -> None:  # noqa: FBT001 a parameter
    """A kill just before or after a commit neither loses a run nor counts one twice."""
    world.visibility.put(*(closed(1, "failed") for _ in range(3 * BATCH)))
    await world.poll()
    world.history.permits = asyncio.Semaphore(BATCH + 7)
    with monkeypatch.context() as patch:
        commits = WrappedCommits(world, patch)

        async def kill() -> None:
            raise asyncio.CancelledError

        setattr(commits, "after" if written else "before", kill)
        with pytest.raises(asyncio.CancelledError):
            await world.pending.count_lap()
    world.history.permits = None
    world.start(await world.ledger.load("shop"))
    counted = len(commits.changes[0].resolved)
    assert BATCH <= counted < 3 * BATCH
    assert world.mirror.state.pending == 3 * BATCH - written * counted
    await world.pending.count_lap()
    await world.poll()
    assert (world.statuses(), world.mirror.state.pending) == ({"failed": 3 * BATCH}, 0)
    assert (await world.ledger.load("shop")).closed == world.mirror.state.closed


async def test_unwritable_ledger(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """While the ledger cannot be written nothing is counted, which is logged once; then each run is counted once."""
    world.visibility.put(*(closed(1, "failed") for _ in range(BATCH + 1)))
    await world.poll()
    errors = [LedgerError("full"), LedgerError("full"), LedgerError("locked")]
    commits = WrappedCommits(world, monkeypatch)

    async def fail() -> None:
        if errors:
            raise errors.pop(0)

    async def wait(seconds: float) -> None:
        assert seconds == module.IDLE
        if not world.mirror.state.pending:
            raise asyncio.CancelledError
        assert world.statuses() == {}

    commits.before = fail
    monkeypatch.setattr(world.pending, "_sleep", wait)
    with caplog.at_level(logging.WARNING), suppress(asyncio.CancelledError):
        await world.pending.run()
    assert world.statuses() == {"failed": BATCH + 1}
    messages = [record.getMessage() for record in caplog.records]
    assert messages == [f"shop: counting pending runs failed: ledger: {error}" for error in ("full", "locked")]


async def test_unreadable_events(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs whose events cannot be read are requested once per lap, and do not block the runs behind them."""
    unreadable, readable = [closed(1, "failed") for _ in range(2 * BATCH_MAX)], closed(1, "terminated")
    world.visibility.put(*unreadable, readable)
    world.history.events = {run.run_id: UNREADABLE for run in unreadable}
    await world.poll()
    laps = []

    async def wait(_: float) -> None:
        laps.append(len(world.history.requests))
        if len(laps) == 3:
            raise asyncio.CancelledError

    monkeypatch.setattr(world.pending, "_sleep", wait)
    with suppress(asyncio.CancelledError):
        await world.pending.run()
    assert world.statuses() == {"terminated": 1}
    assert laps == [len(unreadable) * laps + 1 for laps in (1, 2, 3)]


async def test_lap(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lap ends after LAP requests, and runs that could not be classified are requested again in the next one."""
    monkeypatch.setattr(module, "LAP", BATCH)
    unreadable = closed(1, "failed")
    world.visibility.put(unreadable, *(closed(1, "terminated") for _ in range(3 * BATCH)))
    world.history.events[unreadable.run_id] = UNREADABLE
    await world.poll()
    assert await world.pending.count_lap() == BATCH - 1
    world.history.events[unreadable.run_id] = failed("Refused")
    assert await world.pending.count_lap() == BATCH
    assert world.statuses() == {"failed": 1, "terminated": 2 * BATCH - 2}


async def test_full_laps(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lap in which LAP runs were counted is followed by the next one without a wait."""
    monkeypatch.setattr(module, "LAP", BATCH)
    world.visibility.put(*(closed(1, "terminated") for _ in range(2 * BATCH + 7)))
    await world.poll()

    async def stop(_: float) -> None:
        raise asyncio.CancelledError

    monkeypatch.setattr(world.pending, "_sleep", stop)
    with suppress(asyncio.CancelledError):
        await world.pending.run()
    assert world.statuses() == {"terminated": 2 * BATCH + 7}


async def test_slow_response(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request without response for long does not block the requests and the counting of other runs."""
    monkeypatch.setattr(module, "IDLE", 0.01)
    slow = closed(1, "failed")
    world.visibility.put(slow, *(closed(1, "terminated") for _ in range(3 * BATCH)))
    await world.poll()
    respond, close_event_at_once = asyncio.Event(), world.history.close_event

    async def close_event(workflow_id: str, run_id: str) -> HistoryEvent | None:
        await (respond.wait() if run_id == slow.run_id else asyncio.sleep(0))
        return await close_event_at_once(workflow_id, run_id)

    monkeypatch.setattr(world.history, "close_event", close_event)
    lap = asyncio.create_task(world.pending.count_lap())

    async def rest_is_counted() -> bool:
        return world.statuses() == {"terminated": 3 * BATCH}

    await until(rest_is_counted, deadline=30, what="the other runs")
    respond.set()
    assert await lap == 3 * BATCH + 1
    assert world.statuses()["failed"] == 1


@pytest.mark.parametrize("ledger_url", ["sqlite"], indirect=True)
async def test_order_by_index(world: World, tmp_path: Path) -> None:
    """The next runs to request come from an index, whatever the backlog: nothing is sorted."""
    statements: list[tuple[str, Any]] = []

    def record(_: object, __: object, statement: str, parameters: object, *___: object) -> None:
        if "FROM pending" in statement:
            statements.append((statement, parameters))

    event.listen(Engine, "before_cursor_execute", record)
    world.visibility.put(*(closed(second, status) for second in range(90) for status in ("failed", "terminated")))
    await world.poll()
    lap, statements[:] = Lap("shop"), []
    try:
        for oldest_only in (False, True, False):
            await world.ledger.transact(partial(lap.next, size=8, oldest_only=oldest_only))
        await world.ledger.transact(reads.oldest_pending, "shop")
    finally:
        event.remove(Engine, "before_cursor_execute", record)
    assert len(statements) == 10
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as connection:
        for statement, parameters in statements:
            plan = connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters).fetchall()
            (step,) = (row[-1] for row in plan)
            assert "INDEX pending_close (namespace=? AND rank=?" in step, step
