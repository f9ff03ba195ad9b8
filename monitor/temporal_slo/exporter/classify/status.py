"""What a closed run is counted as, once its close event is known or known to be gone."""

from typing import Final

from temporalio.api.enums.v1 import TimeoutType
from temporalio.api.failure.v1 import Failure
from temporalio.api.history.v1 import (
    HistoryEvent,
    WorkflowExecutionContinuedAsNewEventAttributes,
    WorkflowExecutionFailedEventAttributes,
    WorkflowExecutionTerminatedEventAttributes,
)

from temporal_slo.names.bounded import Bounded
from temporal_slo.names.values import COMPLETED, FAILED, NONE, PARENT_CLOSE, RESET, RETRIED, TERMINATED, TIMED_OUT
from temporal_slo.runs.counted import Verdict

__all__ = ["Bounded", "Verdict", "failure_type", "needs_event", "verdict"]


UNKNOWN: Final = "unknown"

OWN_TYPES: Final = frozenset({RESET, PARENT_CLOSE, TERMINATED, UNKNOWN})
"""Failure types that no application names: always few."""

RESETTER: Final = "history-resetter"
PARENT_CLOSED: Final = ("history-service", "by parent close policy")

FAILURE_TYPES: Final = {
    "application_failure_info": "ApplicationError",
    "canceled_failure_info": "CanceledError",
    "terminated_failure_info": "TerminatedError",
    "server_failure_info": "ServerError",
    "reset_workflow_failure_info": "ResetWorkflowError",
    "activity_failure_info": "ActivityError",
    "child_workflow_execution_failure_info": "ChildWorkflowError",
    "nexus_operation_execution_failure_info": "NexusOperationError",
    "nexus_handler_failure_info": "NexusHandlerError",
}
"""Failures that have no type of their own, and applications' that were given none."""


def needs_event(status: str, *, outcome: bool) -> bool:
    """Return whether a closed run must wait for its close event before it can be counted.

    Args:
        status: As visibility has it, lower case.
        outcome: Whether a business outcome is to be read for its workflow type.
    """
    return status in {FAILED, TIMED_OUT, TERMINATED} or (status == COMPLETED and outcome)


def verdict(status: str, event: HistoryEvent | None, outcome: str = NONE) -> Verdict:
    """Return what a closed run is counted as.

    Args:
        status: As visibility has it, lower case.
        event: The run's close event; None if it is gone, or did not come in time.
        outcome: The business outcome; counts only if the run has completed.
    """
    if status in {FAILED, TIMED_OUT}:
        final = RETRIED if event and _successor(event) else status
        return Verdict(final, NONE, _failure_type(status, event))
    if status == TERMINATED:
        kind = _termination(event)
        return Verdict(RESET if kind == RESET else status, NONE, kind)
    return Verdict(status, outcome if status == COMPLETED else NONE)


def failure_type(failure: Failure) -> str:
    """Return the type of the innermost cause of *failure*."""
    while failure.HasField("cause"):
        failure = failure.cause
    kind = failure.WhichOneof("failure_info")
    if kind == "timeout_failure_info":
        return _timeout(failure.timeout_failure_info.timeout_type)
    if kind == "application_failure_info" and failure.application_failure_info.type:
        return failure.application_failure_info.type
    return FAILURE_TYPES.get(str(kind), UNKNOWN)


def _failure_type(status: str, event: HistoryEvent | None) -> str:
    if event is None:
        return UNKNOWN
    if status == TIMED_OUT:
        # The event says no more; it is what clients are told.
        return _timeout(TimeoutType.TIMEOUT_TYPE_START_TO_CLOSE)
    attributes = _attributes(event)
    # Servers that do not know the feature asked for tell of a failed run with a successor as continued as new.
    if isinstance(attributes, WorkflowExecutionFailedEventAttributes | WorkflowExecutionContinuedAsNewEventAttributes):
        return failure_type(attributes.failure)
    return UNKNOWN


def _timeout(kind: TimeoutType.ValueType) -> str:
    name = TimeoutType.Name(kind) if kind in TimeoutType.values() else "UNSPECIFIED"
    words = name.removeprefix("TIMEOUT_TYPE_").split("_")
    return "TimeoutError:" + "".join(word.capitalize() for word in words)


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
