"""Visibility: the protocol, and the adapter for a Temporal server."""

import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, NamedTuple, Protocol

from temporalio.api.workflowservice.v1 import (
    CountWorkflowExecutionsRequest,
    GetClusterInfoRequest,
    ListWorkflowExecutionsRequest,
    ListWorkflowExecutionsResponse,
)
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from temporal_slo.errors import TemporalRequestError, UnreadableResponseError
from temporal_slo.runs.microseconds import SECOND
from temporal_slo.runs.run import STATUS_NAMES, Run
from temporal_slo.temporal.gateway import Gateway
from temporal_slo.temporal.page_size import LARGEST
from temporal_slo.temporal.rate_limit import OVERLOAD_CODES, RateLimiter
from temporal_slo.temporal.rows import run_of
from temporal_slo.temporal.rpc import COUNT_WORKFLOWS, GET_CLUSTER_INFO, LIST_WORKFLOWS
from temporal_slo.temporal.unreadable_rows import time_of_first

PAGE_SIZE_MAX: Final = LARGEST
"""The largest page that a server returns, whatever larger size is requested."""

POSTGRES: Final = "postgres"
"""How the names of PostgreSQL's drivers begin."""

# Filtered by status only: on SQL stores a filter by CloseTime scans the table.
CLOSED_QUERY: Final = f"ExecutionStatus IN {tuple(STATUS_NAMES)}"
RUNNING_QUERY: Final = "ExecutionStatus = 'Running'"
OPEN_QUERY: Final = "ExecutionStatus IN ('Running', 'Paused')"

Send = Callable[[ListWorkflowExecutionsRequest], Awaitable[ListWorkflowExecutionsResponse]]


class _Listing(NamedTuple):
    """A list of runs: what a request without size and token says.

    Attributes:
        query: Filter of the runs.
        column: Name of the time that the list is sorted by.
        kind: The runs, as text.
        suffix: Appended to the description of a request.
    """

    query: str
    column: str
    kind: str
    suffix: str = ""

    def until(self, moment: int) -> "_Listing":
        """Return the list without its runs later than *moment*."""
        return self._replace(query=f"{self.query} AND {self.column} <= '{_timestamp(moment)}'")

    def running_only(self) -> "_Listing":
        """Return the list without paused runs."""
        return self._replace(query=self.query.replace(OPEN_QUERY, RUNNING_QUERY))

    def after(self, moment: int) -> "_Listing":
        """Return the list without its runs until *moment*."""
        return self._replace(query=f"{self.query} AND {self.column} > '{_timestamp(moment)}'")


class _ReadableRowError(Exception):
    """The row that could not be received can be, or there is another one in its place: the list has changed.

    Args:
        page: The page with that row.
    """

    def __init__(self, page: ListWorkflowExecutionsResponse) -> None:
        super().__init__("the list has changed")
        self.page = page


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
        listing = _Listing(query, "CloseTime", kind)
        if until is not None:
            # The filter costs a scan: it is for catching up only.
            listing = listing.until(until)._replace(suffix=f", closed until {_moment(until)}")
        return _runs(await self._list(listing, size, token))

    async def running(self, size: int, token: bytes = b"", *, paused: bool = False) -> Page:
        """Return running runs, and paused ones on request, newest start first."""
        # Two statuses in one query cost a scan on SQL stores.
        query = self._open_query if paused else RUNNING_QUERY
        kind = "running and paused runs" if paused else "running runs"
        return _runs(await self._list(_Listing(query, "StartTime", kind), size, token))

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

    async def _list(self, listing: _Listing, size: int, token: bytes) -> ListWorkflowExecutionsResponse:
        """Return a page of at most *size* rows, without those that cannot be received."""
        while True:
            try:
                return await self._request_page(listing, size, token)
            except UnreadableResponseError as error:
                try:
                    listing = await self._below(listing, token, error)
                except _ReadableRowError as changed:
                    if not changed.page.next_page_token:
                        # The rows behind it could not be requested.
                        raise error from None
                    return changed.page

    async def _request_page(self, listing: _Listing, size: int, token: bytes) -> ListWorkflowExecutionsResponse:
        return await self._gateway.page(
            LIST_WORKFLOWS,
            size,
            lambda send, rows: self._read(send, listing, rows, token),
            limiter=self._limiter,
            bulk=self._bulk,
            description=lambda rows: f"{listing.kind}, {_page(rows, token)}{listing.suffix}",
        )

    async def _read(self, send: Send, listing: _Listing, rows: int, token: bytes) -> ListWorkflowExecutionsResponse:
        request = ListWorkflowExecutionsRequest(
            namespace=self._gateway.namespace, query=listing.query, page_size=rows, next_page_token=token
        )
        try:
            return await send(request)
        except RPCError as error:
            if error.status is not RPCStatusCode.INVALID_ARGUMENT or not request.query.startswith(OPEN_QUERY):
                raise
            # A server without paused runs rejects the status.
            self._open_query = RUNNING_QUERY
            return await self._read(send, listing.running_only(), rows, token)

    async def _below(self, listing: _Listing, token: bytes, error: UnreadableResponseError) -> _Listing:
        """Return the list below its first row after *token*, which cannot be received; count that row.

        Raises:
            UnreadableResponseError: The row is not found.
            _ReadableRowError: It can be received.
        """

        async def is_empty(moment: int) -> bool:
            try:
                page = await self._first_after(listing, token, moment)
            except UnreadableResponseError:
                return False
            if page.executions:
                raise _ReadableRowError(page)
            return True

        rows = self._gateway.unreadable_rows
        found = await time_of_first(is_empty, int(time.time() * SECOND), rows.times(listing.column))
        if found is None:
            raise error
        rows.add(error.reason, listing.column, found, await self._count(listing.until(found).after(found - 1)))
        return listing.until(found - 1)

    async def _first_after(self, listing: _Listing, token: bytes, moment: int) -> ListWorkflowExecutionsResponse:
        """Request the first row after *token*, if it is later than *moment*."""
        description = f"{listing.kind}, search for a row that cannot be received, after {_moment(moment)}"
        async with self._gateway.request(
            LIST_WORKFLOWS, limiter=self._limiter, bulk=self._bulk, description=description
        ) as send:
            return await self._read(send, listing.after(moment), 1, token)

    async def _count(self, listing: _Listing) -> int:
        request = CountWorkflowExecutionsRequest(namespace=self._gateway.namespace, query=listing.query)
        return (await self._gateway.call(COUNT_WORKFLOWS, request, limiter=self._limiter, bulk=self._bulk)).count


async def count_closed(client: Client, workflow_type: str | None = None) -> Counter[str]:
    """Return the server's count of closed runs by status; it costs a scan, and retention lowers it.

    Args:
        client: Client of the namespace.
        workflow_type: Count only runs of this type; None to count all.
    """
    of_type = f" AND WorkflowType = '{workflow_type}'" if workflow_type else ""
    count = await client.count_workflows(f"{CLOSED_QUERY}{of_type} GROUP BY ExecutionStatus")
    return Counter({STATUS_NAMES[str(group.group_values[0])]: group.count for group in count.groups})


def _runs(page: ListWorkflowExecutionsResponse) -> Page:
    return Page(tuple(map(run_of, page.executions)), page.next_page_token)


def _timestamp(moment: int) -> str:
    seconds, microseconds = divmod(moment, 1_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{microseconds:06}Z"


def _page(size: int, token: bytes) -> str:
    return f"{'a further' if token else 'the first'} page of {size}"


def _moment(microseconds: int) -> str:
    return datetime.fromtimestamp(microseconds / SECOND, UTC).isoformat(timespec="milliseconds")
