"""One workflow run in this worker, from its instance's creation to its eviction: what happened, and what counts."""

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
from temporal_slo.interceptor._chain import began
from temporal_slo.interceptor._failures import error_type
from temporal_slo.interceptor._outcomes import OutcomeFunction, checked
from temporal_slo.interceptor._recorder import Recorder, harmless
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

COUNTING: Final = frozenset({COMPLETED, FAILED})
"""What an objective counts, but for these outcomes:"""
NO_EVENT: Final = frozenset({EXCLUDED, UNKNOWN})


@dataclass(frozen=True, slots=True)
class End:
    """How a run ended.

    Attributes:
        status: As Temporal calls it, lower case.
        at: When.
        outcome: Of business; none if nothing says how to read it.
        failure_type: Of the innermost cause; none if it has not failed.
        retried: Whether another attempt is expected to follow.
    """

    status: str
    at: datetime
    outcome: str = NONE
    failure_type: str = NONE
    retried: bool = False


class Run:
    """What is known of a run, and how it is counted.

    Args:
        info: What the SDK says of it.
        rules: What is promised of it.
        recorder: Where it is counted.
    """

    exact = True
    """Whether somebody else sees its end, so that the interceptor need not."""

    def __init__(self, info: workflow.Info, rules: Rules, recorder: Recorder) -> None:
        self.info = info
        self.recorder = recorder
        self.began = began(info)
        self._rule = rules.of(info.namespace, info.workflow_type, info.task_queue)
        self._labels = (info.workflow_type, info.task_queue)
        self._child = YES if info.parent else NO
        self._outcome = UNKNOWN if self._rule.has_outcome else NONE

    @harmless("outcome")
    def returned(self, result: object) -> None:
        """Read the outcome of a result, as the workflow returned it, with the user's function."""
        if self._rule.function:
            self._outcome = UNKNOWN
            self._outcome = judged(self._rule.function, result)

    def ended(self, end: End) -> None:
        """Count an end."""
        labels = (*self._labels, self._child)
        self.recorder.count(names.WORKFLOW_ENDS, *labels, end.status, end.outcome, end.failure_type)
        if end.status == CONTINUED_AS_NEW:
            return
        latency = end.at - self.began
        self.recorder.observe(names.WORKFLOW_LATENCY, latency, *labels, end.status)
        if end.status not in COUNTING or end.retried or end.outcome in NO_EVENT:
            return
        kept = end.status == COMPLETED and end.outcome != BAD
        for objective in self._rule.objectives:
            within = kept and latency <= objective.threshold
            self.recorder.count(names.WORKFLOW_OBJECTIVE, *labels, objective.slo)
            self.recorder.count(names.WORKFLOW_WITHIN_OBJECTIVE, *labels, objective.slo, by=int(within))

    def task_failed(self, type_: str) -> None:
        """Count a failed workflow task."""
        self.recorder.count(names.WORKFLOW_TASK_FAILURES, *self._labels, type_)

    def retried(self, type_: str, *, retryable: bool) -> bool:
        """Return whether the server is expected to start another attempt after a failure.

        Args:
            type_: Of the failure itself, if it is the application's: policies say nothing of causes.
            retryable: Whether the failure itself allows it.
        """
        policy = self.info.retry_policy
        if policy is None or not retryable or type_ in (policy.non_retryable_error_types or ()):
            return False
        return not policy.maximum_attempts or self.info.attempt < policy.maximum_attempts


class InterceptedRun(Run):
    """A run whose end only the interceptor sees: counted at once, and again if its last task is executed again."""

    exact = False

    def __init__(self, info: workflow.Info, rules: Rules, recorder: Recorder) -> None:
        super().__init__(info, rules, recorder)
        self._over = False

    @harmless("end")
    def completed(self, result: object) -> None:
        """Count the end of a run that has returned."""
        if self._silent():
            return
        self._read(result)
        self._end(End(COMPLETED, workflow.now(), self._outcome))

    @harmless("outcome")
    def _read(self, result: object) -> None:
        # An error here leaves the outcome unknown, and is no reason to lose the end.
        if self._rule.read:
            (payload,) = workflow.payload_converter().to_payloads([result])
            self._outcome = self._rule.read(payload)

    @harmless("end")
    def raised(self, error: BaseException) -> None:
        """Count the end, or the failed task, of a run whose code or signal handler has raised."""
        if self._silent():
            return
        if isinstance(error, workflow.ContinueAsNewError):
            self._end(End(CONTINUED_AS_NEW, workflow.now()))
        # Nothing else: a GeneratorExit is thrown into instances that are garbage-collected, in whatever thread.
        elif isinstance(error, Exception | asyncio.CancelledError):
            self._failed(error)

    def _failed(self, error: Exception | asyncio.CancelledError) -> None:
        native = isinstance(error, asyncio.CancelledError)
        if _cancel_requested() and (native or is_cancelled_exception(error)):
            self._end(End(CANCELED, workflow.now()))
        elif native or workflow.is_failure_exception(error):
            type_ = "CanceledError" if native else error_type(error)
            retryable = not (isinstance(error, ApplicationError) and error.non_retryable)
            retried = self.retried(_own_type(error), retryable=retryable)
            self._end(End(FAILED, workflow.now(), failure_type=type_, retried=retried))
        else:
            self.task_failed(error_type(error))

    def _silent(self) -> bool:
        return self._over or not workflow.in_workflow() or workflow.unsafe.is_replaying()

    def _end(self, end: End) -> None:
        self._over = True
        self.ended(end)


def _own_type(error: BaseException) -> str:
    if isinstance(error, ApplicationError):
        return error.type or ""
    return "" if isinstance(error, FailureError) else type(error).__name__


def _cancel_requested() -> bool:
    # Older SDKs do not tell; there a CancelledError that nobody asked for passes for a request.
    reason = getattr(workflow, "cancellation_reason", None)
    return reason is None or reason() is not None


class TaskClock:
    """Time within a workflow task: the server's at its start, and how long it has been worked on since."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._start = 0, 0

    def restart(self, start: Timestamp) -> None:
        """Begin another task, at *start* by the server's clock."""
        self._began = time.monotonic()
        # Not the message, which keeps its whole activation in memory.
        self._start = start.seconds, start.nanos

    def now(self, activation: Timestamp) -> datetime:
        """Return the time, by the server's clock.

        Args:
            activation: Of the last activation. Core advances it by the time that local activities take, which the task
                has been worked on too.
        """
        worked = timedelta(seconds=time.monotonic() - self._began)
        return max(_datetime(activation.seconds, activation.nanos), _datetime(*self._start) + worked)


def _datetime(seconds: int, nanos: int) -> datetime:
    return EPOCH + timedelta(seconds=seconds, microseconds=nanos // 1000)


def judged(function: OutcomeFunction, result: object) -> str:
    """Return the outcome that a user's function tells of a result.

    Raises:
        ValueError: It is none.
    """
    return checked(function(result))


def retryable(failure: Failure) -> bool:
    """Return whether a retry policy may apply to *failure*, as far as the failure itself tells."""
    kind = failure.WhichOneof("failure_info")
    if kind == "application_failure_info":
        return not failure.application_failure_info.non_retryable
    if kind == "server_failure_info":
        return not failure.server_failure_info.non_retryable
    return kind not in {"canceled_failure_info", "terminated_failure_info"}
