"""Final workflow tasks that are executed again, and replays with caches of several sizes."""

import asyncio
from datetime import timedelta

import pytest

from temporal_slo import names
from temporal_slo.interceptor import SLOInterceptor, SLOPlugin
from temporal_slo.servers.process import until

from . import cases
from .conftest import Connect
from .drive import Drive, Handle, case_worker
from .metrics import Metrics

TASK_TIMEOUT = timedelta(seconds=1)
REEXECUTED = [cases.Superseded, cases.Bug, cases.Unserializable, cases.TooLarge, cases.TaskTimesOut]
REPLAYED = [cases.Continues, cases.ActivityFails, cases.Waits]


async def signal_last_task(handle: Handle) -> None:
    """Signal a workflow while its last task is running."""

    async def is_running() -> bool:
        return bool(cases.CALLS.get(handle.id))

    await until(is_running, deadline=20, what="the last task")
    await handle.signal("poke")


async def run_all(drive: Drive) -> None:
    """Run one workflow of each kind whose final task is executed again."""
    superseded = await drive.start(cases.Superseded)
    await signal_last_task(superseded)
    for case in (cases.Bug, cases.Unserializable, cases.TooLarge):
        await drive.start(case)
    await drive.start(cases.TaskTimesOut, task_timeout=TASK_TIMEOUT)
    await drive.wait()


async def test_final_task_executed_again_counts_once(connect: Connect, metrics: Metrics, queue: str) -> None:
    """A final task that fails, times out, is superseded or is rejected counts once, as does its activity."""
    client = await connect(SLOPlugin())
    drive = Drive(client, queue)
    async with case_worker(client, queue, workflows=REEXECUTED):
        await run_all(drive)
    again = [handle for handle in drive.handles if await _tasks_lost(handle)]
    assert len(again) == 5, "no task was executed again: the test proves nothing"
    assert metrics.closed(queue) == {
        (type_, "completed"): 1 for type_ in ("Superseded", "Bug", "Unserializable", "TooLarge", "TaskTimesOut")
    }
    assert metrics.counts(names.ACTIVITY_ENDS, queue) == {
        (type_, "echo", "completed", "none"): 1
        for type_ in ("Superseded", "Unserializable", "TooLarge", "TaskTimesOut")
    }


async def _tasks_lost(handle: Handle) -> bool:
    events = (await handle.fetch_history()).events
    lost = ("workflow_task_failed_event_attributes", "workflow_task_timed_out_event_attributes")
    return any(event.WhichOneof("attributes") in lost for event in events)


async def test_interceptor_alone_is_only_replay_safe(connect: Connect, metrics: Metrics, queue: str) -> None:
    """Without the plugin's runner a final task that is executed again is counted again."""
    client = await connect(interceptors=[SLOInterceptor(runtime=metrics.runtime)])
    drive = Drive(client, queue)
    async with case_worker(client, queue, workflows=[cases.Superseded, cases.AppError]):
        await signal_last_task(await drive.start(cases.Superseded))
        await drive.start(cases.AppError)
        await drive.wait()
    assert metrics.closed(queue) == {("Superseded", "completed"): 2, ("AppError", "failed"): 1}


@pytest.mark.parametrize("cache", [0, 1, 2, 1000])
async def test_replays_count_nothing(connect: Connect, metrics: Metrics, queue: str, cache: int) -> None:
    """With every cache size, and with queries of closed workflows, each end counts once."""
    client = await connect(SLOPlugin())
    drive = Drive(client, queue)
    options = {"max_concurrent_workflow_task_polls": 1} if cache == 0 else {}
    async with case_worker(client, queue, workflows=REPLAYED, max_cached_workflows=cache, **options):
        for _ in range(6):
            await drive.start(cases.Continues, 1)
            await drive.start(cases.ActivityFails)
            await _closed_by_cancel(drive)
        await drive.wait()
        waits = [handle for handle in drive.handles if (await handle.describe()).workflow_type == "Waits"]
        assert all(await asyncio.gather(*(handle.query(cases.Waits.alive) for handle in waits)))
    assert metrics.closed(queue) == {
        ("Continues", "continued_as_new"): 6,
        ("Continues", "completed"): 6,
        ("ActivityFails", "failed"): 6,
        ("Waits", "canceled"): 6,
    }
    assert metrics.counts(names.ACTIVITY_ENDS, queue) == {("ActivityFails", "fail", "failed", "CardDeclined"): 6}
    info = ("replay_safe", "no_cache") if cache == 0 else ("exact", "none")
    assert [labels[:2] for labels in metrics.counts(names.WORKER_INFO, queue)] == [info]


async def _closed_by_cancel(drive: Drive) -> None:
    handle = await drive.start(cases.Waits)
    await drive.has(handle, "workflow_task_completed")
    await handle.cancel()
