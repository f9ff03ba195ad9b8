"""Start events of runs, which say whether a run continues another: the protocol, and the adapter for a server."""

from typing import NamedTuple, Protocol

from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import ContinueAsNewInitiator
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

CONTINUED_BY = (
    ContinueAsNewInitiator.CONTINUE_AS_NEW_INITIATOR_WORKFLOW,
    ContinueAsNewInitiator.CONTINUE_AS_NEW_INITIATOR_RETRY,
)
"""What makes a run part of the execution of the run before it. A cron schedule does not."""


class Start(NamedTuple):
    """How a run started. Times are microseconds of Unix time.

    Attributes:
        time: Of the event; earlier than the start of the run if the run was reset.
        due_time: When its first workflow task was due.
        continued: Id of the run before it in its execution; empty if it is the first.
        first: Id of the first run of its execution; empty if only the runs before it, one by one, lead there.
    """

    time: int
    due_time: int
    continued: str = ""
    first: str = ""


class StartEvents(Protocol):
    """The start events of the runs in one Temporal namespace."""

    async def start(self, workflow_id: str, run_id: str) -> Start | None:
        """Return how a run started; None if the run does not exist.

        Raises:
            TemporalRequestError: There is no answer.
        """
        ...


class TemporalStartEvents:
    """Start events from a Temporal server.

    Args:
        gateway: Sends the requests.
        limiter: Rate limiter of the requests; None for no limit.
        bulk: Whether they yield to all others of the limiter.
    """

    def __init__(self, gateway: Gateway, limiter: RateLimiter | None, *, bulk: bool = False) -> None:
        self._gateway = gateway
        self._limiter = limiter
        self._bulk = bulk

    async def start(self, workflow_id: str, run_id: str) -> Start | None:
        """Return how a run started; None if the run does not exist."""
        request = GetWorkflowExecutionHistoryRequest(
            namespace=self._gateway.namespace,
            execution=WorkflowExecution(workflow_id=workflow_id.replace(NUL_SIGN, "\0"), run_id=run_id),
            maximum_page_size=1,
        )
        async with self._gateway.request(GET_HISTORY, limiter=self._limiter, bulk=self._bulk) as send:
            try:
                response = await send(request)
            except RPCError as error:
                if is_not_found(error):
                    return None
                raise
        event = _first(response)
        return start_of(event) if event else None


def start_of(event: HistoryEvent) -> Start:
    """Return what a start event says."""
    started, time = event.workflow_execution_started_event_attributes, event.event_time.ToMicroseconds()
    continued = started.continued_execution_run_id if started.initiator in CONTINUED_BY else ""
    # The first run of a cron workflow began another execution.
    first = "" if started.cron_schedule or not continued else started.first_execution_run_id
    return Start(time, time + started.first_workflow_task_backoff.ToMicroseconds(), continued, first)


def _first(response: GetWorkflowExecutionHistoryResponse) -> HistoryEvent | None:
    for event in response.history.events:
        return event
    # Servers may be configured to send events in their stored form.
    for blob in response.raw_history:
        for event in Events.FromString(blob.data).events:
            return event
    return None
