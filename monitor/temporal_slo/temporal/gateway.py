"""The one way by which requests reach Temporal: rate-limited, timed out, counted, logged, with translated errors."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, nullcontext
from functools import partial
from typing import Final

from google.protobuf.message import DecodeError
from temporalio.api.errordetails.v1 import NotFoundFailure
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from temporal_slo.errors import TemporalRequestError, UnreadableResponseError
from temporal_slo.names.values import UNDECODABLE
from temporal_slo.temporal.page_size import PageSize, unreadable_reason
from temporal_slo.temporal.rate_limit import RateLimiter
from temporal_slo.temporal.request_log import LoggedRequest, RequestLog
from temporal_slo.temporal.rpc import RequestT, ResponseT, Rpc
from temporal_slo.temporal.unreadable_rows import UnreadableRows

OVERALL_TIMEOUT: Final = 35.0
"""Seconds for a request and its connection: the SDK's timeout does not include the time to connect."""

SDK_TIMEOUT_MESSAGE: Final = "Timeout expired"

UNSENT_MESSAGE: Final = "operation was canceled"
"""Error message of the SDK for a request that it did not send, because the server was closing the connection."""

RequestCounts = Counter[tuple[str, str]]
"""Requests so far, by API and gRPC code of the response."""

Send = Callable[[RequestT], Awaitable[ResponseT]]
"""Sends a message and returns the response."""


class Gateway:
    """Sends the requests about one Temporal namespace.

    Failed requests are not retried here, only those that were never sent: callers retry at their own interval.

    Args:
        client: May be lazy: the first request then connects. Each request uses its connection of that moment.
        namespace: Temporal namespace.
        log: Gets the requests that have a description and are not bulk; None for no log.
        timeout: Seconds for a request and its connection.

    Attributes:
        namespace: Temporal namespace.
        requests: Requests so far, by API and gRPC code of the response.
        page_sizes: Limit of the rows of a page, by API.
        unreadable_rows: Rows of visibility that could not be received.
    """

    def __init__(
        self, client: Client, namespace: str, log: RequestLog | None = None, *, timeout: float = OVERALL_TIMEOUT
    ) -> None:
        self._client = client
        self._log = log
        self._timeout = timeout
        self.namespace = namespace
        self.requests = RequestCounts()
        self.unreadable_rows = UnreadableRows(namespace)
        self.page_sizes: defaultdict[str, PageSize] = defaultdict(PageSize)

    async def call(
        self,
        rpc: Rpc[RequestT, ResponseT],
        request: RequestT,
        *,
        limiter: RateLimiter | None,
        bulk: bool = False,
        about: str = "",
        description: str = "",
    ) -> ResponseT:
        """Send *request* and return the response.

        Args:
            rpc: The call.
            request: Its message.
            limiter: Rate limiter that the request waits for; None for no limit.
            bulk: Whether the request yields to all others of the limiter: for catching up.
            about: Prefix of error messages.
            description: The request as text, for the request log; empty to leave it out.

        Raises:
            TemporalRequestError: The request failed.
        """
        async with self.request(rpc, limiter=limiter, bulk=bulk, about=about, description=description) as send:
            return await send(request)

    @asynccontextmanager
    async def request(
        self,
        rpc: Rpc[RequestT, ResponseT],
        *,
        limiter: RateLimiter | None,
        bulk: bool = False,
        about: str = "",
        description: str = "",
    ) -> AsyncIterator[Send[RequestT, ResponseT]]:
        """Wait for the rate limiter and yield a function that sends a message; its arguments are those of `call`.

        For calls with an error that is an answer: the body may handle the SDK's RPCError. All that it sends is counted
        and logged as one request, with the code OK unless an error leaves the body.

        Raises:
            TemporalRequestError: The request failed, and the body did not handle it.
        """
        log = self._log if description and not bulk else None
        async with limiter.slot(bulk=bulk) if limiter else nullcontext():
            with (
                self._counted(rpc.name),
                log.record(description) if log else nullcontext() as entry,
                _translated(about),
            ):
                yield lambda message: self._send(rpc, message, entry)

    async def page(
        self,
        rpc: Rpc[RequestT, ResponseT],
        rows: int,
        read: Callable[[Send[RequestT, ResponseT], int], Awaitable[ResponseT]],
        *,
        limiter: RateLimiter | None,
        bulk: bool = False,
        description: Callable[[int], str] = lambda _: "",
    ) -> ResponseT:
        """Return a page of at most *rows* rows: of fewer, if larger ones could not be received.

        Page tokens are valid for pages of every size: a server makes them of the last row.

        Args:
            rpc: The call.
            rows: Maximum rows.
            read: Sends the request for a number of rows and returns the page.
            limiter: As for `call`; each attempt waits for it.
            bulk: As for `call`.
            description: Returns the request for a number of rows as text, as for `call`.

        Raises:
            UnreadableResponseError: Not even one row can be received.
            TemporalRequestError: The request failed.
        """
        sizes = self.page_sizes[rpc.name]
        while True:
            limited = min(rows, sizes.limit)
            try:
                async with self.request(rpc, limiter=limiter, bulk=bulk, description=description(limited)) as send:
                    response = await read(send, limited)
            except TemporalRequestError as error:
                if not sizes.failed(limited, error):
                    raise
            else:
                sizes.received(limited)
                return response

    async def _send(self, rpc: Rpc[RequestT, ResponseT], message: RequestT, entry: LoggedRequest | None) -> ResponseT:
        try:
            async with asyncio.timeout(self._timeout):
                response = await self._respond(rpc, message)
        except TimeoutError as error:
            silent = f"no response within {self._timeout:g} s"
            raise RPCError(silent, RPCStatusCode.DEADLINE_EXCEEDED, b"") from error
        except RuntimeError as error:
            # The SDK raises it when it cannot connect. Of other code such an error is a bug, and no answer of Temporal.
            raise RPCError(str(error), RPCStatusCode.UNAVAILABLE, b"") from error
        if entry and rpc.rows:
            entry.rows = rpc.rows(response)
        return response

    async def _respond(self, rpc: Rpc[RequestT, ResponseT], message: RequestT) -> ResponseT:
        method = getattr(self._client.workflow_service, rpc.method)
        send = partial(method, message, metadata=rpc.metadata, timeout=rpc.timeout)
        try:
            response: ResponseT = await send()
        except RPCError as error:
            if error.message != UNSENT_MESSAGE:
                raise
            # Temporal closes a connection after some minutes. While another request of the connection is in progress,
            # the SDK does not open a new connection before it has failed a request.
            response = await send()
        return response

    @contextmanager
    def _counted(self, api: str) -> Iterator[None]:
        try:
            yield
        except TemporalRequestError as error:
            self.requests[api, error.code] += 1
            raise
        self.requests[api, RPCStatusCode.OK.name] += 1


@contextmanager
def _translated(about: str) -> Iterator[None]:
    """Raise what the SDK raises as TemporalRequestError."""
    try:
        yield
    except RPCError as error:
        # The SDK's own timeout has the code CANCELLED, which would hide that the server may be overloaded.
        timed_out = error.message == SDK_TIMEOUT_MESSAGE
        status = RPCStatusCode.DEADLINE_EXCEEDED if timed_out else error.status
        if reason := unreadable_reason(status, error.message):
            raise UnreadableResponseError(status.name, about + error.message, reason) from error
        raise TemporalRequestError(status.name, about + error.message) from error
    except DecodeError as error:
        raise UnreadableResponseError(RPCStatusCode.INTERNAL.name, f"{about}{error}", UNDECODABLE) from error


def is_not_found(error: RPCError) -> bool:
    """Return whether *error* says that the one workflow or schedule of the request does not exist."""
    # A namespace that does not exist has the same code and other details; a proxy may send NOT_FOUND without details.
    return error.status is RPCStatusCode.NOT_FOUND and any(
        detail.Is(NotFoundFailure.DESCRIPTOR) for detail in error.grpc_status.details
    )
