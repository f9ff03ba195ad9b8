"""Paused runs, which need a server of version 1.32 or newer."""

import uuid
from pathlib import Path

from temporalio.api.workflowservice.v1 import PauseWorkflowExecutionRequest

from temporal_slo.runs.counted import RunningKey
from temporal_slo.servers.process import until
from tests.conftest import Temporal
from tests.exposed import published

from .polling import polling

PAIR = ("Paused", "Running")


async def test_paused_run(temporal: Temporal, tmp_path: Path) -> None:
    """A paused run, whose status the SDK does not know, is neither running nor closed, and fails no poll."""
    client = await temporal.namespace("paused")
    running, paused = [
        await client.start_workflow("Unserved", id=uuid.uuid4().hex, task_queue="no-workers") for _ in range(2)
    ]
    request = PauseWorkflowExecutionRequest(
        namespace="paused", workflow_id=paused.id, request_id=uuid.uuid4().hex, identity="test", reason="test"
    )
    await client.workflow_service.pause_workflow_execution(request)

    async def one_of_each() -> bool:
        counts = [(await client.count_workflows(f"ExecutionStatus = '{status}'")).count for status in PAIR]
        return counts == [1, 1]

    await until(one_of_each, deadline=30, what="a paused and a running run in visibility")
    async with polling(tmp_path, temporal.connection("paused")) as parts:
        poller = parts.poller
        assert await poller.poll()
        assert poller.snapshot.samples
        assert published(poller.snapshot).running == {RunningKey("Unserved", "no-workers"): 1}
        assert published(poller.snapshot).paused == {"Unserved": 1}
        assert published(poller.snapshot).closed == {}
    await running.terminate()
