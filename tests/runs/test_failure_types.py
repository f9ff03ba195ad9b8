import pytest
from temporalio.api.enums.v1 import TimeoutType
from temporalio.api.failure.v1 import (
    ActivityFailureInfo,
    ApplicationFailureInfo,
    CanceledFailureInfo,
    ChildWorkflowExecutionFailureInfo,
    Failure,
    NexusHandlerFailureInfo,
    NexusOperationFailureInfo,
    ResetWorkflowFailureInfo,
    ServerFailureInfo,
    TerminatedFailureInfo,
    TimeoutFailureInfo,
)

from temporal_slo.runs.failure_types import failure_type

DECLINED = Failure(application_failure_info=ApplicationFailureInfo(type="CardDeclined"))


@pytest.mark.parametrize(
    ("failure", "expected"),
    [
        (Failure(application_failure_info=ApplicationFailureInfo()), "ApplicationError"),
        (Failure(canceled_failure_info=CanceledFailureInfo()), "CanceledError"),
        (Failure(terminated_failure_info=TerminatedFailureInfo()), "TerminatedError"),
        (Failure(server_failure_info=ServerFailureInfo()), "ServerError"),
        (Failure(reset_workflow_failure_info=ResetWorkflowFailureInfo()), "ResetWorkflowError"),
        (Failure(activity_failure_info=ActivityFailureInfo()), "ActivityError"),
        (Failure(child_workflow_execution_failure_info=ChildWorkflowExecutionFailureInfo()), "ChildWorkflowError"),
        (Failure(nexus_operation_execution_failure_info=NexusOperationFailureInfo()), "NexusOperationError"),
        (Failure(nexus_handler_failure_info=NexusHandlerFailureInfo()), "NexusHandlerError"),
        (Failure(activity_failure_info=ActivityFailureInfo(), cause=DECLINED), "CardDeclined"),
        (Failure(application_failure_info=ApplicationFailureInfo(type="Outer"), cause=DECLINED), "CardDeclined"),
        (Failure(message="of a kind that is not known yet"), "unknown"),
    ],
)
def test_failure_type(failure: Failure, expected: str) -> None:
    """The failure type is that of the innermost cause: its own type if it has one, else the name of its kind."""
    assert failure_type(failure) == expected


def test_every_kind_of_failure() -> None:
    """Every kind of failure in the installed SDK has a failure type."""
    kinds = Failure.DESCRIPTOR.oneofs_by_name["failure_info"].fields
    assert len(kinds) >= 10
    for kind in kinds:
        failure = Failure()
        getattr(failure, kind.name).SetInParent()
        assert failure_type(failure) != "unknown", kind.name


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (TimeoutType.TIMEOUT_TYPE_START_TO_CLOSE, "StartToClose"),
        (TimeoutType.TIMEOUT_TYPE_SCHEDULE_TO_START, "ScheduleToStart"),
        (TimeoutType.TIMEOUT_TYPE_SCHEDULE_TO_CLOSE, "ScheduleToClose"),
        (TimeoutType.TIMEOUT_TYPE_HEARTBEAT, "Heartbeat"),
        (99, "Unspecified"),
    ],
)
def test_timeout_type(kind: TimeoutType.ValueType, expected: str) -> None:
    """The failure type of a timeout names the kind of timeout."""
    failure = Failure(timeout_failure_info=TimeoutFailureInfo(timeout_type=kind))
    assert failure_type(failure) == f"TimeoutError:{expected}"
