"""Task queues of a real server: without workers, with workers, and only for activities."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest
from temporalio import activity, workflow
from temporalio.client import Client, WorkflowHandle
from temporalio.runtime import Runtime, TelemetryConfig
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from temporal_slo import names
from temporal_slo.errors import TemporalRequestError
from temporal_slo.exporter.sources.source import SourceRunner
from temporal_slo.exporter.sources.task_queues import TaskQueues
from temporal_slo.ledger.state import State
from temporal_slo.servers.process import until
from temporal_slo.temporal.gateway import Gateway
from temporal_slo.temporal.task_queues import ACTIVITY, WORKFLOW, Backlog, TaskQueueInfo, TemporalTaskQueues
from tests.conftest import Temporal

NAMESPACE = "task-queues"
DEADLINE = 60.0

# The requests of these tests are not rate-limited, and each test uses its own queues.
Found = dict[tuple[str, str], dict[str, object]]


@activity.defn(name="QueuesCook")
async def cook() -> None:
    """Do nothing."""


@workflow.defn(name="QueuesMeal")
class Meal:
    """Runs its activity on the task queue in its argument."""

    @workflow.run
    async def run(self, kitchen: str) -> None:
        """Execute the activity."""
        await workflow.execute_activity(cook, task_queue=kitchen, start_to_close_timeout=timedelta(minutes=1))


async def read(source: TaskQueues) -> Found:
    """Read and return the values by task queue and type, and by family name."""
    found: Found = {}
    for family, labels, value in await source.read(0):
        if labels:
            found.setdefault((labels[names.TASK_QUEUE], labels[names.TASK_TYPE]), {})[family.name] = value
    return found


async def becomes(source: TaskQueues, condition: Callable[[Found], object], what: str) -> Found:
    """Read until *condition* is true."""

    async def met() -> Found | None:
        found = await read(source)
        return found if condition(found) else None

    return await until(met, deadline=DEADLINE, what=what)


async def start(client: Client, queue: str, kitchen: str, count: int) -> list[WorkflowHandle[Meal, None]]:
    """Start *count* workflows."""
    starts: list[Awaitable[WorkflowHandle[Meal, None]]] = [
        client.start_workflow(Meal.run, kitchen, id=uuid.uuid4().hex, task_queue=queue) for _ in range(count)
    ]
    return list(await asyncio.gather(*starts))


async def test_backlog_and_pollers(temporal: Temporal) -> None:
    """Without workers the backlog and its age grow; with workers it becomes 0, also on a queue only for activities."""
    client = await temporal.namespace(NAMESPACE)
    queue, kitchen = f"q-{uuid.uuid4().hex}", f"k-{uuid.uuid4().hex}"
    source = TaskQueues(TemporalTaskQueues(Gateway(client, NAMESPACE), None), State(), (queue,))
    handles = await start(client, queue, kitchen, 7)
    backlog, age, pollers = (
        family.name for family in (names.TASK_QUEUE_BACKLOG, names.TASK_QUEUE_BACKLOG_AGE, names.TASK_QUEUE_POLLERS)
    )
    tasks, meals = (queue, WORKFLOW), (kitchen, ACTIVITY)

    first = await becomes(source, lambda found: found[tasks][backlog] == 7, "a backlog of 7")
    assert first[tasks][pollers] == 0
    assert names.TASK_QUEUE_LAST_POLL.name not in first[tasks]
    assert set(first) == {tasks}
    younger = first[tasks][age]
    assert isinstance(younger, float)
    older = await becomes(source, lambda found: found[tasks][age] >= younger + 3, "an older backlog")  # type: ignore[operator] # a float too
    assert older[tasks][backlog] == 7

    async with Worker(client, task_queue=queue, workflows=[Meal], workflow_runner=UnsandboxedWorkflowRunner()):
        served = await becomes(source, lambda found: found[tasks][backlog] == 0, "tasks taken")
        assert served[tasks][age] == 0
        assert served[tasks][pollers] == 1
        assert served[tasks][names.TASK_QUEUE_LAST_POLL.name]
        assert set(served) == {tasks}
        # The default interval is a minute.
        quick = Runtime(telemetry=TelemetryConfig(), worker_heartbeat_interval=timedelta(seconds=1))
        cooks = await Client.connect(temporal.address, namespace=NAMESPACE, runtime=quick)
        async with Worker(cooks, task_queue=kitchen, activities=[cook]):
            await asyncio.gather(*(handle.result() for handle in handles))
            done = await becomes(source, lambda found: meals in found, "the queue in the heartbeat of its worker")
            assert set(done) == {tasks, meals}
            assert done[meals][pollers] == 1
            await becomes(source, lambda found: found[meals][backlog] == 0, "meals cooked")


async def test_unknown_queue(temporal: Temporal) -> None:
    """A task queue that was never used looks like an empty one; describing it adds no poller."""
    requests = TemporalTaskQueues(Gateway(await temporal.namespace(NAMESPACE), NAMESPACE), None)
    queue = uuid.uuid4().hex
    for _ in range(3):
        assert await requests.describe(queue, WORKFLOW) == TaskQueueInfo(Backlog(0, 0.0, 0.0, 0.0), 0, None)
        assert not (await requests.describe(queue, ACTIVITY)).in_use


async def test_error_names_the_queue(temporal: Temporal) -> None:
    """A name that the server rejects is an error with the name."""
    requests = TemporalTaskQueues(Gateway(await temporal.namespace(NAMESPACE), NAMESPACE), None)
    with pytest.raises(TemporalRequestError, match=r"^INVALID_ARGUMENT: task queue '/_sys/rides/1': ") as caught:
        await requests.describe("/_sys/rides/1", WORKFLOW)
    assert caught.value.code == "INVALID_ARGUMENT"


async def test_server_unreachable() -> None:
    """If the server is unreachable, the result has the error and keeps the last samples."""
    client = await Client.connect("127.0.0.1:1", lazy=True)
    runner = SourceRunner(
        NAMESPACE,
        TaskQueues(TemporalTaskQueues(Gateway(client, NAMESPACE), None), State(), ("rides",)),
        timedelta(seconds=1),
    )
    await runner.read()
    assert runner.result
    assert runner.result.error
    assert runner.result.error.startswith("UNAVAILABLE: ")
    assert runner.result.samples == ()
