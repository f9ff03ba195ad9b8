"""Visibility: the protocol, and the adapter for a Temporal server."""

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Protocol

from temporalio.api.enums.v1 import WorkflowExecutionStatus
from temporalio.api.workflow.v1 import WorkflowExecutionInfo
from temporalio.api.workflowservice.v1 import (
    CountWorkflowExecutionsRequest,
    GetClusterInfoRequest,
    ListWorkflowExecutionsRequest,
    ListWorkflowExecutionsResponse,
)
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from temporal_slo.errors import TemporalRequestError
from temporal_slo.names.values import (
    CANCELED,
    COMPLETED,
    CONTINUED_AS_NEW,
    FAILED,
    PAUSED,
    RUNNING,
    TERMINATED,
    TIMED_OUT,
)
from temporal_slo.runs.microseconds import SECOND
from temporal_slo.runs.run import STATUS_NAMES, Run
from temporal_slo.temporal.gateway import Gateway
from temporal_slo.temporal.rate_limit import OVERLOAD_CODES, RateLimiter
from temporal_slo.temporal.rpc import COUNT_WORKFLOWS, GET_CLUSTER_INFO, LIST_WORKFLOWS

PAGE_SIZE_MAX: Final = 1000
"""The largest page that a server returns, whatever larger size is requested."""

POSTGRES: Final = "postgres"
"""How the names of PostgreSQL's drivers begin."""

NUL_SIGN: Final = "\u2400"
"""Replaces the NUL character, which Temporal accepts in every name and PostgreSQL in none."""

# Statuses by number: the SDK's enum lacks those of newer servers and raises on them.
CLOSED_STATUSES: Final[Mapping[int, str]] = {
    WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_COMPLETED: COMPLETED,
    WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_FAILED: FAILED,
    WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_CANCELED: CANCELED,
    WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_TERMINATED: TERMINATED,
    WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_CONTINUED_AS_NEW: CONTINUED_AS_NEW,
    WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_TIMED_OUT: TIMED_OUT,
}
# A number, because older SDKs have no name for it.
STATUSES: Final[Mapping[int, str]] = {
    WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_RUNNING: RUNNING,
    8: PAUSED,
    **CLOSED_STATUSES,
}


# Filtered by status only: on SQL stores a filter by CloseTime scans the table.
CLOSED_QUERY: Final = f"ExecutionStatus IN {tuple(STATUS_NAMES)}"
RUNNING_QUERY: Final = "ExecutionStatus = 'Running'"
OPEN_QUERY: Final = "ExecutionStatus IN ('Running', 'Paused')"

Send = Callable[[ListWorkflowExecutionsRequest], Awaitable[ListWorkflowExecutionsResponse]]


@dataclass(frozen=True, slots=True)
class Page:
    """Rows in the order of visibility, and the token of the next page; empty if there is none."""

    rows: tuple[Run, ...]
    next_token: bytes = b""


class Visibility(Protocol):
    """The runs of one Temporal namespace, as its visibility store lists them.

    Lists return a page of at most *size* rows, the first one if *token* is empty. All raise TemporalRequestError if
    the request fails.
    """

    async def closed(self, size: int, token: bytes = b"", until: int | None = None) -> Page:
        """Return closed runs, newest close first.

        Args:
            size: Maximum rows.
            token: Of the page.
            until: Latest close time of the rows, in microseconds of Unix time; None for all.
        """
        ...

    async def running(self, size: int, token: bytes = b"", *, paused: bool = False) -> Page:
        """Return running runs, and paused ones on request, newest start first."""
        ...

    async def count(self, since: int, until: int) -> int:
        """Return the number of runs closed from *since* until before *until*, in microseconds of Unix time."""
        ...


class TemporalVisibility:
    """Visibility of a Temporal server.

    Requests raw rows: the SDK's own list raises on statuses that it does not know.

    Args:
        gateway: Sends the requests, and logs them unless they are bulk.
        limiter: Rate limiter of the requests; None for no limit.
        bulk: Whether they yield to all others of the limiter.
    """

    def __init__(self, gateway: Gateway, limiter: RateLimiter | None, *, bulk: bool = False) -> None:
        self._gateway = gateway
        self._limiter = limiter
        self._bulk = bulk
        self._open_query = OPEN_QUERY
        self._passes_open_runs: bool | None = None

    async def closed(self, size: int, token: bytes = b"", until: int | None = None) -> Page:
        """Return closed runs, newest close first."""
        return await self._closed(CLOSED_QUERY, "closed runs", size, token, until)

    async def closed_with(self, status: str, size: int, token: bytes = b"", until: int | None = None) -> Page:
        """Return closed runs of one status, newest close first."""
        kind = f"{STATUS_NAMES[status].replace('_', ' ')} runs"
        return await self._closed(f"ExecutionStatus = '{status}'", kind, size, token, until)

    async def _closed(self, query: str, kind: str, size: int, token: bytes, until: int | None) -> Page:
        older = ""
        if until is not None:
            # The filter costs a scan: it is for catching up only.
            query += f" AND CloseTime <= '{_timestamp(until)}'"
            older = f", closed until {_moment(until)}"
        async with self._list(f"{kind}, {_page(size, token)}{older}") as send:
            page = await send(self._list_request(query, size, token))
        return _runs(page)

    async def running(self, size: int, token: bytes = b"", *, paused: bool = False) -> Page:
        """Return running runs, and paused ones on request, newest start first."""
        # Two statuses in one query cost a scan on SQL stores.
        query = self._open_query if paused else RUNNING_QUERY
        kind = "running and paused runs" if paused else "running runs"
        async with self._list(f"{kind}, {_page(size, token)}") as send:
            try:
                page = await send(self._list_request(query, size, token))
            except RPCError as error:
                if error.status is not RPCStatusCode.INVALID_ARGUMENT or query == RUNNING_QUERY:
                    raise
                # A server without paused runs rejects the status.
                self._open_query = RUNNING_QUERY
                page = await send(self._list_request(RUNNING_QUERY, size, token))
        return _runs(page)

    async def count(self, since: int, until: int) -> int:
        """Return the number of runs closed from *since* until before *until*."""
        closed = f"CloseTime >= '{_timestamp(since)}' AND CloseTime < '{_timestamp(until)}'"
        request = CountWorkflowExecutionsRequest(
            namespace=self._gateway.namespace, query=f"{CLOSED_QUERY} AND {closed}"
        )
        response = await self._gateway.call(
            COUNT_WORKFLOWS,
            request,
            limiter=self._limiter,
            bulk=self._bulk,
            description=f"number of runs closed from {_moment(since)} until {_moment(until)}",
        )
        return response.count

    async def passes_open_runs(self) -> bool:
        """Return whether the store reads all open runs before the closed ones in a list of several statuses."""
        if self._passes_open_runs is None:
            self._passes_open_runs = (await self._store()).startswith(POSTGRES)
        return self._passes_open_runs

    async def _store(self) -> str:
        """Return the name of the server's visibility store; empty if the server does not report it."""
        try:
            about = await self._gateway.call(GET_CLUSTER_INFO, GetClusterInfoRequest(), limiter=self._limiter)
        except TemporalRequestError as error:
            if error.code in OVERLOAD_CODES:
                raise
            return ""
        return about.visibility_store

    def _list(self, description: str) -> AbstractAsyncContextManager[Send]:
        return self._gateway.request(LIST_WORKFLOWS, limiter=self._limiter, bulk=self._bulk, description=description)

    def _list_request(self, query: str, size: int, token: bytes) -> ListWorkflowExecutionsRequest:
        return ListWorkflowExecutionsRequest(
            namespace=self._gateway.namespace, query=query, page_size=size, next_page_token=token
        )


async def count_closed(client: Client, workflow_type: str | None = None) -> Counter[str]:
    """Return the server's count of closed runs by status; it costs a scan, and retention lowers it.

    Args:
        client: Client of the namespace.
        workflow_type: Count only runs of this type; None to count all.
    """
    of_type = f" AND WorkflowType = '{workflow_type}'" if workflow_type else ""
    count = await client.count_workflows(f"{CLOSED_QUERY}{of_type} GROUP BY ExecutionStatus")
    return Counter({STATUS_NAMES[str(group.group_values[0])]: group.count for group in count.groups})


def storable(name: str) -> str:
    """Return *name* as every ledger can store it, and as it is used everywhere else."""
    return name.replace("\0", NUL_SIGN)


def _runs(page: ListWorkflowExecutionsResponse) -> Page:
    return Page(tuple(map(_run, page.executions)), page.next_page_token)


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


def _page(size: int, token: bytes) -> str:
    return f"{'a further' if token else 'the first'} page of {size}"


def _moment(microseconds: int) -> str:
    return datetime.fromtimestamp(microseconds / SECOND, UTC).isoformat(timespec="milliseconds")
