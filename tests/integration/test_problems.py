"""Runs that are really stuck, on a server that says so at once, and on one that says nothing."""

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

SHORT = timedelta(seconds=1)
"""Of workflow tasks: a worker answers the first failure of one alone, and lets those that follow time out."""

CHANGED = Problem("ProblemsRide", "WorkflowTaskFailed", "WorkflowTaskFailedCauseNonDeterministicError")
BUG = Problem("ProblemsBug", "WorkflowTaskFailed", "WorkflowTaskFailedCauseWorkflowWorkerUnhandledFailure")


class Ride:
    """Waits for its signal."""

    def __init__(self) -> None:
        self.arrived = False

    @workflow.signal
    def arrive(self) -> None:
        """Let it end."""
        self.arrived = True


@workflow.defn(name=CHANGED.workflow_type)
class AsItWas(Ride):
    """The code that runs were started with: a timer comes first."""

    @workflow.run
    async def run(self) -> None:
        """Wait."""
        await workflow.sleep(0.01)
        await workflow.wait_condition(lambda: self.arrived)


@workflow.defn(name=CHANGED.workflow_type)
class AsItIs(Ride):
    """The code that was deployed under them: the timer of their history is gone."""

    @workflow.run
    async def run(self) -> None:
        """Wait."""
        await workflow.wait_condition(lambda: self.arrived)


@workflow.defn(name=BUG.workflow_type)
class Bug:
    """Raises what is no failure of the workflow."""

    @workflow.run
    async def run(self) -> None:
        """Raise."""
        raise ValueError("a bug")


@asynccontextmanager
async def server(folder: Path, failures: int) -> AsyncIterator[Client]:
    """A server that reports a problem after so many failures in a row; never if 0."""
    options = ["--headless", "--dynamic-config-value", f"{TRIGGER}={failures}"]
    started = TemporalServer(folder, options=options)
    try:
        yield await started.ready()
    finally:
        started.child.stop()


def worker(client: Client, *workflows: type) -> Worker:
    """A worker that replays each task from the start, as one does that was just deployed."""
    runner = UnsandboxedWorkflowRunner()
    return Worker(client, task_queue=QUEUE, workflows=workflows, workflow_runner=runner, max_cached_workflows=0)


async def stuck(source: TaskProblems) -> dict[Problem, object]:
    """How many runs have each problem."""
    family = names.WORKFLOWS_WITH_TASK_PROBLEMS
    return {Problem(**sample.labels): sample.value for sample in await source.read(0) if sample.family is family}


async def becomes(source: TaskProblems, wanted: dict[Problem, object]) -> None:
    """Wait until that many runs are stuck."""

    async def reached() -> bool:
        return await stuck(source) == wanted

    await until(reached, deadline=DEADLINE, what=f"{wanted}")


async def test_stuck_and_mended(tmp_path: Path) -> None:
    """Runs under which the code changed, and runs of a bug, are stuck by category and cause until that is mended."""
    async with server(tmp_path, 1) as client:
        requests = TemporalTaskProblems(Gateway(client, NAMESPACE), None)
        source = TaskProblems(requests)
        assert await stuck(source) == {}
        async with worker(client, AsItWas):
            ride = await client.start_workflow(AsItWas.run, id=uuid.uuid4().hex, task_queue=QUEUE, task_timeout=SHORT)

            async def waits() -> bool:
                history = await ride.fetch_history()
                return any(event.HasField("timer_fired_event_attributes") for event in history.events)

            await until(waits, deadline=DEADLINE, what="a run that waits for its signal")
        async with worker(client, AsItIs, Bug):
            await ride.signal(AsItIs.arrive)
            bug = await client.start_workflow(Bug.run, id=uuid.uuid4().hex, task_queue=QUEUE, task_timeout=SHORT)
            await becomes(source, {CHANGED: 1, BUG: 1})
            first = await requests.page(1)
            second = await requests.page(1, first.next_token)
            assert {*first.problems, *second.problems} == {CHANGED, BUG}
        async with worker(client, AsItWas):
            await ride.result()
            await becomes(source, {CHANGED: 0, BUG: 1})
            # A closed run keeps the mark.
            await bug.terminate()
            await becomes(source, {CHANGED: 0, BUG: 0})


async def test_server_that_reports_nothing(tmp_path: Path) -> None:
    """Where the report is switched off, nobody is told that nothing is stuck."""
    async with server(tmp_path, 0) as client:
        source = TaskProblems(TemporalTaskProblems(Gateway(client, NAMESPACE), None))
        with pytest.raises(TemporalRequestError, match="does not report workflow task problems"):
            await source.read(0)


async def test_server_as_it_comes(temporal: Temporal) -> None:
    """A server that nobody configured reports problems, and takes the query."""
    requests = TemporalTaskProblems(Gateway(temporal.client, temporal.client.namespace), None)
    assert await requests.is_supported()
    assert await TaskProblems(requests).read(0)
