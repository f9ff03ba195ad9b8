"""Start events of runs, which say whether a run continues another: the protocol, and the adapter for a server."""

from typing import NamedTuple, Protocol

from temporalio.api.enums.v1 import ContinueAsNewInitiator
from temporalio.api.history.v1 import HistoryEvent

from temporal_slo.temporal.history import HistoryRequests

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
        history: Sends the requests.
    """

    def __init__(self, history: HistoryRequests) -> None:
        self._history = history

    async def start(self, workflow_id: str, run_id: str) -> Start | None:
        """Return how a run started; None if the run does not exist."""
        events = await self._history.events(workflow_id, run_id, maximum_page_size=1)
        return start_of(events[0]) if events else None


def start_of(event: HistoryEvent) -> Start:
    """Return what a start event says."""
    started, time = event.workflow_execution_started_event_attributes, event.event_time.ToMicroseconds()
    continued = started.continued_execution_run_id if started.initiator in CONTINUED_BY else ""
    # The first run of a cron workflow began another execution.
    first = "" if started.cron_schedule or not continued else started.first_execution_run_id
    return Start(time, time + started.first_workflow_task_backoff.ToMicroseconds(), continued, first)
