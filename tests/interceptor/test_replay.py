"""Histories with and without the plugin replay alike, so it can be added and removed."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from temporalio.client import Client, WorkflowHistory
from temporalio.worker import Replayer

from temporal_slo import names
from temporal_slo.interceptor import SLOPlugin

from . import cases
from .conftest import Connect
from .drive import Drive, Handle, case_worker
from .metrics import Metrics

RECORDED = [
    *(cases.Returns, cases.AppError, cases.ActivityFails, cases.LocalActivity, cases.HandlesChild, cases.Child),
    *(cases.Continues, cases.Steps),
]


async def record(client: Client, task_queue: str) -> list[WorkflowHistory]:
    """Return the histories of closed, failed, continued, open and parent workflows."""
    drive = Drive(client, task_queue)
    async with case_worker(client, task_queue, workflows=RECORDED):
        for case in (cases.Returns, cases.AppError, cases.ActivityFails, cases.LocalActivity, cases.HandlesChild):
            await drive.start(case)
        continued = await drive.start(cases.Continues, 1)
        first = client.get_workflow_handle(continued.id, run_id=continued.first_execution_run_id)
        await drive.wait()
        waiting = await drive.start(cases.Steps)
        # Otherwise the signal may arrive before or after the first task, and the histories would differ.
        await drive.has(waiting, "workflow_task_completed")
        await waiting.signal("step")
        await drive.has(waiting, "activity_task_completed")
        await drive.has(waiting, "workflow_task_completed", 3)
    return [await handle.fetch_history() for handle in (*drive.handles, first)]


def events(history: WorkflowHistory) -> list[str | None]:
    """Return the kinds of the events."""
    return [event.WhichOneof("attributes") for event in history.events]


async def test_histories_replay_with_and_without(connect: Connect, plain: Client, metrics: Metrics, queue: str) -> None:
    """The plugin adds no events; histories with it replay without it and vice versa; replays count nothing."""
    without, with_ = await asyncio.gather(
        record(plain, f"{queue}-without"), record(await connect(SLOPlugin()), f"{queue}-with")
    )
    assert list(map(events, with_)) == list(map(events, without))
    counted = metrics.ends(f"{queue}-with")
    await Replayer(workflows=RECORDED).replay_workflows(each(with_))
    replayer = Replayer(workflows=RECORDED, plugins=[SLOPlugin()], runtime=metrics.runtime)
    await replayer.replay_workflows(each([*without, *with_]))
    assert metrics.ends(f"{queue}-with") == counted
    assert not any(labels[1] == "ReplayNamespace" for labels in metrics.counts(names.WORKFLOW_ENDS))


async def each(histories: list[WorkflowHistory]) -> AsyncIterator[WorkflowHistory]:
    """Yield histories as an async iterator."""
    for history in histories:
        yield history


@pytest.mark.parametrize("first", ["plugin added", "plugin removed"])
async def test_added_and_removed_while_workflows_run(
    connect: Connect, plain: Client, metrics: Metrics, queue: str, first: str
) -> None:
    """A workflow that started without the plugin continues with it, and vice versa."""
    clients: list[Client] = [plain, await connect(SLOPlugin())]
    before, after = clients if first == "plugin added" else clients[::-1]
    drive = Drive(before, queue)
    async with case_worker(before, queue, workflows=[cases.Steps]):
        handle = await drive.start(cases.Steps)
        await step(drive, handle)
    async with case_worker(after, queue, workflows=[cases.Steps]):
        await handle.signal("step")
        await drive.wait()
    assert await handle.result() == 3
    assert "workflow_task_failed_event_attributes" not in events(await handle.fetch_history())
    ends: Any = {("Steps", "no", "completed", "none", "none"): 1} if first == "plugin added" else {}
    assert metrics.ends(queue) == ends


async def step(drive: Drive, handle: Handle) -> None:
    """Run a workflow's first step."""
    await handle.signal("step")
    await drive.has(handle, "activity_task_completed")
    await drive.has(handle, "workflow_task_completed", 2)
