"""Failure types: a failure is named by the type of its innermost cause, never by its message."""

from typing import Final

from temporalio.api.enums.v1 import TimeoutType
from temporalio.api.failure.v1 import Failure

UNKNOWN: Final = "unknown"

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
"""Failures that have no type of their own; the exporter calls them the same, and a test holds both together."""


def innermost(failure: Failure) -> Failure:
    """Return the cause at the root of *failure*, which may be itself."""
    while failure.HasField("cause"):
        failure = failure.cause
    return failure


def failure_type(failure: Failure) -> str:
    """Return the type of the innermost cause of *failure*."""
    failure = innermost(failure)
    kind = failure.WhichOneof("failure_info")
    if kind == "timeout_failure_info":
        return _timeout(failure.timeout_failure_info.timeout_type)
    if kind == "application_failure_info" and failure.application_failure_info.type:
        return failure.application_failure_info.type
    return FAILURE_TYPES.get(str(kind), UNKNOWN)


def _timeout(kind: TimeoutType.ValueType) -> str:
    name = TimeoutType.Name(kind) if kind in TimeoutType.values() else "UNSPECIFIED"
    words = name.removeprefix("TIMEOUT_TYPE_").split("_")
    return "TimeoutError:" + "".join(word.capitalize() for word in words)
