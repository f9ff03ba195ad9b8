"""Failure types: a failure is named after its innermost cause, never after its message."""

from typing import Final

from temporalio.api.enums.v1 import TimeoutType
from temporalio.api.failure.v1 import Failure

from temporal_slo.names.values import UNKNOWN

DEFAULT_TYPES: Final = {
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
"""Types of failures that carry no type of their own, by the `failure_info` that is set."""


def innermost(failure: Failure) -> Failure:
    """Return the innermost cause of *failure*, or *failure* itself if it has no cause."""
    while failure.HasField("cause"):
        failure = failure.cause
    return failure


def failure_type(failure: Failure) -> str:
    """Return the type of the innermost cause of *failure*: the application's, or Temporal's name for its kind."""
    failure = innermost(failure)
    kind = failure.WhichOneof("failure_info")
    if kind == "timeout_failure_info":
        return timeout_type(failure.timeout_failure_info.timeout_type)
    if kind == "application_failure_info" and failure.application_failure_info.type:
        return failure.application_failure_info.type
    return DEFAULT_TYPES.get(str(kind), UNKNOWN)


def timeout_type(kind: TimeoutType.ValueType) -> str:
    """Return the failure type of a timeout, for example `TimeoutError:StartToClose`."""
    name = TimeoutType.Name(kind) if kind in TimeoutType.values() else "UNSPECIFIED"
    words = name.removeprefix("TIMEOUT_TYPE_").split("_")
    return "TimeoutError:" + "".join(word.capitalize() for word in words)
