"""What a closed run is counted as, once its close event is known or known to be gone."""

from typing import Final

from temporalio.api.enums.v1 import TimeoutType
from temporalio.api.history.v1 import (
    HistoryEvent,
    WorkflowExecutionContinuedAsNewEventAttributes,
    WorkflowExecutionFailedEventAttributes,
    WorkflowExecutionTerminatedEventAttributes,
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

OWN_TYPES: Final = frozenset({RESET, PARENT_CLOSE, TERMINATED, UNKNOWN})
"""Failure types that no application names: always few."""

RESETTER: Final = "history-resetter"
PARENT_CLOSED: Final = ("history-service", "by parent close policy")


def needs_event(status: str, *, outcome: bool) -> bool:
    """Return whether a closed run must wait for its close event before it can be counted.

    Args:
        status: As visibility has it, lower case.
        outcome: Whether a business outcome is to be read for its workflow type.
    """
    return status in {FAILED, TIMED_OUT, TERMINATED} or (status == COMPLETED and outcome)


def classify(status: str, event: HistoryEvent | None, outcome: str = NONE) -> Classification:
    """Return what a closed run is counted as.

    Args:
        status: As visibility has it, lower case.
        event: The run's close event; None if it is gone, or did not come in time.
        outcome: The business outcome; counts only if the run has completed.
    """
    if status in {FAILED, TIMED_OUT}:
        final = RETRIED if event and _successor(event) else status
        return Classification(final, NONE, _failure_type(status, event))
    if status == TERMINATED:
        kind = _termination(event)
        return Classification(RESET if kind == RESET else status, NONE, kind)
    return Classification(status, outcome if status == COMPLETED else NONE)


def _failure_type(status: str, event: HistoryEvent | None) -> str:
    if event is None:
        return UNKNOWN
    if status == TIMED_OUT:
        # The event says no more; it is what clients are told.
        return timeout_type(TimeoutType.TIMEOUT_TYPE_START_TO_CLOSE)
    attributes = _attributes(event)
    # Servers that do not know the feature asked for tell of a failed run with a successor as continued as new.
    if isinstance(attributes, WorkflowExecutionFailedEventAttributes | WorkflowExecutionContinuedAsNewEventAttributes):
        return failure_type(attributes.failure)
    return UNKNOWN


def _termination(event: HistoryEvent | None) -> str:
    attributes = _attributes(event) if event else None
    if not isinstance(attributes, WorkflowExecutionTerminatedEventAttributes):
        return UNKNOWN
    if attributes.identity == RESETTER:
        return RESET
    return PARENT_CLOSE if (attributes.identity, attributes.reason) == PARENT_CLOSED else TERMINATED


def _successor(event: HistoryEvent) -> bool:
    return bool(getattr(_attributes(event), "new_execution_run_id", ""))


def _attributes(event: HistoryEvent) -> object:
    kind = event.WhichOneof("attributes")
    return getattr(event, kind) if kind else None
