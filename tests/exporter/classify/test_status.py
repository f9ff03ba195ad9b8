import pytest
from temporalio.api.enums.v1 import RetryState
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
from temporal_slo.temporal.rows import CLOSED_STATUSES

DECLINED = Failure(application_failure_info=ApplicationFailureInfo(type="CardDeclined"))


IN_PROGRESS = RetryState.RETRY_STATE_IN_PROGRESS
NO_POLICY = RetryState.RETRY_STATE_RETRY_POLICY_NOT_SET


def failed(retry_state: RetryState.ValueType = NO_POLICY, successor: str = "") -> HistoryEvent:
    """Return the close event of a failed run."""
    return HistoryEvent(
        workflow_execution_failed_event_attributes=WorkflowExecutionFailedEventAttributes(
            failure=DECLINED, retry_state=retry_state, new_execution_run_id=successor
        )
    )


def timed_out(retry_state: RetryState.ValueType = NO_POLICY, successor: str = "") -> HistoryEvent:
    """Return the close event of a run that timed out."""
    return HistoryEvent(
        workflow_execution_timed_out_event_attributes=WorkflowExecutionTimedOutEventAttributes(
            retry_state=retry_state, new_execution_run_id=successor
        )
    )


def completed(successor: str = "") -> HistoryEvent:
    """Return the close event of a completed run."""
    return HistoryEvent(
        workflow_execution_completed_event_attributes=WorkflowExecutionCompletedEventAttributes(
            new_execution_run_id=successor
        )
    )


def terminated(identity: str, reason: str = "") -> HistoryEvent:
    """Return the close event of a terminated run."""
    return HistoryEvent(
        workflow_execution_terminated_event_attributes=WorkflowExecutionTerminatedEventAttributes(
            identity=identity, reason=reason
        )
    )


@pytest.mark.parametrize(
    ("status", "event", "expected"),
    [
        ("failed", failed(), Classification("failed", "none", "CardDeclined")),
        ("failed", failed(IN_PROGRESS, "next"), Classification("retried", "none", "CardDeclined")),
        # A cron workflow: the next run is no retry.
        ("failed", failed(successor="next"), Classification("failed", "none", "CardDeclined")),
        ("timed_out", timed_out(successor="next"), Classification("timed_out", "none", "TimeoutError:StartToClose")),
        ("failed", None, Classification("failed", "none", "unknown")),
        ("timed_out", timed_out(), Classification("timed_out", "none", "TimeoutError:StartToClose")),
        ("timed_out", timed_out(IN_PROGRESS, "next"), Classification("retried", "none", "TimeoutError:StartToClose")),
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
    """A run is counted by its status, or as retried or reset; only a completed run has an outcome."""
    assert classify(status, event, "good") == expected


def test_failure_reported_as_continued_as_new() -> None:
    """A failed run whose close event is continued-as-new is counted as retried, with the failure in the event."""
    attributes = WorkflowExecutionContinuedAsNewEventAttributes(failure=DECLINED, new_execution_run_id="next")
    event = HistoryEvent(workflow_execution_continued_as_new_event_attributes=attributes)
    assert classify("failed", event) == Classification("retried", "none", "CardDeclined")


@pytest.mark.parametrize("event", [completed(), terminated("history-resetter"), HistoryEvent()])
def test_event_of_another_status(event: HistoryEvent) -> None:
    """If the event does not match the status, the failure type is unknown."""
    assert classify("failed", event).failure_type == "unknown"
    assert classify("terminated", failed()).failure_type == "unknown"


def test_needs_event() -> None:
    """Failed, timed-out and terminated runs need their close event, and completed runs if an outcome is read."""
    failures = {"failed", "timed_out", "terminated"}
    statuses = CLOSED_STATUSES.values()
    assert {status for status in statuses if needs_event(status, outcome=False)} == failures
    assert {status for status in statuses if needs_event(status, outcome=True)} == {*failures, "completed"}
