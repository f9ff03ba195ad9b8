"""A run watched from outside its instance: its end comes from the completion and counts once the server accepts it."""

import time
from collections.abc import Callable, Iterable
from typing import Final

from temporalio import workflow
from temporalio.api.common.v1 import Payload
from temporalio.bridge.proto.activity_result import ActivityResolution
from temporalio.bridge.proto.workflow_activation import ResolveActivity, WorkflowActivation
from temporalio.bridge.proto.workflow_commands import WorkflowCommand
from temporalio.bridge.proto.workflow_completion import WorkflowActivationCompletion

from temporal_slo import names
from temporal_slo.interceptor import _protocol
from temporal_slo.interceptor._chain import chain_start
from temporal_slo.interceptor._deferred import DeferredCounts
from temporal_slo.interceptor._outcomes import call_outcome_function
from temporal_slo.interceptor._recorder import Recorder, never_raises
from temporal_slo.interceptor._rules import Rules
from temporal_slo.interceptor._run import RunEnd, TaskClock, WorkflowRun, is_retryable
from temporal_slo.names.values import CANCELED, COMPLETED, FAILED, NONE, TIMED_OUT, UNKNOWN
from temporal_slo.runs.failure_types import failure_type, innermost

DEADLOCK: Final = "PotentialDeadlock"
NONDETERMINISM: Final = "NondeterminismError"
FATAL: Final = "CompletionRejected"
DEADLOCK_AFTER: Final = 2.0
"""Seconds. The SDK fails a workflow task that has not yielded for this long."""


class WatchedRun(WorkflowRun):
    """A run whose activations and completions are all seen.

    Args:
        info: The run's info.
        rules: Outcome rules and objectives of all workflow types.
        recorder: Recorder of the run's namespace.
        deferred: Holds counts of tasks that the server may have rejected; None if evictions do not show which tasks
            it accepted: then everything is counted at once.
        decode: Decodes a result's payload into the classes of this process; None if the result type is unknown.

    Attributes:
        is_evicted: Whether the instance is evicted.
    """

    def __init__(
        self,
        info: workflow.Info,
        rules: Rules,
        recorder: Recorder,
        deferred: DeferredCounts | None,
        decode: Callable[[Payload], object] | None = None,
    ) -> None:
        super().__init__(info, rules, recorder)
        self.is_evicted = False
        self._deferred = deferred
        self._decode = decode
        self._clock = TaskClock()
        self._activated = time.monotonic()
        self._took: float | None = 0.0
        self._history = 0
        self._failed = False
        self._new = True
        self._deferring = False
        self._kinds: list[str | None] = []
        self._pending_end: RunEnd | None = None
        self._pending_activities: list[tuple[str, ...]] = []
        self._scheduled: dict[int, tuple[str, str]] = {}

    def returned(self, result: object) -> None:
        """See base class. A result that can be decoded is read from its payload instead.

        A sandboxed workflow returns instances of the sandbox's own classes, which equal nothing in this process.
        """
        if self._decode is None:
            super().returned(result)

    @never_raises("activation")
    def before(self, activation: WorkflowActivation) -> None:
        """Process an activation before the instance does."""
        kinds = self._kinds = [job.WhichOneof("variant") for job in activation.jobs]
        if "remove_from_cache" in kinds:
            self.is_evicted = True
            self._evicted(activation.jobs[kinds.index("remove_from_cache")].remove_from_cache.reason)
            return
        self._activated = time.monotonic()
        self._took = None
        if not self._history and "initialize_workflow" in kinds:
            job = activation.jobs[kinds.index("initialize_workflow")].initialize_workflow
            # Despite its name the field holds the delay of any first task, not only of a cron run.
            if job.HasField("cron_schedule_to_schedule_interval"):
                self.start = chain_start(self.info, job.cron_schedule_to_schedule_interval.ToTimedelta())
        # A query, which a closed run can get too, is not always marked as replaying.
        if activation.is_replaying or all(kind == "query_workflow" for kind in kinds):
            return
        # Whatever an earlier instance deferred was rejected: a closed run has no live task.
        if self._deferred and (self._new or self._deferring):
            self._deferred.discard(self.info.run_id)
            self._new = self._deferring = False
        # The history has grown, so the server has accepted the previous task. A task may have several activations.
        if activation.history_length > self._history:
            if self._pending_activities:
                self._count_activities()
            self._history = activation.history_length
            self._clock.restart(activation.timestamp)

    @never_raises("completion")
    def after(self, activation: WorkflowActivation, completion: WorkflowActivationCompletion) -> None:
        """Process the completion that the instance has returned for an activation."""
        if self.is_evicted:
            return
        self._took = time.monotonic() - self._activated
        live = not activation.is_replaying
        if "resolve_activity" in self._kinds:
            for job in activation.jobs:
                if job.HasField("resolve_activity"):
                    self._resolved(job.resolve_activity, live=live)
        if completion.HasField("failed"):
            self._failed = True
            self.count_task_failure(failure_type(completion.failed.failure))
            return
        self._completed(completion.successful.commands, activation, live=live)
        if self._deferred is None:
            self._count()
        elif self._pending_activities and self._pending_end is None:
            # The next task, which shows that the server accepted this one, may be a month away.
            self._deferring = True
            self._deferred.defer(self.info.run_id, self.info.task_queue, self._count_activities)

    def _completed(self, commands: Iterable[WorkflowCommand], activation: WorkflowActivation, *, live: bool) -> None:
        for command in commands:
            kind = command.WhichOneof("variant")
            if kind in _protocol.SCHEDULE_COMMANDS:
                scheduled = getattr(command, kind)
                queue = getattr(scheduled, "task_queue", "") or self.info.task_queue
                self._scheduled[scheduled.seq] = (scheduled.activity_type, queue)
            elif kind in _protocol.CLOSE_COMMANDS and live and self._pending_end is None:
                # Core sends the first command that closes the run.
                self._pending_end = self._end_of(command, _protocol.CLOSE_COMMANDS[kind], activation)

    def _end_of(self, command: WorkflowCommand, status: str, activation: WorkflowActivation) -> RunEnd:
        now = self._clock.now(activation.timestamp)
        if status == COMPLETED:
            return RunEnd(status, now, self._outcome_of(command))
        if status == FAILED:
            failure = command.fail_workflow_execution.failure
            own_type = failure.application_failure_info.type
            retried = self.is_retried(own_type, retryable=is_retryable(failure))
            return RunEnd(status, now, NONE, failure_type(failure), retried)
        return RunEnd(status, now)

    def _outcome_of(self, command: WorkflowCommand) -> str:
        rule, payload = self._rule, command.complete_workflow_execution.result
        try:
            if rule.read:
                return rule.read(payload)
            if rule.function and self._decode:
                return call_outcome_function(rule.function, self._decode(payload))
        except Exception as error:  # noqa: BLE001 an unreadable result must not lose the end
            self.recorder.error("outcome", error)
            return UNKNOWN
        return self._outcome

    def _resolved(self, job: ResolveActivity, *, live: bool) -> None:
        if (status := job.result.WhichOneof("status")) == "backoff":
            return
        type_, queue = self._scheduled.pop(job.seq, (UNKNOWN, self.info.task_queue))
        if live:
            labels = (self.info.workflow_type, queue, type_, *_activity_outcome(status, job.result))
            self._pending_activities.append(labels)

    def _evicted(self, reason: int) -> None:
        # Only its own count: a query creates another instance of a closed run.
        if self._deferred and self._deferring:
            self._deferred.discard(self.info.run_id)
        if reason == _protocol.EXECUTION_ENDING:
            self._count()
        elif reason not in _protocol.REJECTED and self._deferred and self._pending_end:
            # Evicted to make room in the cache, which may hide that its last task was rejected.
            self._deferred.defer(self.info.run_id, self.info.task_queue, self._count)
            return
        elif reason not in _protocol.REJECTED:
            self._count_activities()
        elif not self._failed:
            self._task_rejected(reason)
        self._pending_end = None
        self._pending_activities = []

    def _task_rejected(self, reason: int) -> None:
        # The SDK repeats an eviction that fails.
        self._failed = True
        if reason == _protocol.NONDETERMINISM:
            self.count_task_failure(NONDETERMINISM)
        elif reason == _protocol.LANG_FAIL:
            # Failed by the worker, not by the instance: the task took too long, or its completion was not encodable.
            # It may have failed before it reached the instance: the time since the last task says nothing then.
            took = time.monotonic() - self._activated if self._took is None else self._took
            self.count_task_failure(DEADLOCK if took >= DEADLOCK_AFTER else UNKNOWN)
        elif reason == _protocol.FATAL:
            self.count_task_failure(FATAL)

    @never_raises("count")
    def _count(self) -> None:
        end, self._pending_end = self._pending_end, None
        self._count_activities()
        if end:
            self.count_end(end)

    @never_raises("count")
    def _count_activities(self) -> None:
        pending, self._pending_activities = self._pending_activities, []
        for labels in pending:
            self.recorder.count(names.ACTIVITY_ENDS, *labels)


def _activity_outcome(status: str | None, result: ActivityResolution) -> tuple[str, str]:
    """Return the outcome and the failure type of an activity."""
    if status == "completed":
        return COMPLETED, NONE
    if status == "cancelled":
        return CANCELED, NONE
    failure = result.failed.failure
    timed_out = innermost(failure).HasField("timeout_failure_info")
    return TIMED_OUT if timed_out else FAILED, failure_type(failure)
