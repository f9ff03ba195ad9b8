"""Requests for the history of single runs."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from temporalio.api.common.v1 import WorkflowExecution
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


class HistoryRequests:
    """Reads history events from a Temporal server.

    Args:
        gateway: Sends the requests.
        limiter: Rate limiter of the requests; None for no limit.
        bulk: Whether they yield to all others of the limiter.
    """

    def __init__(self, gateway: Gateway, limiter: RateLimiter | None, *, bulk: bool = False) -> None:
        self._gateway = gateway
        self._limiter = limiter
        self._bulk = bulk

    async def events(self, workflow_id: str, run_id: str, **options: Any) -> Sequence[HistoryEvent]:  # noqa: ANN401 fields of the message
        """Return the events of the first page, in order; none if the run does not exist.

        Args:
            workflow_id: As it is stored.
            run_id: Id of the run.
            options: Further fields of the request.

        Raises:
            TemporalRequestError: There is no answer.
        """
        async with self._gateway.request(GET_HISTORY, limiter=self._limiter, bulk=self._bulk) as send:
            events = await self._events(send, workflow_id, run_id, options)
            if events or NUL_SIGN not in workflow_id:
                return events
            # It may replace a NUL character, which no ledger can store. Run ids are unique, so this is the same run.
            return await self._events(send, workflow_id.replace(NUL_SIGN, "\0"), run_id, options)

    async def _events(
        self, send: Send, workflow_id: str, run_id: str, options: dict[str, Any]
    ) -> Sequence[HistoryEvent]:
        request = GetWorkflowExecutionHistoryRequest(
            namespace=self._gateway.namespace,
            execution=WorkflowExecution(workflow_id=workflow_id, run_id=run_id),
            **options,
        )
        try:
            response = await send(request)
        except RPCError as error:
            if is_not_found(error):
                return ()
            raise
        # Servers may be configured to send events in their stored form.
        return response.history.events or [
            event for blob in response.raw_history for event in Events.FromString(blob.data).events
        ]
