"""A workflow run, as a visibility row describes it."""

from dataclasses import dataclass
from typing import Final

from temporal_slo.names.values import CANCELED, COMPLETED, CONTINUED_AS_NEW, FAILED, TERMINATED, TIMED_OUT
from temporal_slo.runs.microseconds import SECOND

SWEEP_OVERLAP: Final = 180 * SECOND
"""Overlap of a sweep with the range already read. A row that becomes visible this late is still found: the server
allows itself as much."""

STATUS_NAMES: Final = {
    "Completed": COMPLETED,
    "Failed": FAILED,
    "Canceled": CANCELED,
    "Terminated": TERMINATED,
    "ContinuedAsNew": CONTINUED_AS_NEW,
    "TimedOut": TIMED_OUT,
}
"""Closed statuses by their spelling in visibility queries and counts."""


@dataclass(frozen=True, slots=True)
class Run:
    """A workflow run, as a visibility row describes it. Times are Unix time in microseconds.

    Attributes:
        status: Temporal's status in lower case; None if this version does not know it.
        due_time: Scheduled execution time; later than the start for cron, retried and delayed runs.
        close_time: 0 while the run is open.
        duration: Microseconds from `due_time` to `close_time`; 0 while the run is open.
    """

    run_id: str
    workflow_id: str
    workflow_type: str
    task_queue: str
    status: str | None
    start_time: int
    due_time: int
    close_time: int = 0
    duration: int = 0
