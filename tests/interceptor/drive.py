"""Starts, signals and awaits the workflows of `cases`."""

import asyncio
import uuid
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from temporalio.client import (
    Client,
    WorkflowContinuedAsNewError,
    WorkflowExecutionStatus,
    WorkflowFailureError,
    WorkflowHandle,
)
from temporalio.worker import Worker

from temporal_slo.servers.process import until

from . import cases

Handle = WorkflowHandle[Any, Any]
WORKFLOWS = [value for value in vars(cases).values() if hasattr(value, "__temporal_workflow_definition")]


def case_worker(client: Client, task_queue: str, **options: Any) -> Worker:  # noqa: ANN401 the SDK's options
    """Return a worker with the workflows of `cases`, or those of the option `workflows`."""
    options = {"workflows": WORKFLOWS, **options}
    return Worker(client, task_queue=task_queue, activities=cases.ACTIVITIES, **options)


@dataclass
class Drive:
    """Starts workflows on one task queue and waits for them."""

    client: Client
    task_queue: str
    handles: list[Handle] = field(default_factory=list)

    async def start(self, workflow: Any, *args: Any, **options: Any) -> Handle:  # noqa: ANN401 any workflow
        """Start a workflow."""
        handle: Handle = await self.client.start_workflow(
            workflow.run, args=args, id=f"w-{uuid.uuid4().hex}", task_queue=self.task_queue, **options
        )
        self.handles.append(handle)
        return handle

    async def wait(self, *, follow_runs: bool = True) -> None:
        """Wait until all have closed, with any status; without *follow_runs* only the first run of each.

        The server delays a run that follows a continue-as-new by a second.
        """

        async def one(handle: Handle) -> None:
            with suppress(WorkflowFailureError, WorkflowContinuedAsNewError):
                await handle.result(follow_runs=follow_runs)

        async with asyncio.timeout(60):
            await asyncio.gather(*map(one, self.handles))

    async def has(self, handle: Handle, event: str, count: int = 1) -> None:
        """Wait until the history of a workflow has *count* events of a kind."""

        async def seen() -> bool:
            events = (await handle.fetch_history()).events
            return sum(e.HasField(f"{event}_event_attributes") for e in events) >= count  # type: ignore[arg-type]

        await until(seen, deadline=30, what=f"{event} of {handle.id}")

    async def rows(self, closed: int) -> Counter[tuple[str, str]]:
        """Wait until visibility has *closed* closed runs; return them by workflow type and status."""

        async def listed() -> Counter[tuple[str, str]] | None:
            query = f"TaskQueue='{self.task_queue}'"
            rows = [row async for row in self.client.list_workflows(query)]
            running = WorkflowExecutionStatus.RUNNING
            found = Counter(
                (row.workflow_type, row.status.name.lower()) for row in rows if row.status and row.status != running
            )
            return found if found.total() >= closed else None

        return await until(listed, deadline=30, what=f"{closed} closed runs")
