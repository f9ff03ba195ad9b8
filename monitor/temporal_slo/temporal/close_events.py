"""What the exporter asks of a closed run's history, and the adapter that asks a real server."""

from collections.abc import Iterator
from typing import Final, Protocol

from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import HistoryEventFilterType
from temporalio.api.history.v1 import History as Events
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.workflowservice.v1 import (
    GetWorkflowExecutionHistoryRequest,
    GetWorkflowExecutionHistoryResponse,
)
from temporalio.client import Client
from temporalio.service import RPCError

from temporal_slo.temporal.rpc import REQUEST_TIMEOUT, answered, is_gone
from temporal_slo.temporal.visibility import NUL_SIGN

GET_HISTORY: Final = "GetWorkflowExecutionHistory"

# Without it the server makes up a continued-as-new event for every closed run that has a successor.
FEATURES: Final = {"supported-features": "follows-next-run-id"}


class History(Protocol):
    """The histories of one Temporal namespace's runs."""

    async def close_event(self, workflow_id: str, run_id: str) -> HistoryEvent | None:
        """Return the event that closed a run; None if it is gone.

        Not for runs that are open: servers wait up to 20 seconds for them to close, and then answer None too.

        Raises:
            TemporalRequestError: There is no answer.
        """
        ...


class TemporalHistory:
    """Histories of a real server.

    Requests are not retried here; who asks does that, at its own pace.

    Args:
        client: May be lazy: the connection is then made by the first request.
        namespace: Temporal namespace of the runs.
    """

    def __init__(self, client: Client, namespace: str) -> None:
        self._service = client.workflow_service
        self._namespace = namespace

    async def close_event(self, workflow_id: str, run_id: str) -> HistoryEvent | None:
        """Return the event that closed a run; None if it is gone."""
        event = await self._close_event(workflow_id, run_id)
        if event or NUL_SIGN not in workflow_id:
            return event
        # It may stand for what no ledger can keep; nobody else has that run id.
        return await self._close_event(workflow_id.replace(NUL_SIGN, "\0"), run_id)

    async def _close_event(self, workflow_id: str, run_id: str) -> HistoryEvent | None:
        request = GetWorkflowExecutionHistoryRequest(
            namespace=self._namespace,
            execution=WorkflowExecution(workflow_id=workflow_id, run_id=run_id),
            history_event_filter_type=HistoryEventFilterType.HISTORY_EVENT_FILTER_TYPE_CLOSE_EVENT,
        )
        async with answered():
            try:
                answer = await self._service.get_workflow_execution_history(
                    request, metadata=FEATURES, timeout=REQUEST_TIMEOUT
                )
            except RPCError as error:
                if is_gone(error):
                    return None
                raise
        return next(_last_first(answer), None)


def _last_first(answer: GetWorkflowExecutionHistoryResponse) -> Iterator[HistoryEvent]:
    yield from reversed(answer.history.events)
    # Servers may be configured to send events as they are stored.
    for blob in reversed(answer.raw_history):
        yield from reversed(Events.FromString(blob.data).events)
