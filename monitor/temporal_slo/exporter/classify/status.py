"""Classification of a closed run by its status and its close event."""

from typing import Final

from temporalio.api.enums.v1 import RetryState, TimeoutType
from temporalio.api.history.v1 import (
    HistoryEvent,
    WorkflowExecutionContinuedAsNewEventAttributes,
    WorkflowExecutionFailedEventAttributes,
    WorkflowExecutionTerminatedEventAttributes,
    WorkflowExecutionTimedOutEventAttributes,
)

from temporal_slo.names.values import (
    COMPLETED,
    FAILED,
    NONE,
    PARENT_CLOSE,
    RESET,
    RETRIED,
    TERMINATED,
    TIMED_OUT,
    UNKNOWN,
)
from temporal_slo.runs.counted import Classification
from temporal_slo.runs.failure_types import failure_type, timeout_type

BUILT_IN_FAILURE_TYPES: Final = frozenset({RESET, PARENT_CLOSE, TERMINATED, UNKNOWN})
"""Failure types that no application defines; they do not count towards the limit of failure types."""

RESET_IDENTITY: Final = "history-resetter"
"""Identity with which a server terminates a run that is reset."""

PARENT_CLOSE_TERMINATION: Final = ("history-service", "by parent close policy")
"""Identity and reason with which a server terminates a run by the close policy of its parent."""


def needs_event(status: str, *, outcome: bool) -> bool:
    """Return whether a closed run can be counted only with its close event.

    Args:
        status: Status in visibility, in lower case.
        outcome: Whether business outcomes of its workflow type are read.
    """
    return status in {FAILED, TIMED_OUT, TERMINATED} or (status == COMPLETED and outcome)


def classify(status: str, event: HistoryEvent | None, outcome: str = NONE) -> Classification:
    """Return the classification of a closed run.

    Args:
        status: Status in visibility, in lower case.
        event: The close event of the run; None if it does not exist or could not be fetched in time.
        outcome: The business outcome; used only if the run completed.
    """
    if status in {FAILED, TIMED_OUT}:
        counted_status = RETRIED if event and _is_retried(event) else status
        return Classification(counted_status, NONE, _failure_type(status, event))
    if status == TERMINATED:
        cause = _termination_cause(event)
        return Classification(RESET if cause == RESET else status, NONE, cause)
    return Classification(status, outcome if status == COMPLETED else NONE)


def _failure_type(status: str, event: HistoryEvent | None) -> str:
    if event is None:
        return UNKNOWN
    if status == TIMED_OUT:
        # The event has no timeout type; clients get this one.
        return timeout_type(TimeoutType.TIMEOUT_TYPE_START_TO_CLOSE)
    attributes = _attributes(event)
    # Servers without the feature `follows-next-run-id` report a failed run with a successor as continued-as-new.
    if isinstance(attributes, WorkflowExecutionFailedEventAttributes | WorkflowExecutionContinuedAsNewEventAttributes):
        return failure_type(attributes.failure)
    return UNKNOWN


def _termination_cause(event: HistoryEvent | None) -> str:
    attributes = _attributes(event) if event else None
    if not isinstance(attributes, WorkflowExecutionTerminatedEventAttributes):
        return UNKNOWN
    if attributes.identity == RESET_IDENTITY:
        return RESET
    return PARENT_CLOSE if (attributes.identity, attributes.reason) == PARENT_CLOSE_TERMINATION else TERMINATED


def _is_retried(event: HistoryEvent) -> bool:
    attributes = _attributes(event)
    if isinstance(attributes, WorkflowExecutionFailedEventAttributes | WorkflowExecutionTimedOutEventAttributes):
        # Not by its successor: a failed run of a cron workflow has one too, and has failed all the same.
        return attributes.retry_state == RetryState.RETRY_STATE_IN_PROGRESS
    # The synthetic event of servers without the feature has no retry state.
    return isinstance(attributes, WorkflowExecutionContinuedAsNewEventAttributes)


def _attributes(event: HistoryEvent) -> object:
    field = event.WhichOneof("attributes")
    return getattr(event, field) if field else None
