"""Runs that are deleted while they are open."""

import time
import uuid
from pathlib import Path

from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice.v1 import DeleteWorkflowExecutionRequest

from temporal_slo import names
from temporal_slo.runs.microseconds import MINUTE, SECOND
from temporal_slo.servers.process import until
from tests.conftest import Temporal

from .polling import polling


async def test_deleted_run(temporal: Temporal, tmp_path: Path) -> None:
    """After the next full listing a deleted open run is counted as vanished, and never as closed."""
    client = await temporal.namespace("deleted")
    handle = await client.start_workflow("Unserved", id=uuid.uuid4().hex, task_queue="no-workers")

    async def listed(count: int) -> bool:
        return (await client.count_workflows()).count == count

    await until(lambda: listed(1), deadline=30, what="the run in visibility")
    async with polling(tmp_path, temporal.connection("deleted")) as parts:
        mirror, now = parts.mirror, int(time.time() * SECOND)
        await mirror.poll(now)
        assert len(mirror.state.open) == 1
        execution = WorkflowExecution(workflow_id=handle.id, run_id=str(handle.first_execution_run_id))
        request = DeleteWorkflowExecutionRequest(namespace="deleted", workflow_execution=execution)
        await client.workflow_service.delete_workflow_execution(request)
        await until(lambda: listed(0), deadline=90, what="the deletion in visibility")
        # The clock is moved forward: all open runs are listed every ten minutes; a missing one is dropped a poll later.
        for minutes in (11, 12):
            await mirror.poll(now + minutes * MINUTE)
        assert (mirror.state.open, mirror.state.counters[names.EXPORTER_VANISHED_RUNS], mirror.state.closed) == (
            {},
            1,
            {},
        )
