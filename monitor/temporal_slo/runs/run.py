"""A workflow run as a row of visibility describes it."""

from dataclasses import dataclass
from typing import Final

from temporal_slo.runs.microseconds import SECOND

LATE_SWEEP: Final = 180 * SECOND
"""How late a row may become visible and still be found by the sweep; the grace that the server allows itself."""

RUNNING: Final = "running"

PAUSED: Final = "paused"

STATUS_NAMES: Final = {
    "Completed": "completed",
    "Failed": "failed",
    "Canceled": "canceled",
    "Terminated": "terminated",
    "ContinuedAsNew": "continued_as_new",
    "TimedOut": "timed_out",
}
"""Closed statuses as queries and counts of visibility spell them."""


@dataclass(frozen=True, slots=True)
class Run:
    """A workflow run as a row of visibility tells it; times are whole microseconds of Unix time.

    Attributes:
        status: Temporal's, lower case; None if it is none that we know.
        due_time: When it was to execute: after its start for cron, retried and delayed runs.
        close_time: 0 while it is open.
        duration: Microseconds from due to close; 0 while it is open.
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
