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

NOTHING = TaskQueueInfo(Backlog(0, 0.0, 0.0, 0.0), 0, None)
SERVED = TaskQueueInfo(Backlog(17, 3.5, 1.25, 0.75), 3, 1_700_000_000.5)


class FakeQueues:
    """Task queues by name and type; the others are empty.

    Attributes:
        errors: Raised for these names.
        asked: What it was asked for.
        listed: Task queues that workers report.
    """

    def __init__(self) -> None:
        self.facts: dict[tuple[str, str], TaskQueueInfo] = {}
        self.errors: dict[str, TemporalRequestError] = {}
        self.asked: list[tuple[str, str]] = []
        self.listed: frozenset[str] = frozenset()

    async def worker_task_queues(self) -> frozenset[str]:
        """Answer."""
        return self.listed

    async def describe(self, task_queue: str, task_type: str) -> TaskQueueInfo:
        """Answer."""
        self.asked.append((task_queue, task_type))
        if error := self.errors.get(task_queue):
            raise error
        return self.facts.get((task_queue, task_type), NOTHING)

    def queues(self) -> list[str]:
        """Which names it was asked for since the last time, in their order."""
        asked, self.asked = self.asked, []
        return list(dict.fromkeys(queue for queue, _ in asked))


def mirrored(**running: int) -> State:
    """What a mirror knows of so many open runs by task queue."""
    state = State()
    for queue, count in running.items():
        state.open.update({f"{queue}-{n}": OpenRun(RunningKey("Ride", queue), 0) for n in range(count)})
    return state


def values(samples: Iterable[Sample], family: Family) -> dict[tuple[str, ...], object]:
    """The values of one family by label values."""
    return {tuple(s.labels.values()): s.value for s in samples if s.family is family}


async def test_figures() -> None:
    """Each figure has the family of its own."""
    requests = FakeQueues()
    requests.facts["rides", WORKFLOW] = SERVED
    samples = list(await TaskQueues(requests, mirrored(rides=1), ()).read(0))
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
    """A server that tells no backlog has none of 0; no pollers is data, and no last poll."""
    requests = FakeQueues()
    requests.facts["rides", WORKFLOW] = TaskQueueInfo(None, 0, None)
    samples = list(await TaskQueues(requests, mirrored(rides=1), ()).read(0))
    assert values(samples, names.TASK_QUEUE_POLLERS) == {("rides", WORKFLOW): 0}
    assert {s.family for s in samples} == {names.TASK_QUEUE_POLLERS, names.EXPORTER_TASK_QUEUES_OVER_LIMIT}


async def test_activities_after_a_sign() -> None:
    """Activity tasks show once there was a sign of them, and then stay: no workers is what one must see."""
    requests = FakeQueues()
    source = TaskQueues(requests, mirrored(rides=1), ())
    for facts, shown in ((NOTHING, {}), (SERVED, {("rides", ACTIVITY): 3}), (NOTHING, {("rides", ACTIVITY): 0})):
        requests.facts["rides", ACTIVITY] = facts
        pollers = values(await source.read(0), names.TASK_QUEUE_POLLERS)
        pollers.pop(("rides", WORKFLOW))
        assert pollers == shown


@pytest.mark.parametrize(
    "facts",
    [
        TaskQueueInfo(Backlog(1, 0.0, 0.0, 0.0), 0, None),
        TaskQueueInfo(Backlog(0, 0.0, 0.5, 0.0), 0, None),
        TaskQueueInfo(Backlog(0, 0.0, 0.0, 0.0), 1, None),
        TaskQueueInfo(None, 1, None),
    ],
)
async def test_signs_of_use(facts: TaskQueueInfo) -> None:
    """Tasks that nobody takes show a queue that has no workers, and workers one that has no tasks."""
    requests = FakeQueues()
    requests.facts["rides", ACTIVITY] = facts
    samples = await TaskQueues(requests, mirrored(rides=1), ()).read(0)
    assert values(samples, names.TASK_QUEUE_POLLERS)["rides", ACTIVITY] == facts.pollers


async def test_a_failure_fails_the_reading() -> None:
    """One queue that cannot be asked fails all: what was read before stays whole."""
    requests = FakeQueues()
    requests.errors["rides"] = TemporalRequestError("UNAVAILABLE", "away")
    with pytest.raises(TemporalRequestError, match="away"):
        await TaskQueues(requests, mirrored(meals=2, rides=1), ()).read(0)


async def test_order_and_bound() -> None:
    """Named queues come first, then those with many open runs; how many are left out is told."""
    requests = FakeQueues()
    source = TaskQueues(requests, mirrored(rides=2, meals=5, boats=1), ("pay", "boats", "pay"), limit=3)
    requests.listed = frozenset({"cooks"})
    samples = await source.read(0)
    assert requests.queues() == ["pay", "boats", "meals"]
    assert values(samples, names.EXPORTER_TASK_QUEUES_OVER_LIMIT) == {(): 2}


async def test_queues_of_workers() -> None:
    """A queue of which a worker told shows what it serves, and stays when its workers are gone."""
    requests = FakeQueues()
    requests.listed = frozenset({"cooks", "", "/_sys/cooks/1"})
    requests.facts["cooks", ACTIVITY] = SERVED
    source = TaskQueues(requests, mirrored(rides=1), ())
    rides = {("rides", WORKFLOW): 0}
    assert values(await source.read(0), names.TASK_QUEUE_POLLERS) == {**rides, ("cooks", ACTIVITY): 3}
    requests.listed, requests.facts = frozenset(), {}
    assert values(await source.read(0), names.TASK_QUEUE_POLLERS) == {**rides, ("cooks", ACTIVITY): 0}
    requests.facts["cooks", WORKFLOW] = SERVED
    assert ("cooks", WORKFLOW) in values(await source.read(0), names.TASK_QUEUE_POLLERS)


async def test_queues_of_workers_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers that have a task queue each, and a new one every day, do not fill the memory."""
    monkeypatch.setattr(module, "SERVED_MAX", 3)
    requests = FakeQueues()
    source = TaskQueues(requests, State(), ())
    for day in range(3):
        requests.listed = frozenset({f"{day}-a", f"{day}-b"})
        await source.read(0)
        asked = requests.queues()
    assert asked == ["0-a", "0-b", "1-a"]


async def test_recent_queues_first() -> None:
    """Of queues without open runs those come first whose runs started or closed of late."""
    requests, state = FakeQueues(), State()
    state.started[RunningKey("Ride", "a")] = 7
    state.started[RunningKey("Ride", "b")] = 3
    state.closed[ClosedKey("Ride", "c", "failed", "none")] = Histogram(Counter({1: 5}))
    source = TaskQueues(requests, state, ())
    await source.read(1)
    assert requests.queues() == ["a", "b", "c"]
    state.closed[ClosedKey("Ride", "c", "failed", "none")].counts[2] += 1
    await source.read(2)
    assert requests.queues() == ["c", "a", "b"]
    state.started[RunningKey("Ride", "b")] += 1
    await source.read(3)
    assert requests.queues() == ["b", "c", "a"]


async def test_names_that_are_no_queues() -> None:
    """A row without task queue is none to ask for, and a partition would be refused."""
    requests = FakeQueues()
    await TaskQueues(requests, mirrored(**{"": 1, "/_sys/rides/1": 1, "rides": 1}), ()).read(0)
    assert requests.queues() == ["rides"]


async def test_what_is_left_out_is_forgotten() -> None:
    """What is remembered of queues is bounded like the queues."""
    requests, state = FakeQueues(), mirrored(rides=1)
    requests.facts["rides", ACTIVITY] = SERVED
    source = TaskQueues(requests, state, (), limit=1)
    await source.read(0)
    state.open.update(mirrored(meals=2).open)
    await source.read(0)
    requests.facts.clear()
    state.open.update(mirrored(rides=3).open)
    assert values(await source.read(0), names.TASK_QUEUE_POLLERS) == {("rides", WORKFLOW): 0}
