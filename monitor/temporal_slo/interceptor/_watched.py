"""A run watched from outside its instance: an end is taken from the completion, counted when the server has it."""

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
from temporal_slo.interceptor._chain import began
from temporal_slo.interceptor._held import Held
from temporal_slo.interceptor._recorder import Recorder, harmless
from temporal_slo.interceptor._rules import Rules
from temporal_slo.interceptor._run import End, Run, TaskClock, judged, retryable
from temporal_slo.names.values import CANCELED, COMPLETED, FAILED, NONE, TIMED_OUT, UNKNOWN
from temporal_slo.runs.failure_types import failure_type, innermost

DEADLOCK: Final = "PotentialDeadlock"
NONDETERMINISM: Final = "NondeterminismError"
FATAL: Final = "CompletionRejected"
DEADLOCK_AFTER: Final = 2.0
"""Seconds. The SDK fails a workflow task that has not yielded for so long."""


class WatchedRun(Run):
    """A run of which every activation and completion is seen.

    Args:
        info: What the SDK says of it.
        rules: What is promised of it.
        recorder: Where it is counted.
        held: Holds what the server has perhaps not accepted; None if evictions tell nothing: then all is counted at
            once.
        decode: Makes of a result's payload what the host's own classes know; None if nothing says what it is.

    Attributes:
        over: Whether its instance is evicted.
    """

    def __init__(
        self,
        info: workflow.Info,
        rules: Rules,
        recorder: Recorder,
        held: Held | None,
        decode: Callable[[Payload], object] | None = None,
    ) -> None:
        super().__init__(info, rules, recorder)
        self.over = False
        self._held = held
        self._decode = decode
        self._clock = TaskClock()
        self._activated = time.monotonic()
        self._took: float | None = 0.0
        self._history = 0
        self._failed = False
        self._new = True
        self._holding = False
        self._kinds: list[str | None] = []
        self._pending_end: End | None = None
        self._pending_activities: list[tuple[str, ...]] = []
        self._scheduled: dict[int, tuple[str, str]] = {}

    def returned(self, result: object) -> None:
        """See base class; a result that can be decoded is read from its payload instead.

        What the workflow returned may be of the sandbox's own classes, of which none equals one of the host's.
        """
        if self._decode is None:
            super().returned(result)

    @harmless("activation")
    def before(self, activation: WorkflowActivation) -> None:
        """See what the instance is about to be told."""
        kinds = self._kinds = [job.WhichOneof("variant") for job in activation.jobs]
        if "remove_from_cache" in kinds:
            self.over = True
            self._evicted(activation.jobs[kinds.index("remove_from_cache")].remove_from_cache.reason)
            return
        self._activated = time.monotonic()
        self._took = None
        if not self._history and "initialize_workflow" in kinds:
            job = activation.jobs[kinds.index("initialize_workflow")].initialize_workflow
            # By its name of a schedule alone; core has the delay of any first task there.
            if job.HasField("cron_schedule_to_schedule_interval"):
                self.began = began(self.info, job.cron_schedule_to_schedule_interval.ToTimedelta())
        # A query, which a closed run may be asked too, does not always pass for a replay.
        if activation.is_replaying or all(kind == "query_workflow" for kind in kinds):
            return
        # What is held of an earlier instance was rejected: a run that has closed has no live task.
        if self._held and (self._new or self._holding):
            self._held.drop(self.info.run_id)
            self._new = self._holding = False
        # Its history has grown, so the server has accepted the task before; several activations may make a task.
        if activation.history_length > self._history:
            if self._pending_activities:
                self._accepted()
            self._history = activation.history_length
            self._clock.restart(activation.timestamp)

    @harmless("completion")
    def after(self, activation: WorkflowActivation, completion: WorkflowActivationCompletion) -> None:
        """See what the instance has made of it."""
        if self.over:
            return
        self._took = time.monotonic() - self._activated
        live = not activation.is_replaying
        if "resolve_activity" in self._kinds:
            for job in activation.jobs:
                if job.HasField("resolve_activity"):
                    self._resolved(job.resolve_activity, live=live)
        if completion.HasField("failed"):
            self._failed = True
            self.task_failed(failure_type(completion.failed.failure))
            return
        self._sent(completion.successful.commands, activation, live=live)
        if self._held is None:
            self._count()
        elif self._pending_activities and self._pending_end is None:
            # The next task, which shows that this one was accepted, may be a month away.
            self._holding = True
            self._held.hold(self.info.run_id, self.info.task_queue, self._accepted)

    def _sent(self, commands: Iterable[WorkflowCommand], activation: WorkflowActivation, *, live: bool) -> None:
        for command in commands:
            kind = command.WhichOneof("variant")
            if kind in _protocol.SCHEDULES:
                scheduled = getattr(command, kind)
                queue = getattr(scheduled, "task_queue", "") or self.info.task_queue
                self._scheduled[scheduled.seq] = (scheduled.activity_type, queue)
            elif kind in _protocol.ENDS and live and self._pending_end is None:
                # The first that ends the run is the one that core sends.
                self._pending_end = self._end_of(command, _protocol.ENDS[kind], activation)

    def _end_of(self, command: WorkflowCommand, status: str, activation: WorkflowActivation) -> End:
        at = self._clock.now(activation.timestamp)
        if status == COMPLETED:
            return End(status, at, self._outcome_of(command))
        if status == FAILED:
            failure = command.fail_workflow_execution.failure
            own = failure.application_failure_info.type
            return End(status, at, NONE, failure_type(failure), self.retried(own, retryable=retryable(failure)))
        return End(status, at)

    def _outcome_of(self, command: WorkflowCommand) -> str:
        rule, payload = self._rule, command.complete_workflow_execution.result
        try:
            if rule.read:
                return rule.read(payload)
            if rule.function and self._decode:
                return judged(rule.function, self._decode(payload))
        except Exception as error:  # noqa: BLE001 a result that cannot be read is no reason to lose its end
            self.recorder.error("outcome", error)
            return UNKNOWN
        return self._outcome

    def _resolved(self, job: ResolveActivity, *, live: bool) -> None:
        if (status := job.result.WhichOneof("status")) == "backoff":
            return
        type_, queue = self._scheduled.pop(job.seq, (UNKNOWN, self.info.task_queue))
        if live:
            self._pending_activities.append((self.info.workflow_type, queue, type_, *_ending_of(status, job.result)))

    def _evicted(self, reason: int) -> None:
        # Only what it holds itself: a query has made another instance of a run that has closed.
        if self._held and self._holding:
            self._held.drop(self.info.run_id)
        if reason == _protocol.ENDING:
            self._count()
        elif reason not in _protocol.REJECTED and self._held and self._pending_end:
            # Evicted to make room, which may hide that its last task was rejected.
            self._held.hold(self.info.run_id, self.info.task_queue, self._count)
            return
        elif reason not in _protocol.REJECTED:
            self._accepted()
        elif not self._failed:
            self._task_rejected(reason)
        self._pending_end = None
        self._pending_activities = []

    def _task_rejected(self, reason: int) -> None:
        # The SDK repeats an eviction that fails.
        self._failed = True
        if reason == _protocol.NONDETERMINISM:
            self.task_failed(NONDETERMINISM)
        elif reason == _protocol.LANG_FAIL:
            # Failed by the worker and not by the instance: for it was too slow, or its completion was not encodable.
            # It may as well have failed before it reached the instance: time since the last task tells nothing.
            took = time.monotonic() - self._activated if self._took is None else self._took
            self.task_failed(DEADLOCK if took >= DEADLOCK_AFTER else UNKNOWN)
        elif reason == _protocol.FATAL:
            self.task_failed(FATAL)

    @harmless("count")
    def _count(self) -> None:
        end, self._pending_end = self._pending_end, None
        self._accepted()
        if end:
            self.ended(end)

    @harmless("count")
    def _accepted(self) -> None:
        pending, self._pending_activities = self._pending_activities, []
        for labels in pending:
            self.recorder.count(names.ACTIVITY_ENDS, *labels)


def _ending_of(status: str | None, result: ActivityResolution) -> tuple[str, str]:
    """Return the outcome and the failure type of an activity."""
    if status == "completed":
        return COMPLETED, NONE
    if status == "cancelled":
        return CANCELED, NONE
    failure = result.failed.failure
    timed_out = innermost(failure).HasField("timeout_failure_info")
    return TIMED_OUT if timed_out else FAILED, failure_type(failure)
