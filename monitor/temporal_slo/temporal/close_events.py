"""Close events of runs: the protocol, and the adapter for a Temporal server."""

from typing import Protocol

from temporalio.api.enums.v1 import HistoryEventFilterType
from temporalio.api.history.v1 import HistoryEvent

from temporal_slo.temporal.history import HistoryRequests


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
        history: Sends the requests.
    """

    def __init__(self, history: HistoryRequests) -> None:
        self._history = history

    async def close_event(self, workflow_id: str, run_id: str) -> HistoryEvent | None:
        """Return the event that closed a run; None if the run does not exist."""
        only_last = HistoryEventFilterType.HISTORY_EVENT_FILTER_TYPE_CLOSE_EVENT
        events = await self._history.events(workflow_id, run_id, history_event_filter_type=only_last)
        return events[-1] if events else None
