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
from temporalio.api.history.v1 import (
    HistoryEvent,
    WorkflowExecutionCompletedEventAttributes,
    WorkflowExecutionContinuedAsNewEventAttributes,
    WorkflowExecutionFailedEventAttributes,
    WorkflowExecutionTerminatedEventAttributes,
    WorkflowExecutionTimedOutEventAttributes,
)

from temporal_slo.exporter.classify.status import OWN_TYPES, Verdict, failure_type, needs_event, verdict
from temporal_slo.names.bounded import Bounded
from temporal_slo.temporal.visibility import CLOSED_STATUSES

DECLINED = Failure(application_failure_info=ApplicationFailureInfo(type="CardDeclined"))


def failed(failure: Failure = DECLINED, successor: str = "") -> HistoryEvent:
    """The close event of a failed run."""
    return HistoryEvent(
        workflow_execution_failed_event_attributes=WorkflowExecutionFailedEventAttributes(
            failure=failure, new_execution_run_id=successor
        )
    )


def timed_out(successor: str = "") -> HistoryEvent:
    """The close event of a run that timed out."""
    return HistoryEvent(
        workflow_execution_timed_out_event_attributes=WorkflowExecutionTimedOutEventAttributes(
            new_execution_run_id=successor
        )
    )


def completed(successor: str = "") -> HistoryEvent:
    """The close event of a completed run."""
    return HistoryEvent(
        workflow_execution_completed_event_attributes=WorkflowExecutionCompletedEventAttributes(
            new_execution_run_id=successor
        )
    )


def terminated(identity: str, reason: str = "") -> HistoryEvent:
    """The close event of a terminated run."""
    return HistoryEvent(
        workflow_execution_terminated_event_attributes=WorkflowExecutionTerminatedEventAttributes(
            identity=identity, reason=reason
        )
    )


@pytest.mark.parametrize(
    ("status", "event", "expected"),
    [
        ("failed", failed(), Verdict("failed", "none", "CardDeclined")),
        ("failed", failed(successor="next"), Verdict("retried", "none", "CardDeclined")),
        ("failed", None, Verdict("failed", "none", "unknown")),
        ("timed_out", timed_out(), Verdict("timed_out", "none", "TimeoutError:StartToClose")),
        ("timed_out", timed_out("next"), Verdict("retried", "none", "TimeoutError:StartToClose")),
        ("timed_out", None, Verdict("timed_out", "none", "unknown")),
        ("terminated", terminated("ama@laptop"), Verdict("terminated", "none", "terminated")),
        ("terminated", terminated("history-resetter", "why"), Verdict("reset", "none", "reset")),
        (
            "terminated",
            terminated("history-service", "by parent close policy"),
            Verdict("terminated", "none", "parent_close"),
        ),
        (
            "terminated",
            terminated("history-service", "Workflow history size exceeds limit."),
            Verdict("terminated", "none", "terminated"),
        ),
        ("terminated", terminated("ama@laptop", "by parent close policy"), Verdict("terminated", "none", "terminated")),
        ("terminated", None, Verdict("terminated", "none", "unknown")),
        ("completed", completed("next"), Verdict("completed", "good")),
        ("canceled", None, Verdict("canceled", "none")),
        ("continued_as_new", None, Verdict("continued_as_new", "none")),
    ],
)
def test_verdict(status: str, event: HistoryEvent | None, expected: Verdict) -> None:
    """A run is counted by its status, unless a successor or a reset tells more; only a completed one has an outcome."""
    assert verdict(status, event, "good") == expected


def test_server_without_the_feature() -> None:
    """A failed run that the server tells of as continued as new is retried, with the failure inside."""
    attributes = WorkflowExecutionContinuedAsNewEventAttributes(failure=DECLINED, new_execution_run_id="next")
    event = HistoryEvent(workflow_execution_continued_as_new_event_attributes=attributes)
    assert verdict("failed", event) == Verdict("retried", "none", "CardDeclined")


@pytest.mark.parametrize("event", [completed(), terminated("history-resetter"), HistoryEvent()])
def test_event_of_another_kind(event: HistoryEvent) -> None:
    """An event that does not belong to the status makes the failure type unknown, not an error."""
    assert verdict("failed", event).failure_type == "unknown"
    assert verdict("terminated", failed()).failure_type == "unknown"


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
    """The failure type is that of the innermost cause: its own if it has one, else that of its kind."""
    assert failure_type(failure) == expected


def test_every_kind_of_failure() -> None:
    """Every kind of failure that the SDK knows has a type."""
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
    """A time-out says which."""
    failure = Failure(timeout_failure_info=TimeoutFailureInfo(timeout_type=kind))
    assert failure_type(failure) == f"TimeoutError:{expected}"


def test_needs_event() -> None:
    """Only runs whose event tells more are fetched: bad endings always, completed ones where an outcome is read."""
    bad = {"failed", "timed_out", "terminated"}
    statuses = CLOSED_STATUSES.values()
    assert {status for status in statuses if needs_event(status, outcome=False)} == bad
    assert {status for status in statuses if needs_event(status, outcome=True)} == {*bad, "completed"}


def test_bounded() -> None:
    """A key has so many values; further ones become other, and are counted; those it has stay, and so do our own."""
    bounded = Bounded(2, always=OWN_TYPES)
    assert [bounded("Ride", value) for value in ("A", "B", "C", "A", "D", "unknown", "other")] == [
        *("A", "B", "other", "A", "other", "unknown", "other")
    ]
    assert bounded("Wallet", "C") == "C"
    assert bounded.replaced == 2


def test_bounded_restored() -> None:
    """Built from the values that were known, it goes on as the one that knew them, though the limit be lower now."""
    bounded = Bounded(2, always=OWN_TYPES, known={"Ride": ["A", "other", "unknown"], "Wallet": ["A", "B", "C"]})
    assert [bounded("Ride", value) for value in "ABC"] == ["A", "B", "other"]
    assert [bounded("Wallet", value) for value in "ABCD"] == ["A", "B", "C", "other"]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("Card\nDecl\x00ined\u2028\u202e", "CardDeclined"),
        ("Zahlung abgelehnt ✗", "Zahlung abgelehnt ✗"),
        ("x" * 101, "x" * 100),
        ("\x1b" * 3 + "x" * 500, "x" * 100),
        ("\n", "other"),
        ("", "other"),
    ],
)
def test_bounded_values_are_fit_for_a_label(value: str, expected: str) -> None:
    """A value loses what can't be printed, then what is beyond 100 characters; if nothing is left it is other."""
    assert Bounded(9, always=OWN_TYPES)("Ride", value) == expected
