"""One workflow run in this worker, from the creation of its instance to its eviction, and how its end is counted."""

import asyncio
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp
from temporalio import workflow
from temporalio.api.failure.v1 import Failure
from temporalio.exceptions import ApplicationError, FailureError, is_cancelled_exception

from temporal_slo import names
from temporal_slo.interceptor._chain import chain_start
from temporal_slo.interceptor._failures import error_type
from temporal_slo.interceptor._outcomes import call_outcome_function
from temporal_slo.interceptor._recorder import Recorder, never_raises
from temporal_slo.interceptor._rules import Rules
from temporal_slo.names.values import (
    BAD,
    CANCELED,
    COMPLETED,
    CONTINUED_AS_NEW,
    EXCLUDED,
    FAILED,
    NO,
    NONE,
    UNKNOWN,
    YES,
)

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

COUNTED_STATUSES: Final = frozenset({COMPLETED, FAILED})
"""Statuses that count towards an objective, except with an uncounted outcome."""
UNCOUNTED_OUTCOMES: Final = frozenset({EXCLUDED, UNKNOWN})


@dataclass(frozen=True, slots=True)
class RunEnd:
    """How a run ended.

    Attributes:
        status: Temporal's status in lower case.
        time: Close time.
        outcome: Business outcome; none if the workflow type has no outcome rule.
        failure_type: Type of the innermost cause; none if the run did not fail.
        retried: Whether another attempt is expected to follow.
    """

    status: str
    time: datetime
    outcome: str = NONE
    failure_type: str = NONE
    retried: bool = False


class WorkflowRun:
    """A run and how its end is counted.

    Args:
        info: The run's info.
        rules: Outcome rules and objectives of all workflow types.
        recorder: Recorder of the run's namespace.

    Attributes:
        start: Start time of the workflow, across continue-as-new.
    """

    def __init__(self, info: workflow.Info, rules: Rules, recorder: Recorder) -> None:
        self.info = info
        self.recorder = recorder
        self.start = chain_start(info)
        self._rule = rules.rule(info.namespace, info.workflow_type, info.task_queue)
        self._labels = (info.workflow_type, info.task_queue)
        self._child = YES if info.parent else NO
        self._outcome = UNKNOWN if self._rule.has_outcome else NONE

    @never_raises("outcome")
    def returned(self, result: object) -> None:
        """Get the outcome of the workflow's return value from the user's function."""
        if self._rule.function:
            self._outcome = UNKNOWN
            self._outcome = call_outcome_function(self._rule.function, result)

    def count_end(self, end: RunEnd) -> None:
        """Count the end of the run."""
        labels = (*self._labels, self._child)
        self.recorder.count(names.WORKFLOW_ENDS, *labels, end.status, end.outcome, end.failure_type)
        if end.status == CONTINUED_AS_NEW:
            return
        latency = end.time - self.start
        self.recorder.observe(names.WORKFLOW_LATENCY, latency, *labels, end.status)
        if end.status not in COUNTED_STATUSES or end.retried or end.outcome in UNCOUNTED_OUTCOMES:
            return
        succeeded = end.status == COMPLETED and end.outcome != BAD
        for objective in self._rule.objectives:
            within = succeeded and latency <= objective.threshold
            self.recorder.count(names.WORKFLOW_OBJECTIVE, *labels, objective.slo)
            self.recorder.count(names.WORKFLOW_WITHIN_OBJECTIVE, *labels, objective.slo, by=int(within))

    def count_task_failure(self, failure_type: str) -> None:
        """Count a failed workflow task."""
        self.recorder.count(names.WORKFLOW_TASK_FAILURES, *self._labels, failure_type)

    def is_retried(self, own_type: str, *, retryable: bool) -> bool:
        """Return whether the server is expected to start another attempt after a failure.

        Args:
            own_type: Type of the failure itself if it is an application failure: a retry policy does not look at
                causes.
            retryable: Whether the failure itself allows a retry.
        """
        policy = self.info.retry_policy
        if policy is None or not retryable or own_type in (policy.non_retryable_error_types or ()):
            return False
        return not policy.maximum_attempts or self.info.attempt < policy.maximum_attempts


class InterceptedRun(WorkflowRun):
    """A run seen by the interceptor alone: counted when its code ends, and again if its last task is executed again."""

    def __init__(self, info: workflow.Info, rules: Rules, recorder: Recorder) -> None:
        super().__init__(info, rules, recorder)
        self._ended = False

    @never_raises("end")
    def completed(self, result: object) -> None:
        """Count the end of a run that has returned."""
        if self._is_ignored():
            return
        self._read_outcome(result)
        self._end(RunEnd(COMPLETED, workflow.now(), self._outcome))

    @never_raises("outcome")
    def _read_outcome(self, result: object) -> None:
        # An error here leaves the outcome unknown; the end is counted all the same.
        if self._rule.read:
            (payload,) = workflow.payload_converter().to_payloads([result])
            self._outcome = self._rule.read(payload)

    @never_raises("end")
    def raised(self, error: BaseException) -> None:
        """Count the end, or the failed task, of a run whose code or signal handler has raised."""
        if self._is_ignored():
            return
        if isinstance(error, workflow.ContinueAsNewError):
            self._end(RunEnd(CONTINUED_AS_NEW, workflow.now()))
        # No other error: a garbage-collected instance gets a GeneratorExit, in any thread.
        elif isinstance(error, Exception | asyncio.CancelledError):
            self._failed(error)

    def _failed(self, error: Exception | asyncio.CancelledError) -> None:
        native = isinstance(error, asyncio.CancelledError)
        if _is_cancel_requested() and (native or is_cancelled_exception(error)):
            self._end(RunEnd(CANCELED, workflow.now()))
        elif native or workflow.is_failure_exception(error):
            failure_type = "CanceledError" if native else error_type(error)
            retryable = not (isinstance(error, ApplicationError) and error.non_retryable)
            retried = self.is_retried(_own_type(error), retryable=retryable)
            self._end(RunEnd(FAILED, workflow.now(), failure_type=failure_type, retried=retried))
        else:
            self.count_task_failure(error_type(error))

    def _is_ignored(self) -> bool:
        return self._ended or not workflow.in_workflow() or workflow.unsafe.is_replaying()

    def _end(self, end: RunEnd) -> None:
        self._ended = True
        self.count_end(end)


def _own_type(error: BaseException) -> str:
    if isinstance(error, ApplicationError):
        return error.type or ""
    return "" if isinstance(error, FailureError) else type(error).__name__


def _is_cancel_requested() -> bool:
    # Older SDKs do not say; with them every CancelledError counts as requested.
    reason = getattr(workflow, "cancellation_reason", None)
    return reason is None or reason() is not None


class TaskClock:
    """The time within a workflow task: the server's at the start of the task, plus the time spent on it since."""

    def __init__(self) -> None:
        self._restarted = time.monotonic()
        self._start = 0, 0

    def restart(self, start: Timestamp) -> None:
        """Start another task, at *start* by the server's clock."""
        self._restarted = time.monotonic()
        # Not the message itself, which would keep its activation in memory.
        self._start = start.seconds, start.nanos

    def now(self, activation: Timestamp) -> datetime:
        """Return the time, by the server's clock.

        Args:
            activation: Time of the last activation. Core advances it by the duration of local activities, which is
                also part of the time spent on the task.
        """
        spent = timedelta(seconds=time.monotonic() - self._restarted)
        return max(_datetime(activation.seconds, activation.nanos), _datetime(*self._start) + spent)


def _datetime(seconds: int, nanos: int) -> datetime:
    return EPOCH + timedelta(seconds=seconds, microseconds=nanos // 1000)


def is_retryable(failure: Failure) -> bool:
    """Return whether *failure* itself allows a retry, whatever the retry policy says."""
    kind = failure.WhichOneof("failure_info")
    if kind == "application_failure_info":
        return not failure.application_failure_info.non_retryable
    if kind == "server_failure_info":
        return not failure.server_failure_info.non_retryable
    return kind not in {"canceled_failure_info", "terminated_failure_info"}
