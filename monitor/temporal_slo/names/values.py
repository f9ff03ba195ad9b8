"""Label values: run statuses, business outcomes, and what stands for values that are unknown or too many."""

from typing import Final

RUNNING: Final = "running"
PAUSED: Final = "paused"
COMPLETED: Final = "completed"
FAILED: Final = "failed"
CANCELED: Final = "canceled"
TERMINATED: Final = "terminated"
CONTINUED_AS_NEW: Final = "continued_as_new"
TIMED_OUT: Final = "timed_out"

RETRIED: Final = "retried"
"""Status of a failed or timed-out run that has a successor: the workflow has not ended yet."""

RESET: Final = "reset"
"""Status of a run that a reset replaced."""

PARENT_CLOSE: Final = "parent_close"
"""Failure type of a run that its parent's close policy terminated."""

GOOD: Final = "good"
BAD: Final = "bad"
EXCLUDED: Final = "excluded"

NONE: Final = "none"
"""Outcome of a run whose workflow type has no business outcome in the spec."""

UNKNOWN: Final = "unknown"
OTHER: Final = "other"
"""Stands for every value beyond a limit."""
