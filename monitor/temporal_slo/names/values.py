"""Label values: statuses, outcomes, and the values that stand for unknown or surplus ones."""

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
"""Status of a failed or timed-out run that its retry policy retries: the workflow execution has not ended yet."""

RESET: Final = "reset"
"""Status of a run that a reset replaced."""

PARENT_CLOSE: Final = "parent_close"
"""Failure type of a run that its parent's close policy terminated."""

PENDING: Final = "pending"
"""Outcome of an activity attempt that is completed asynchronously, outside the worker."""

GOOD: Final = "good"
BAD: Final = "bad"
EXCLUDED: Final = "excluded"

NONE: Final = "none"
"""Stands for a value that does not apply, such as the outcome of a workflow type without outcomes in the spec."""

UNKNOWN: Final = "unknown"
OTHER: Final = "other"
"""Stands for every value beyond a limit."""

YES: Final = "yes"
NO: Final = "no"

EXACT: Final = "exact"
"""Workflow ends are counted when the server has accepted them."""

REPLAY_SAFE: Final = "replay_safe"
"""Workflow ends are counted when workflow code ends; a final workflow task that is executed again counts again."""

SLOW_REQUEST: Final = "slow_request"
SLOW_RESPONSE: Final = "slow_response"
OVER_LIMIT: Final = "over_limit"
"""Reasons why the exporter ended an HTTP connection."""

TOO_LARGE: Final = "too_large"
UNDECODABLE: Final = "undecodable"
"""Reasons why a response cannot be received: it is larger than a message may be, or cannot be encoded or decoded."""
