from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from temporalio.api.failure.v1 import ApplicationFailureInfo, Failure
from temporalio.api.history.v1 import HistoryEvent, WorkflowExecutionFailedEventAttributes

from temporal_slo.errors import VisibilityError
from temporal_slo.exporter.ledger import Ledger
from temporal_slo.exporter.mirror import Mirror
from temporal_slo.exporter.outcome import OutcomeReader
from temporal_slo.exporter.settler import BATCH, DEADLINE, FAILURE_TYPES_MAX, Judge, Settler
from temporal_slo.exporter.snapshot import FailureKey
from temporal_slo.exporter.state import GONE, OTHER_FAILURES, SECOND, State
from temporal_slo.testing import FakeVisibility, FixedClock

from .runs import BEGAN, closed


def failed(kind: str, successor: str = "") -> HistoryEvent:
    """The close event of a run that failed with an error of that type."""
    failure = Failure(application_failure_info=ApplicationFailureInfo(type=kind))
    attributes = WorkflowExecutionFailedEventAttributes(failure=failure, new_execution_run_id=successor)
    return HistoryEvent(workflow_execution_failed_event_attributes=attributes)


class FakeHistory:
    """Close events by run id; None is gone, an error is raised."""

    def __init__(self) -> None:
        self.events: dict[str, HistoryEvent | VisibilityError | None] = {}
        self.asked: list[str] = []

    async def close_event(self, workflow_id: str, run_id: str) -> HistoryEvent | None:
        """Answer."""
        assert workflow_id == "w"
        self.asked.append(run_id)
        event = self.events.get(run_id)
        if isinstance(event, VisibilityError):
            raise event
        return event


class World:
    """A mirror of a fake namespace, and the settler of its runs."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.visibility = FakeVisibility()
        self.history = FakeHistory()
        self.clock = FixedClock(BEGAN / SECOND)
        self.start(State())

    def start(self, state: State) -> None:
        """Begin with what is known."""
        judge = Judge(OutcomeReader({}, decode), (), state)
        self.mirror = Mirror("shop", self.visibility, self.ledger, state, BEGAN, judge=judge.at_once)
        self.settler = Settler("shop", self.mirror, self.ledger, self.history, judge=judge, clock=self.clock)

    async def poll(self) -> None:
        """Read what there is."""
        await self.mirror.poll(int(self.clock() * SECOND))

    def statuses(self) -> dict[str, int]:
        """Counted runs by status."""
        return {key.status: histogram.count for key, histogram in self.mirror.state.closed.items()}


async def decode(*_: object) -> object:
    """Decode nothing: no outcomes are asked for."""
    raise AssertionError


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """A world with an empty ledger."""
    ledger = Ledger(f"sqlite:///{tmp_path / 'ledger.db'}")
    yield World(ledger)
    ledger.close()


async def test_waits_for_its_event(world: World) -> None:
    """A failed run is counted only once its close event was read, as that says; a completed one at once."""
    run, again = closed(1, "failed"), closed(1, "failed")
    world.visibility.put(run, again, closed(1))
    world.history.events = {run.run_id: failed("Refused"), again.run_id: failed("Away", "next-run")}
    await world.poll()
    assert (world.statuses(), world.mirror.state.waiting) == ({"completed": 1}, 2)
    assert await world.settler.settle() == 2
    assert (world.statuses(), world.mirror.state.waiting) == ({"completed": 1, "failed": 1, "retried": 1}, 0)
    assert world.mirror.state.failures == {
        FailureKey("Ride", "failed", "Refused"): 1,
        FailureKey("Ride", "retried", "Away"): 1,
    }


async def test_event_is_gone(world: World) -> None:
    """A run whose close event is gone is counted at once, with an unknown failure type, and that is told."""
    world.visibility.put(closed(1, "timed_out"))
    await world.poll()
    await world.settler.settle()
    assert world.mirror.state.failures == {FailureKey("Ride", "timed_out", "unknown"): 1}
    assert world.mirror.state.others[GONE] == 1


async def test_no_answer(world: World) -> None:
    """A run whose close event cannot be had waits, over a restart too, and is counted without after the deadline."""
    run = closed(1, "failed")
    world.visibility.put(run)
    world.history.events[run.run_id] = VisibilityError("UNAVAILABLE", "refused")
    await world.poll()
    assert await world.settler.settle() == 0
    world.start(await world.ledger.load("shop"))
    world.clock.forward(DEADLINE / SECOND)
    assert (await world.settler.settle(), world.statuses()) == (0, {})
    world.clock.forward(1)
    assert (await world.settler.settle(), world.statuses()) == (1, {"failed": 1})
    await world.poll()
    assert (world.statuses(), world.mirror.state.waiting, world.mirror.state.others[GONE]) == ({"failed": 1}, 0, 1)


async def test_failures_first(world: World) -> None:
    """Failed and timed-out runs are asked for before the terminated ones that waited longer."""
    world.visibility.put(*(closed(1, "terminated") for _ in range(BATCH)))
    await world.poll()
    urgent = closed(2, "timed_out")
    world.visibility.put(urgent)
    world.clock.forward(3)
    await world.poll()
    await world.settler.settle()
    assert world.history.asked[0] == urgent.run_id


async def test_failure_types_are_few(world: World) -> None:
    """Beyond the limit failure types are counted as other; those that had a place keep it over a restart."""
    runs = [closed(1, "failed") for _ in range(FAILURE_TYPES_MAX + 3)]
    world.visibility.put(*runs)
    world.history.events = {run.run_id: failed(f"Type{number}") for number, run in enumerate(runs)}
    await world.poll()
    await world.settler.settle()
    kinds = {key.failure_type for key in world.mirror.state.failures}
    assert (len(kinds), world.mirror.state.others[OTHER_FAILURES]) == (FAILURE_TYPES_MAX + 1, 3)
    assert world.mirror.state.failures[FailureKey("Ride", "failed", "other")] == 3
    world.start(await world.ledger.load("shop"))
    more = closed(2, "failed")
    world.visibility.put(more)
    world.history.events[more.run_id] = failed("Type999")
    await world.poll()
    await world.settler.settle()
    assert world.mirror.state.failures[FailureKey("Ride", "failed", "other")] == 4
