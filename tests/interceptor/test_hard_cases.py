"""Events that a worker sees only in part: resets, non-determinism, other processes, lost responses."""

import multiprocessing
from collections import Counter
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from datetime import timedelta

import pytest
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice.v1 import ResetWorkflowExecutionRequest
from temporalio.client import Client, WorkflowUpdateFailedError
from temporalio.worker import SharedStateManager, Worker

from temporal_slo import names
from temporal_slo.interceptor import SLOPlugin
from temporal_slo.servers.process import until
from tests.conftest import Temporal

from . import cases
from .conftest import NAMESPACE, Connect
from .drive import Drive, Handle, case_worker
from .metrics import Metrics
from .proxy import Proxy


async def test_reset(connect: Connect, metrics: Metrics, queue: str) -> None:
    """The run that a reset terminates is not counted; the run that it starts counts once, replayed activities again."""
    client = await connect(SLOPlugin())
    drive = Drive(client, queue)
    async with case_worker(client, queue, workflows=[cases.Steps]):
        handle = await drive.start(cases.Steps)
        await handle.signal("step")
        await drive.has(handle, "activity_task_completed")
        await _reset(client, handle)
        again = client.get_workflow_handle(handle.id)
        await again.signal("step")
        assert await again.result() == 3
        rows = await drive.rows(2)
    assert rows == Counter({("Steps", "terminated"): 1, ("Steps", "completed"): 1})
    assert metrics.closed(queue) == {("Steps", "completed"): 1}
    assert metrics.counts(names.WORKFLOW_TASK_FAILURES, queue) == {}


async def _reset(client: Client, handle: Handle) -> None:
    events = (await handle.fetch_history()).events
    first = next(e.event_id for e in events if e.HasField("workflow_task_completed_event_attributes"))
    request = ResetWorkflowExecutionRequest(
        namespace=client.namespace,
        workflow_execution=WorkflowExecution(workflow_id=handle.id, run_id=handle.first_execution_run_id or ""),
        reason="test",
        request_id=handle.id,
        workflow_task_finish_event_id=first,
    )
    await client.workflow_service.reset_workflow_execution(request)


async def test_nondeterminism_as_failure(connect: Connect, metrics: Metrics, queue: str) -> None:
    """A run that core fails for non-determinism counts as a task failure; only the exporter counts its end."""
    client = await connect(SLOPlugin())
    drive = Drive(client, queue)
    async with case_worker(client, queue, workflows=[cases.ForgetsItsTimer]):
        handle = await drive.start(cases.ForgetsItsTimer)
        await drive.has(handle, "timer_started")
    async with case_worker(client, queue, workflows=[cases.ForgetsItsTimer]):
        await handle.signal("poke")
        await drive.wait()
        rows = await drive.rows(1)
    assert rows == Counter({("ForgetsItsTimer", "failed"): 1})
    assert metrics.ends(queue) == {}
    assert metrics.counts(names.WORKFLOW_TASK_FAILURES, queue) == {("ForgetsItsTimer", "NondeterminismError"): 1}


@pytest.mark.parametrize("pool", ["threads", "processes"])
async def test_activities_in_pools(connect: Connect, metrics: Metrics, queue: str, pool: str) -> None:
    """Activities in threads and in other processes count like async ones."""
    client = await connect(SLOPlugin())
    drive = Drive(client, queue)
    errors = metrics.counts(names.WORKER_ERRORS)
    spawn = multiprocessing.get_context("spawn")
    executor: Executor = ThreadPoolExecutor(2) if pool == "threads" else ProcessPoolExecutor(1, mp_context=spawn)
    with executor, spawn.Manager() as manager:
        worker = Worker(
            client,
            task_queue=queue,
            workflows=[cases.UsesAPool],
            activities=[cases.double],
            activity_executor=executor,
            max_concurrent_activities=1,
            shared_state_manager=SharedStateManager.create_from_multiprocessing(manager),
        )
        async with worker:
            handle = await drive.start(cases.UsesAPool, 21)
            assert await handle.result() == 42
    assert metrics.counts(names.ACTIVITY_ATTEMPTS, queue) == {("UsesAPool", "double", "completed", "none"): 1}
    assert metrics.counts(names.ACTIVITY_ENDS, queue) == {("UsesAPool", "double", "completed", "none"): 1}
    assert len(metrics.seconds(names.ACTIVITY_SCHEDULE_TO_START, queue)) == 1
    assert metrics.counts(names.WORKER_ERRORS) == errors


async def test_lost_acknowledgement(temporal: Temporal, plain: Client, metrics: Metrics, queue: str) -> None:
    """An end whose acknowledgement is lost is not counted, rather than counted twice; the next end counts."""
    proxy = Proxy(temporal.address)
    client = await Client.connect(
        await proxy.start(), namespace=NAMESPACE, runtime=metrics.runtime, plugins=[SLOPlugin()]
    )
    drive = Drive(plain, queue)
    cases.ON_LAST_TASK.append(proxy.drop)

    async def closed() -> bool:
        return bool((await handle.describe()).close_time)

    try:
        async with case_worker(client, queue, workflows=[cases.Unacknowledged, cases.Returns]):
            handle = await drive.start(cases.Unacknowledged)
            await until(closed, deadline=30, what="the close")
            assert proxy.dropping, "no response was dropped: the test proves nothing"
            proxy.close_connections()
            # The server may dispatch the task to a poller whose connection was just closed, and wait for its timeout.
            await (await drive.start(cases.Returns, task_timeout=cases.SECOND)).result()
    finally:
        cases.ON_LAST_TASK.clear()
        await proxy.stop()
    assert metrics.closed(queue) == {("Returns", "completed"): 1}


async def test_activities_seen_in_part(connect: Connect, metrics: Metrics, queue: str) -> None:
    """An activity that never started has only an end; one that the workflow does not await has only an attempt."""
    client = await connect(SLOPlugin())
    drive = Drive(client, queue)
    workflows = [cases.NoSuchActivity, cases.BadArgument, cases.ActivityCancelsItself, cases.FiresAndForgets]
    worker = Worker(
        client, task_queue=queue, workflows=workflows, activities=[cases.echo, cases.cancels_itself, cases.outlives]
    )
    cases.CALLS.pop("released", None)
    async with worker:
        for case in workflows:
            handle = await drive.start(case)
        await until(lambda: _is_called(handle), deadline=30, what="the activity")
        await handle.signal("poke")
        await drive.wait()
        cases.calls("released")
        await until(lambda: _has_attempts(metrics, queue, 2), deadline=30, what="the end of the attempt")
    assert metrics.counts(names.ACTIVITY_ATTEMPTS, queue) == {
        ("ActivityCancelsItself", "cancels_itself", "failed", "CancelledError"): 1,
        ("FiresAndForgets", "outlives", "completed", "none"): 1,
    }
    assert metrics.counts(names.ACTIVITY_ENDS, queue) == {
        ("NoSuchActivity", "nobody", "failed", "NotFoundError"): 1,
        ("BadArgument", "echo", "failed", "TypeError"): 1,
        ("ActivityCancelsItself", "cancels_itself", "failed", "CancelledError"): 1,
    }
    assert metrics.closed(queue)["FiresAndForgets", "completed"] == 1


async def _is_called(handle: Handle) -> bool:
    return handle.first_execution_run_id in cases.CALLS


async def _has_attempts(metrics: Metrics, queue: str, count: int) -> bool:
    return sum(metrics.counts(names.ACTIVITY_ATTEMPTS, queue).values()) >= count


async def test_rejected_update(connect: Connect, metrics: Metrics, queue: str) -> None:
    """An update that its validator rejects is no end, no task failure and no error."""
    client = await connect(SLOPlugin())
    drive = Drive(client, queue)
    errors = metrics.counts(names.WORKER_ERRORS)
    async with case_worker(client, queue, workflows=[cases.RejectsUpdates]):
        handle = await drive.start(cases.RejectsUpdates)
        with pytest.raises(WorkflowUpdateFailedError):
            await handle.execute_update("change", -1)
        await handle.execute_update("change", 1)
        await drive.wait()
    assert metrics.closed(queue) == {("RejectsUpdates", "completed"): 1}
    assert metrics.counts(names.WORKFLOW_TASK_FAILURES, queue) == {}
    assert metrics.counts(names.WORKER_ERRORS) == errors


async def test_cron_latency_excludes_the_wait(connect: Connect, metrics: Metrics, queue: str) -> None:
    """Each cron run counts, and its latency excludes the wait for its scheduled time."""
    client = await connect(SLOPlugin())
    drive = Drive(client, queue)
    async with case_worker(client, queue, workflows=[cases.Returns]):
        handle = await drive.start(cases.Returns, cron_schedule="@every 2s")

        async def twice() -> bool:
            return metrics.closed(queue)["Returns", "completed"] >= 2

        await until(twice, deadline=60, what="two runs of the schedule")
        await handle.terminate()
    waits = [value for _, value in metrics.seconds(names.WORKFLOW_LATENCY, queue)]
    assert len(waits) >= 2
    assert max(waits) < 1, "the latency includes the two seconds of the schedule"


async def test_start_delay_is_excluded(connect: Connect, metrics: Metrics, queue: str) -> None:
    """The latency of a workflow with a start delay excludes the delay, as the server's execution time does."""
    client = await connect(SLOPlugin())
    drive = Drive(client, queue)
    async with case_worker(client, queue, workflows=[cases.Returns]):
        delayed = await drive.start(cases.Returns, start_delay=timedelta(seconds=2))
        await drive.wait()
        row = await delayed.describe()
    assert row.execution_time
    assert row.execution_time - row.start_time == timedelta(seconds=2)
    ((_, latency),) = metrics.seconds(names.WORKFLOW_LATENCY, queue)
    assert 0 < latency < 1
