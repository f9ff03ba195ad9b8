import pytest
from temporalio.api.failure.v1 import ApplicationFailureInfo, Failure
from temporalio.api.history.v1 import (
    HistoryEvent,
    WorkflowExecutionCompletedEventAttributes,
    WorkflowExecutionContinuedAsNewEventAttributes,
    WorkflowExecutionFailedEventAttributes,
    WorkflowExecutionTerminatedEventAttributes,
    WorkflowExecutionTimedOutEventAttributes,
)

from temporal_slo.exporter.classify.status import classify, needs_event
from temporal_slo.runs.counted import Classification
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
        ("failed", failed(), Classification("failed", "none", "CardDeclined")),
        ("failed", failed(successor="next"), Classification("retried", "none", "CardDeclined")),
        ("failed", None, Classification("failed", "none", "unknown")),
        ("timed_out", timed_out(), Classification("timed_out", "none", "TimeoutError:StartToClose")),
        ("timed_out", timed_out("next"), Classification("retried", "none", "TimeoutError:StartToClose")),
        ("timed_out", None, Classification("timed_out", "none", "unknown")),
        ("terminated", terminated("ama@laptop"), Classification("terminated", "none", "terminated")),
        ("terminated", terminated("history-resetter", "why"), Classification("reset", "none", "reset")),
        (
            "terminated",
            terminated("history-service", "by parent close policy"),
            Classification("terminated", "none", "parent_close"),
        ),
        (
            "terminated",
            terminated("history-service", "Workflow history size exceeds limit."),
            Classification("terminated", "none", "terminated"),
        ),
        (
            "terminated",
            terminated("ama@laptop", "by parent close policy"),
            Classification("terminated", "none", "terminated"),
        ),
        ("terminated", None, Classification("terminated", "none", "unknown")),
        ("completed", completed("next"), Classification("completed", "good")),
        ("canceled", None, Classification("canceled", "none")),
        ("continued_as_new", None, Classification("continued_as_new", "none")),
    ],
)
def test_classification(status: str, event: HistoryEvent | None, expected: Classification) -> None:
    """A run is counted by its status, unless a successor or a reset tells more; only a completed one has an outcome."""
    assert classify(status, event, "good") == expected


def test_server_without_the_feature() -> None:
    """A failed run that the server tells of as continued as new is retried, with the failure inside."""
    attributes = WorkflowExecutionContinuedAsNewEventAttributes(failure=DECLINED, new_execution_run_id="next")
    event = HistoryEvent(workflow_execution_continued_as_new_event_attributes=attributes)
    assert classify("failed", event) == Classification("retried", "none", "CardDeclined")


@pytest.mark.parametrize("event", [completed(), terminated("history-resetter"), HistoryEvent()])
def test_event_of_another_kind(event: HistoryEvent) -> None:
    """An event that does not belong to the status makes the failure type unknown, not an error."""
    assert classify("failed", event).failure_type == "unknown"
    assert classify("terminated", failed()).failure_type == "unknown"


def test_needs_event() -> None:
    """Only runs whose event tells more are fetched: bad endings always, completed ones where an outcome is read."""
    bad = {"failed", "timed_out", "terminated"}
    statuses = CLOSED_STATUSES.values()
    assert {status for status in statuses if needs_event(status, outcome=False)} == bad
    assert {status for status in statuses if needs_event(status, outcome=True)} == {*bad, "completed"}
