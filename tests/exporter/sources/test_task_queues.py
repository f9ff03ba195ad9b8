from collections import Counter
from collections.abc import Iterable

import pytest

from temporal_slo import names
from temporal_slo.errors import TemporalRequestError
from temporal_slo.exporter.exposition.collector import collect
from temporal_slo.exporter.exposition.snapshot import Snapshot
from temporal_slo.exporter.sources import task_queues as module
from temporal_slo.exporter.sources.task_queues import TaskQueues
from temporal_slo.ledger.state import Histogram, OpenRun, State
from temporal_slo.names import Family
from temporal_slo.names.samples import Sample
from temporal_slo.runs.counted import ClosedKey, RunningKey
from temporal_slo.temporal.task_queues import ACTIVITY, WORKFLOW, Backlog, TaskQueueInfo
from temporal_slo.testing import UNUSED_TASK_QUEUE, FakeTaskQueues

USED = TaskQueueInfo(Backlog(17, 3.5, 1.25, 0.75), 3, 1_700_000_000.5)


def take_described(requests: FakeTaskQueues) -> list[str]:
    """Return the names described since the last call, in order."""
    described, requests.requests = requests.requests, []
    return list(dict.fromkeys(queue for queue, _ in described))


def state_with(**running: int) -> State:
    """Return a state with so many open runs by task queue."""
    state = State()
    for queue, count in running.items():
        state.open.update({f"{queue}-{n}": OpenRun(RunningKey("Ride", queue), 0) for n in range(count)})
    return state


def values(samples: Iterable[Sample], family: Family) -> dict[tuple[str, ...], object]:
    """Return the values of one family by label values."""
    return {tuple(s.labels.values()): s.value for s in samples if s.family is family}


async def test_samples() -> None:
    """Each value of a description has a metric."""
    requests = FakeTaskQueues()
    requests.task_queues["rides", WORKFLOW] = USED
    samples = list(await TaskQueues(requests, state_with(rides=1), ()).read(0))
    key = ("rides", WORKFLOW)
    assert {sample.family.name: sample.value for sample in samples if sample.labels} == {
        names.TASK_QUEUE_BACKLOG.name: 17,
        names.TASK_QUEUE_BACKLOG_AGE.name: 3.5,
        names.TASK_QUEUE_ADDED.name: 1.25,
        names.TASK_QUEUE_DISPATCHED.name: 0.75,
        names.TASK_QUEUE_POLLERS.name: 3,
        names.TASK_QUEUE_LAST_POLL.name: 1_700_000_000.5,
    }
    assert values(samples, names.TASK_QUEUE_BACKLOG) == {key: 17}
    exposed = dict(collect([Snapshot("shop", self_metrics=tuple(samples))]))
    assert list(exposed[names.TASK_QUEUE_BACKLOG]) == [(("shop", *key), 17)]
    assert values(samples, names.EXPORTER_TASK_QUEUES_OVER_LIMIT) == {(): 0}


async def test_no_data_is_not_zero() -> None:
    """Without a backlog in the description none is exposed; no pollers are exposed as 0, without a last poll."""
    requests = FakeTaskQueues()
    requests.task_queues["rides", WORKFLOW] = TaskQueueInfo(None, 0, None)
    samples = list(await TaskQueues(requests, state_with(rides=1), ()).read(0))
    assert values(samples, names.TASK_QUEUE_POLLERS) == {("rides", WORKFLOW): 0}
    assert {s.family for s in samples} == {names.TASK_QUEUE_POLLERS, names.EXPORTER_TASK_QUEUES_OVER_LIMIT}


async def test_activities_after_use() -> None:
    """Activity tasks are exposed after the first sign of use, and stay exposed when all workers are lost."""
    requests = FakeTaskQueues()
    source = TaskQueues(requests, state_with(rides=1), ())
    for info, expected in (
        (UNUSED_TASK_QUEUE, {}),
        (USED, {("rides", ACTIVITY): 3}),
        (UNUSED_TASK_QUEUE, {("rides", ACTIVITY): 0}),
    ):
        requests.task_queues["rides", ACTIVITY] = info
        pollers = values(await source.read(0), names.TASK_QUEUE_POLLERS)
        pollers.pop(("rides", WORKFLOW))
        assert pollers == expected


@pytest.mark.parametrize(
    "info",
    [
        TaskQueueInfo(Backlog(1, 0.0, 0.0, 0.0), 0, None),
        TaskQueueInfo(Backlog(0, 0.0, 0.5, 0.0), 0, None),
        TaskQueueInfo(Backlog(0, 0.0, 0.0, 0.0), 1, None),
        TaskQueueInfo(None, 1, None),
    ],
)
async def test_signs_of_use(info: TaskQueueInfo) -> None:
    """A task queue is in use if it has tasks but no workers, or workers but no tasks."""
    requests = FakeTaskQueues()
    requests.task_queues["rides", ACTIVITY] = info
    samples = await TaskQueues(requests, state_with(rides=1), ()).read(0)
    assert values(samples, names.TASK_QUEUE_POLLERS)["rides", ACTIVITY] == info.pollers


async def test_failed_request() -> None:
    """If a task queue cannot be described, the read fails."""
    requests = FakeTaskQueues()
    requests.errors["rides"] = TemporalRequestError("UNAVAILABLE", "unreachable")
    with pytest.raises(TemporalRequestError, match="unreachable"):
        await TaskQueues(requests, state_with(meals=2, rides=1), ()).read(0)


async def test_order_and_limit() -> None:
    """Task queues of specs come first, then those with the most open runs; those beyond the limit are counted."""
    requests = FakeTaskQueues()
    source = TaskQueues(requests, state_with(rides=2, meals=5, boats=1), ("pay", "boats", "pay"), limit=3)
    requests.with_workers = frozenset({"cooks"})
    samples = await source.read(0)
    assert take_described(requests) == ["pay", "boats", "meals"]
    assert values(samples, names.EXPORTER_TASK_QUEUES_OVER_LIMIT) == {(): 2}


async def test_queues_of_workers() -> None:
    """A task queue reported by a worker is exposed for the task types in use, and stays when its workers are lost."""
    requests = FakeTaskQueues()
    requests.with_workers = frozenset({"cooks", "", "/_sys/cooks/1"})
    requests.task_queues["cooks", ACTIVITY] = USED
    source = TaskQueues(requests, state_with(rides=1), ())
    rides = {("rides", WORKFLOW): 0}
    assert values(await source.read(0), names.TASK_QUEUE_POLLERS) == {**rides, ("cooks", ACTIVITY): 3}
    requests.with_workers, requests.task_queues = frozenset(), {}
    assert values(await source.read(0), names.TASK_QUEUE_POLLERS) == {**rides, ("cooks", ACTIVITY): 0}
    requests.task_queues["cooks", WORKFLOW] = USED
    assert ("cooks", WORKFLOW) in values(await source.read(0), names.TASK_QUEUE_POLLERS)


async def test_queues_of_workers_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The number of remembered task queues is limited when workers report new ones every day."""
    monkeypatch.setattr(module, "WORKER_QUEUES_MAX", 3)
    requests = FakeTaskQueues()
    source = TaskQueues(requests, State(), ())
    for day in range(3):
        requests.with_workers = frozenset({f"{day}-a", f"{day}-b"})
        await source.read(0)
        described = take_described(requests)
    assert described == ["0-a", "0-b", "1-a"]


async def test_recent_queues_first() -> None:
    """Task queues without open runs are ordered by the last start or close of a run, newest first."""
    requests, state = FakeTaskQueues(), State()
    state.started[RunningKey("Ride", "a")] = 7
    state.started[RunningKey("Ride", "b")] = 3
    state.closed[ClosedKey("Ride", "c", "failed", "none")] = Histogram(Counter({1: 5}))
    source = TaskQueues(requests, state, ())
    await source.read(1)
    assert take_described(requests) == ["a", "b", "c"]
    state.closed[ClosedKey("Ride", "c", "failed", "none")].counts[2] += 1
    await source.read(2)
    assert take_described(requests) == ["c", "a", "b"]
    state.started[RunningKey("Ride", "b")] += 1
    await source.read(3)
    assert take_described(requests) == ["b", "c", "a"]


async def test_not_describable() -> None:
    """Empty names and partitions, which the server would reject, are not described."""
    requests = FakeTaskQueues()
    await TaskQueues(requests, state_with(**{"": 1, "/_sys/rides/1": 1, "rides": 1}), ()).read(0)
    assert take_described(requests) == ["rides"]


async def test_use_beyond_limit_is_forgotten() -> None:
    """Signs of use are remembered for monitored task queues only."""
    requests, state = FakeTaskQueues(), state_with(rides=1)
    requests.task_queues["rides", ACTIVITY] = USED
    source = TaskQueues(requests, state, (), limit=1)
    await source.read(0)
    state.open.update(state_with(meals=2).open)
    await source.read(0)
    requests.task_queues.clear()
    state.open.update(state_with(rides=3).open)
    assert values(await source.read(0), names.TASK_QUEUE_POLLERS) == {("rides", WORKFLOW): 0}
