"""Visibility rows, made into runs: whatever a row contains, the run can be counted and stored."""

from collections.abc import Mapping
from typing import Final

from temporalio.api.enums.v1 import WorkflowExecutionStatus
from temporalio.api.workflow.v1 import WorkflowExecutionInfo

from temporal_slo.names.values import (
    CANCELED,
    COMPLETED,
    CONTINUED_AS_NEW,
    FAILED,
    PAUSED,
    RUNNING,
    TERMINATED,
    TIMED_OUT,
)
from temporal_slo.runs.microseconds import HOUR, SECOND
from temporal_slo.runs.run import Run
from temporal_slo.runs.storable import WORKFLOW_ID_BYTES, storable_name

TIME_MAX: Final = 253_402_300_799 * SECOND
"""The last second of the year 9999, the latest time of Temporal; without a limit a time may not fit into the ledger."""

DURATION_MAX: Final = 100 * 365 * 24 * HOUR
"""The longest duration: the ledger adds them up."""

# Statuses by number: the SDK's enum lacks those of newer servers and raises on them.
CLOSED_STATUSES: Final[Mapping[int, str]] = {
    WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_COMPLETED: COMPLETED,
    WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_FAILED: FAILED,
    WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_CANCELED: CANCELED,
    WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_TERMINATED: TERMINATED,
    WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_CONTINUED_AS_NEW: CONTINUED_AS_NEW,
    WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_TIMED_OUT: TIMED_OUT,
}
# A number, because older SDKs have no name for it.
STATUSES: Final[Mapping[int, str]] = {
    WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_RUNNING: RUNNING,
    8: PAUSED,
    **CLOSED_STATUSES,
}


def run_of(row: WorkflowExecutionInfo) -> Run:
    """Return the run that *row* describes."""
    start = _time(row.start_time.ToMicroseconds())
    due = max(start, _time(row.execution_time.ToMicroseconds()))
    close = _time(row.close_time.ToMicroseconds())
    return Run(
        run_id=storable_name(row.execution.run_id),
        # In no key of the ledger, so it may be longer: requests for the close event need the whole id.
        workflow_id=storable_name(row.execution.workflow_id, WORKFLOW_ID_BYTES),
        workflow_type=storable_name(row.type.name),
        task_queue=storable_name(row.task_queue),
        status=STATUSES.get(row.status),
        start_time=start,
        due_time=due,
        close_time=close,
        duration=min(_duration(row, due, close), DURATION_MAX),
    )


def _time(microseconds: int) -> int:
    return min(max(microseconds, 0), TIME_MAX)


def _duration(row: WorkflowExecutionInfo, due: int, close: int) -> int:
    if row.HasField("execution_duration"):
        return max(row.execution_duration.ToMicroseconds(), 0)
    return max(close - due, 0)
