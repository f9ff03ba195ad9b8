"""Failures of activities, as the workflows report them."""

from typing import Final

from temporalio.exceptions import ActivityError, FailureError

COMPENSATION_FAILED: Final = "CompensationFailed"
"""Failure type of a run that was compensated only in part: needs manual intervention."""


def reason(error: BaseException) -> str:
    """Return why a step failed, for results and logs."""
    # An ActivityError only states that an activity failed; its cause holds the reason.
    cause = error.cause if isinstance(error, ActivityError) else None
    return cause.message if isinstance(cause, FailureError) else str(error) or type(error).__name__
