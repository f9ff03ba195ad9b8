"""Close events of runs: the protocol, and the adapter for a Temporal server."""

from collections.abc import Awaitable, Callable, Iterator
from typing import Protocol

from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import HistoryEventFilterType
from temporalio.api.history.v1 import History as Events
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.workflowservice.v1 import (
    GetWorkflowExecutionHistoryRequest,
    GetWorkflowExecutionHistoryResponse,
)
from temporalio.service import RPCError

from temporal_slo.runs.storable import NUL_SIGN
from temporal_slo.temporal.gateway import Gateway, is_not_found
from temporal_slo.temporal.rate_limit import RateLimiter
from temporal_slo.temporal.rpc import GET_HISTORY

Send = Callable[[GetWorkflowExecutionHistoryRequest], Awaitable[GetWorkflowExecutionHistoryResponse]]


class CloseEvents(Protocol):
    """The close events of the runs in one Temporal namespace."""

    async def close_event(self, workflow_id: str, run_id: str) -> HistoryEvent | None:
        """Return the event that closed a run; None if the run does not exist.

        Not for open runs: servers wait up to 20 seconds for them to close, and then return None too.

        Raises:
            TemporalRequestError: There is no answer.
        """
        ...


class TemporalCloseEvents:
    """Close events from a Temporal server.

    Args:
        gateway: Sends the requests.
        limiter: Rate limiter of the requests; None for no limit.
        bulk: Whether they yield to all others of the limiter.
    """

    def __init__(self, gateway: Gateway, limiter: RateLimiter | None, *, bulk: bool = False) -> None:
        self._gateway = gateway
        self._limiter = limiter
        self._bulk = bulk

    async def close_event(self, workflow_id: str, run_id: str) -> HistoryEvent | None:
        """Return the event that closed a run; None if the run does not exist."""
        async with self._gateway.request(GET_HISTORY, limiter=self._limiter, bulk=self._bulk) as send:
            event = await self._close_event(send, workflow_id, run_id)
            if event or NUL_SIGN not in workflow_id:
                return event
            # It may replace a NUL character, which no ledger can store. Run ids are unique, so this is the same run.
            return await self._close_event(send, workflow_id.replace(NUL_SIGN, "\0"), run_id)

    async def _close_event(self, send: Send, workflow_id: str, run_id: str) -> HistoryEvent | None:
        request = GetWorkflowExecutionHistoryRequest(
            namespace=self._gateway.namespace,
            execution=WorkflowExecution(workflow_id=workflow_id, run_id=run_id),
            history_event_filter_type=HistoryEventFilterType.HISTORY_EVENT_FILTER_TYPE_CLOSE_EVENT,
        )
        try:
            response = await send(request)
        except RPCError as error:
            if is_not_found(error):
                return None
            raise
        return next(_last_first(response), None)


def _last_first(response: GetWorkflowExecutionHistoryResponse) -> Iterator[HistoryEvent]:
    yield from reversed(response.history.events)
    # Servers may be configured to send events in their stored form.
    for blob in reversed(response.raw_history):
        yield from reversed(Events.FromString(blob.data).events)
