"""What the exporter asks of Temporal visibility, and the adapter that asks a real server."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Protocol

from temporalio.api.enums.v1 import WorkflowExecutionStatus
from temporalio.api.workflow.v1 import WorkflowExecutionInfo
from temporalio.api.workflowservice.v1 import CountWorkflowExecutionsRequest, ListWorkflowExecutionsRequest
from temporalio.client import Client

from temporal_slo.errors import TemporalRequestError
from temporal_slo.names.values import PAUSED, RUNNING
from temporal_slo.runs.run import STATUS_NAMES, Run
from temporal_slo.temporal.rpc import REQUEST_TIMEOUT, answered

PAGE_SIZE_MAX: Final = 1000
"""The largest page that a server gives; it answers a larger wish with this, in silence."""

NUL_SIGN: Final = "\u2400"
"""Stands for the character 0, which Temporal takes in every name and PostgreSQL in none."""

LIST_WORKFLOWS: Final = "ListWorkflowExecutions"
COUNT_WORKFLOWS: Final = "CountWorkflowExecutions"

# Statuses by number: the SDK's own enum lacks those of newer servers and would raise on them.
CLOSED_STATUSES: Final[Mapping[int, str]] = {
    WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_COMPLETED: "completed",
    WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_FAILED: "failed",
    WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_CANCELED: "canceled",
    WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_TERMINATED: "terminated",
    WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_CONTINUED_AS_NEW: "continued_as_new",
    WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_TIMED_OUT: "timed_out",
}
# By its number: older SDKs have no name for it.
STATUSES: Final[Mapping[int, str]] = {
    WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_RUNNING: RUNNING,
    8: PAUSED,
    **CLOSED_STATUSES,
}


# Filtered on status only: on SQL stores a filter on CloseTime ends in a scan of the table.
CLOSED_QUERY: Final = f"ExecutionStatus IN {tuple(STATUS_NAMES)}"
RUNNING_QUERY: Final = "ExecutionStatus = 'Running'"
OPEN_QUERY: Final = "ExecutionStatus IN ('Running', 'Paused')"


@dataclass(frozen=True, slots=True)
class Page:
    """Rows in the order of visibility, and the token of the page that follows; empty if none does."""

    rows: tuple[Run, ...]
    next_token: bytes = b""


class Visibility(Protocol):
    """One Temporal namespace's list of runs.

    Lists return a page of at most *size* rows, the first one if *token* is empty. All raise TemporalRequestError if
    the request fails.
    """

    async def closed(self, size: int, token: bytes = b"", until: int | None = None) -> Page:
        """Closed runs, newest close first; only those that closed at *until*, in microseconds, or before."""
        ...

    async def running(self, size: int, token: bytes = b"", *, paused: bool = False) -> Page:
        """Running runs, and paused ones if they are asked for, newest start first."""
        ...

    async def count(self, since: int, until: int) -> int:
        """How many runs closed at *since*, in microseconds, or after, and before *until*."""
        ...


class TemporalVisibility:
    """Visibility of a real server.

    Asks for raw rows: the SDK's own listing raises on statuses that it does not know. Requests are not retried
    here; the poller does that, at its own pace.

    Args:
        client: May be lazy: the connection is then made by the first request.
        namespace: Temporal namespace to list.
    """

    def __init__(self, client: Client, namespace: str) -> None:
        self._service = client.workflow_service
        self._namespace = namespace
        self._open_query = OPEN_QUERY

    async def closed(self, size: int, token: bytes = b"", until: int | None = None) -> Page:
        """Closed runs, newest close first."""
        # The filter costs a scan: it is for catching up alone.
        older = "" if until is None else f" AND CloseTime <= '{_timestamp(until)}'"
        return await self._list(CLOSED_QUERY + older, size, token)

    async def running(self, size: int, token: bytes = b"", *, paused: bool = False) -> Page:
        """Running runs, and paused ones if they are asked for, newest start first."""
        if not paused:
            # Two statuses in one query cost a scan on SQL stores.
            return await self._list(RUNNING_QUERY, size, token)
        try:
            return await self._list(self._open_query, size, token)
        except TemporalRequestError as error:
            if error.code != "INVALID_ARGUMENT" or self._open_query == RUNNING_QUERY:
                raise
            # A server older than pausing: it refuses the status, and none of its runs can have it.
            self._open_query = RUNNING_QUERY
            return await self._list(self._open_query, size, token)

    async def count(self, since: int, until: int) -> int:
        """How many runs closed at *since* or after, and before *until*."""
        closed = f"CloseTime >= '{_timestamp(since)}' AND CloseTime < '{_timestamp(until)}'"
        request = CountWorkflowExecutionsRequest(namespace=self._namespace, query=f"{CLOSED_QUERY} AND {closed}")
        async with answered():
            answer = await self._service.count_workflow_executions(request, timeout=REQUEST_TIMEOUT)
        return answer.count

    async def _list(self, query: str, size: int, token: bytes) -> Page:
        request = ListWorkflowExecutionsRequest(
            namespace=self._namespace, query=query, page_size=size, next_page_token=token
        )
        async with answered():
            answer = await self._service.list_workflow_executions(request, timeout=REQUEST_TIMEOUT)
        return Page(tuple(map(_run, answer.executions)), answer.next_page_token)


async def count_closed(client: Client) -> Counter[str]:
    """Return the server's own count of closed runs by status; it costs a scan, and falls as retention deletes rows."""
    count = await client.count_workflows(f"{CLOSED_QUERY} GROUP BY ExecutionStatus")
    return Counter({STATUS_NAMES[str(group.group_values[0])]: group.count for group in count.groups})


def storable(name: str) -> str:
    """Return *name* as every ledger can keep it, and as memory and labels have it then too."""
    return name.replace("\0", NUL_SIGN)


def _run(row: WorkflowExecutionInfo) -> Run:
    start = row.start_time.ToMicroseconds()
    due = max(start, row.execution_time.ToMicroseconds())
    close = row.close_time.ToMicroseconds()
    return Run(
        run_id=row.execution.run_id,
        workflow_id=storable(row.execution.workflow_id),
        workflow_type=storable(row.type.name),
        task_queue=storable(row.task_queue),
        status=STATUSES.get(row.status),
        start_time=start,
        due_time=due,
        close_time=close,
        duration=_duration(row, due, close),
    )


def _duration(row: WorkflowExecutionInfo, due: int, close: int) -> int:
    if row.HasField("execution_duration"):
        return row.execution_duration.ToMicroseconds()
    return max(close - due, 0)


def _timestamp(moment: int) -> str:
    seconds, microseconds = divmod(moment, 1_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{microseconds:06}Z"
