"""Failures of activities, as the workflows report them."""

from collections.abc import Mapping
from typing import Final

from temporalio.exceptions import ActivityError, ApplicationError, FailureError

COMPENSATION_FAILED: Final = "CompensationFailed"
"""Failure type of a run that was compensated only in part: needs manual intervention."""


def reason(error: BaseException) -> str:
    """Return why a step failed, for results and logs."""
    # An ActivityError only states that an activity failed; its cause holds the reason.
    cause = error.cause if isinstance(error, ActivityError) else None
    return cause.message if isinstance(cause, FailureError) else str(error) or type(error).__name__


def compensation_failed(subject: str, failed: Mapping[str, ActivityError]) -> ApplicationError:
    """Return the failure of a run whose compensations *failed*, by activity."""
    errors = "; ".join(f"{activity}: {reason(error)}" for activity, error in failed.items())
    message = f"{subject} was compensated only in part: {errors}"
    return ApplicationError(message, type=COMPENSATION_FAILED, non_retryable=True)
