"""What a closed run is counted as, once its close event is known or known to be gone."""

from collections.abc import Collection, Hashable, Mapping
from typing import Final

from temporalio.api.enums.v1 import TimeoutType
from temporalio.api.failure.v1 import Failure
from temporalio.api.history.v1 import (
    HistoryEvent,
    WorkflowExecutionContinuedAsNewEventAttributes,
    WorkflowExecutionFailedEventAttributes,
    WorkflowExecutionTerminatedEventAttributes,
)

from temporal_slo.exporter.state import Verdict
from temporal_slo.names import OUTCOME_NONE

__all__ = ["Bounded", "Verdict", "failure_type", "needs_event", "verdict"]

FAILED: Final = "failed"
TIMED_OUT: Final = "timed_out"
TERMINATED: Final = "terminated"
COMPLETED: Final = "completed"

RETRIED: Final = "retried"
"""Status of a failed or timed out run that has a successor: the customer's fate is not decided yet."""

RESET: Final = "reset"
"""Status, and kind of termination, of a run that a reset has replaced."""

PARENT_CLOSE: Final = "parent_close"
UNKNOWN: Final = "unknown"
OTHER: Final = "other"

OWN_TYPES: Final = frozenset({RESET, PARENT_CLOSE, TERMINATED, UNKNOWN})
"""Failure types that no application names: always few."""

VALUE_LENGTH: Final = 100
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


def verdict(status: str, event: HistoryEvent | None, outcome: str = OUTCOME_NONE) -> Verdict:
    """Return what a closed run is counted as.

    Args:
        status: As visibility has it, lower case.
        event: The run's close event; None if it is gone, or did not come in time.
        outcome: The business outcome; counts only if the run has completed.
    """
    if status in {FAILED, TIMED_OUT}:
        final = RETRIED if event and _successor(event) else status
        return Verdict(final, OUTCOME_NONE, _failure_type(status, event))
    if status == TERMINATED:
        kind = _termination(event)
        return Verdict(RESET if kind == RESET else status, OUTCOME_NONE, kind)
    return Verdict(status, outcome if status == COMPLETED else OUTCOME_NONE)


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


class Bounded:
    """Label values kept few, short and printable, whatever an application names its errors.

    Args:
        limit: Distinct values that each key may have.
        other: Stands for all further ones.
        always: Values that need no place.
        known: The values that each key has already, as a ledger remembers them; they stay, whatever the limit.

    Attributes:
        replaced: How often a value became *other*.
    """

    def __init__(
        self,
        limit: int,
        other: str = OTHER,
        *,
        always: Collection[str] = OWN_TYPES,
        known: Mapping[Hashable, Collection[str]] | None = None,
    ) -> None:
        self._limit = limit
        self._other = other
        self._free = {other, *always}
        self._known = {key: set(values) - self._free for key, values in (known or {}).items()}
        self.replaced = 0

    def __call__(self, key: Hashable, value: str) -> str:
        """Return what stands for *value* among the values of *key*."""
        # Bounded first: a value may be as long as a message.
        short = "".join(filter(str.isprintable, value[: 2 * VALUE_LENGTH]))[:VALUE_LENGTH]
        known = self._known.setdefault(key, set())
        if short in known or short in self._free:
            return short
        if short and len(known) < self._limit:
            known.add(short)
            return short
        self.replaced += 1
        return self._other
