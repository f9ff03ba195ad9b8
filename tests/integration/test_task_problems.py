"""Stuck runs on a real server that reports task problems, and on one that does not."""

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from temporalio import workflow
from temporalio.client import Client
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from temporal_slo import names
from temporal_slo.errors import TemporalRequestError
from temporal_slo.exporter.sources.task_problems import TaskProblems
from temporal_slo.servers.process import until
from temporal_slo.servers.temporal import TemporalServer
from temporal_slo.temporal.gateway import Gateway
from temporal_slo.temporal.task_problems import Problem, TemporalTaskProblems
from tests.conftest import Temporal

NAMESPACE = "default"
TRIGGER = "system.numConsecutiveWorkflowTaskProblemsToTriggerSearchAttribute"
QUEUE = "problems"
DEADLINE = 60.0

TASK_TIMEOUT = timedelta(seconds=1)
"""Workflow task timeout: a worker reports only the first failure of a task; later attempts time out."""

NON_DETERMINISM = Problem("ProblemsRide", "WorkflowTaskFailed", "WorkflowTaskFailedCauseNonDeterministicError")
BUG = Problem("ProblemsBug", "WorkflowTaskFailed", "WorkflowTaskFailedCauseWorkflowWorkerUnhandledFailure")


class Ride:
    """Waits for its signal."""

    def __init__(self) -> None:
        self.arrived = False

    @workflow.signal
    def arrive(self) -> None:
        """Let the run complete."""
        self.arrived = True


@workflow.defn(name=NON_DETERMINISM.workflow_type)
class OldCode(Ride):
    """The code that runs were started with: a timer comes first."""

    @workflow.run
    async def run(self) -> None:
        """Wait for the signal."""
        await workflow.sleep(0.01)
        await workflow.wait_condition(lambda: self.arrived)


@workflow.defn(name=NON_DETERMINISM.workflow_type)
class NewCode(Ride):
    """A later version without the timer, which is non-deterministic for open runs."""

    @workflow.run
    async def run(self) -> None:
        """Wait for the signal."""
        await workflow.wait_condition(lambda: self.arrived)


@workflow.defn(name=BUG.workflow_type)
class Bug:
    """Raises an error that fails the workflow task, not the workflow."""

    @workflow.run
    async def run(self) -> None:
        """Raise."""
        raise ValueError("a bug")


@asynccontextmanager
async def server(folder: Path, failures: int) -> AsyncIterator[Client]:
    """A server that reports a task problem after *failures* consecutive failures; 0 disables the report."""
    options = ["--headless", "--dynamic-config-value", f"{TRIGGER}={failures}"]
    started = TemporalServer(folder, options=options)
    try:
        yield await started.ready()
    finally:
        started.child.stop()


def worker(client: Client, *workflows: type) -> Worker:
    """A worker without sticky cache: it replays each task from the start, as after a deployment."""
    runner = UnsandboxedWorkflowRunner()
    return Worker(client, task_queue=QUEUE, workflows=workflows, workflow_runner=runner, max_cached_workflows=0)


async def stuck(source: TaskProblems) -> dict[Problem, object]:
    """Return the number of runs by problem."""
    family = names.WORKFLOWS_WITH_TASK_PROBLEMS
    return {Problem(**sample.labels): sample.value for sample in await source.read(0) if sample.family is family}


async def becomes(source: TaskProblems, wanted: dict[Problem, object]) -> None:
    """Wait until the numbers of stuck runs are *wanted*."""

    async def reached() -> bool:
        return await stuck(source) == wanted

    await until(reached, deadline=DEADLINE, what=f"{wanted}")


async def test_stuck_and_fixed(tmp_path: Path) -> None:
    """Runs stuck by non-determinism or a bug are reported by category and cause until they are fixed."""
    async with server(tmp_path, 1) as client:
        requests = TemporalTaskProblems(Gateway(client, NAMESPACE), None)
        source = TaskProblems(requests)
        assert await stuck(source) == {}
        async with worker(client, OldCode):
            ride = await client.start_workflow(
                OldCode.run, id=uuid.uuid4().hex, task_queue=QUEUE, task_timeout=TASK_TIMEOUT
            )

            async def waiting() -> bool:
                history = await ride.fetch_history()
                return any(event.HasField("timer_fired_event_attributes") for event in history.events)

            await until(waiting, deadline=DEADLINE, what="a run that waits for its signal")
        async with worker(client, NewCode, Bug):
            await ride.signal(NewCode.arrive)
            bug = await client.start_workflow(Bug.run, id=uuid.uuid4().hex, task_queue=QUEUE, task_timeout=TASK_TIMEOUT)
            await becomes(source, {NON_DETERMINISM: 1, BUG: 1})
            first = await requests.page(1)
            second = await requests.page(1, first.next_token)
            assert {*first.problems, *second.problems} == {NON_DETERMINISM, BUG}
        async with worker(client, OldCode):
            await ride.result()
            await becomes(source, {NON_DETERMINISM: 0, BUG: 1})
            # A closed run keeps the search attribute.
            await bug.terminate()
            await becomes(source, {NON_DETERMINISM: 0, BUG: 0})


async def test_report_disabled(tmp_path: Path) -> None:
    """If the server does not report task problems, reading fails instead of returning 0."""
    async with server(tmp_path, 0) as client:
        source = TaskProblems(TemporalTaskProblems(Gateway(client, NAMESPACE), None))
        with pytest.raises(TemporalRequestError, match="does not report workflow task problems"):
            await source.read(0)


async def test_default_configuration(temporal: Temporal) -> None:
    """A server with its default configuration reports task problems and accepts the query."""
    requests = TemporalTaskProblems(Gateway(temporal.client, temporal.client.namespace), None)
    assert await requests.is_supported()
    assert await TaskProblems(requests).read(0)
