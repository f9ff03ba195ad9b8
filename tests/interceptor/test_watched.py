"""A run that is watched, fed with what core would say: rejected tasks, full caches, long waits."""

import gc
import time
import weakref
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import cast

import pytest
from temporalio import workflow
from temporalio.bridge.proto.workflow_activation import WorkflowActivation
from temporalio.bridge.proto.workflow_completion import WorkflowActivationCompletion
from temporalio.worker import WorkflowInstance

from temporal_slo import names
from temporal_slo.interceptor import _watched
from temporal_slo.interceptor._chain import chain_start
from temporal_slo.interceptor._host import Host, Options
from temporal_slo.interceptor._protocol import EXECUTION_ENDING, FATAL, LANG_FAIL, NONDETERMINISM
from temporal_slo.interceptor._runner import _watch
from temporal_slo.interceptor._watched import WatchedRun

from .metrics import Metrics

CACHE_FULL = 1
TASK_NOT_FOUND = 6
ENDED = {("completed", "none", "none"): 1}


@pytest.fixture
def host(metrics: Metrics) -> Host:
    """A host of its own, whose metrics are the shared ones."""
    options = Options(objectives=[], outcomes={}, spec=None, slos=None, labels={}, max_label_values=50)
    return Host(options, lambda: metrics.runtime.metric_meter)


class Said:
    """Says to a run what core would.

    Args:
        host: Whose run it is.
        queue: Its task queue, by which the test knows its counts.
    """

    def __init__(self, host: Host, queue: str) -> None:
        self._host = host
        self._queue = queue
        self.run = self.new_instance()

    def new_instance(self) -> WatchedRun:
        """Begin the run again, as after an eviction."""
        now = datetime.now(UTC)
        facts = {"namespace": "ns", "workflow_type": "T", "task_queue": self._queue, "run_id": self._queue}
        none = dict.fromkeys(("parent", "cron_schedule", "retry_policy"))
        info = cast(
            "workflow.Info",
            type("Info", (), {**facts, **none, "attempt": 1, "headers": {}, "workflow_start_time": now}),
        )
        run = self._host.watched_run(info, two_phase=True)
        assert run
        self.run = run
        return run

    def task(self, history: int, *, resolves: bool = False, ends: bool = False, replay: bool = False) -> None:
        """Say a task: one that sees an activity's result, and schedules another or ends the run."""
        activation = WorkflowActivation(run_id="r", history_length=history, is_replaying=replay)
        activation.timestamp.FromDatetime(datetime.now(UTC))
        job = activation.jobs.add()
        if resolves:
            job.resolve_activity.seq = 1
            job.resolve_activity.result.completed.SetInParent()
        else:
            job.signal_workflow.SetInParent()
        completion = WorkflowActivationCompletion(run_id="r")
        command = completion.successful.commands.add()
        if ends:
            command.complete_workflow_execution.SetInParent()
        else:
            command.schedule_activity.seq = 1
            command.schedule_activity.activity_type = "a"
        self.run.before(activation)
        self.run.after(activation, completion)

    def begin(self, history: int) -> None:
        """Say a task of which nothing comes back."""
        activation = WorkflowActivation(run_id="r", history_length=history)
        activation.jobs.add().signal_workflow.SetInParent()
        self.run.before(activation)

    def evict(self, reason: int) -> None:
        """Say that the instance is evicted."""
        activation = WorkflowActivation(run_id="r")
        activation.jobs.add().remove_from_cache.reason = reason  # type: ignore[assignment]
        self.run.before(activation)
        self.run.after(activation, WorkflowActivationCompletion(run_id="r"))

    def settle(self) -> None:
        """Let all that is held be counted."""
        self._host.deferred.flush(stopped_queue=self._queue)


@pytest.fixture
def said(host: Host, queue: str) -> Said:
    """A run, and what is said to it."""
    return Said(host, queue)


def ends(metrics: Metrics, queue: str) -> dict[tuple[str, ...], int]:
    """Return the ends of runs, by status, outcome and failure type."""
    return {labels[2:]: count for labels, count in metrics.ends(queue).items()}


def test_end_waits_for_the_server(said: Said, metrics: Metrics, queue: str) -> None:
    """An end counts when its run is evicted for it, and once."""
    said.task(3, ends=True)
    said.settle()
    assert ends(metrics, queue) == {}
    said.evict(EXECUTION_ENDING)
    said.settle()
    assert ends(metrics, queue) == ENDED


@pytest.mark.parametrize("reason", [NONDETERMINISM, LANG_FAIL, FATAL, TASK_NOT_FOUND])
def test_rejected_end_counts_nothing(said: Said, metrics: Metrics, queue: str, reason: int) -> None:
    """A task that was rejected, or perhaps, counts neither its end nor the activity that it saw."""
    said.task(3)
    said.task(9, resolves=True, ends=True)
    said.evict(reason)
    said.settle()
    assert ends(metrics, queue) == {}
    assert metrics.counts(names.ACTIVITY_ENDS, queue) == {}


def test_repeated_eviction_counts_a_failed_task_once(said: Said, metrics: Metrics, queue: str) -> None:
    """The SDK repeats an eviction that user code has refused; the task has failed once all the same."""
    said.task(3)
    said.evict(NONDETERMINISM)
    said.evict(NONDETERMINISM)
    assert metrics.counts(names.WORKFLOW_TASK_FAILURES, queue) == {("T", "NondeterminismError"): 1}


@pytest.mark.parametrize(("stuck", "named"), [(True, "PotentialDeadlock"), (False, "unknown")])
def test_deadlock_is_told_from_other_failures(
    *, said: Said, metrics: Metrics, queue: str, monkeypatch: pytest.MonkeyPatch, stuck: bool, named: str
) -> None:
    """A worker that fails a task long after the last one has not met a deadlock unless the instance was at work."""
    said.task(3)
    if stuck:
        said.begin(9)
    later = time.monotonic() + 60
    monkeypatch.setattr(_watched, "time", SimpleNamespace(monotonic=lambda: later))
    said.evict(LANG_FAIL)
    assert metrics.counts(names.WORKFLOW_TASK_FAILURES, queue) == {("T", named): 1}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [({}, 0), ({"attempt": 2}, 5), ({"cron_schedule": "@hourly"}, 5)],
    ids=["first attempt", "later attempt", "by schedule"],
)
def test_beginning_of_a_run(changes: dict[str, object], expected: int) -> None:
    """A run began when it was started; one that waited on purpose, for a retry or a schedule, with its first task."""
    start = datetime(2026, 1, 2, tzinfo=UTC)
    facts: dict[str, object] = {"attempt": 1, "cron_schedule": None, "headers": {}, "workflow_start_time": start}
    info = cast("workflow.Info", type("Info", (), {**facts, "start_time": start + timedelta(seconds=5), **changes}))
    assert chain_start(info) == start + timedelta(seconds=expected)
    assert chain_start(info, timedelta(seconds=3)) == start + timedelta(seconds=max(expected, 3))
    assert chain_start(info, timedelta(seconds=9)) == info.start_time, "nothing begins after its first task"


def test_full_cache_holds_an_end(said: Said, metrics: Metrics, queue: str) -> None:
    """An end whose run is evicted to make room counts after the grace, unless the run is there again."""
    said.task(3, ends=True)
    said.evict(CACHE_FULL)
    assert ends(metrics, queue) == {}
    said.settle()
    assert ends(metrics, queue) == ENDED


def test_held_end_is_dropped_by_a_live_task(said: Said, metrics: Metrics, queue: str) -> None:
    """A run that is there again with a live task had not ended; a replay tells nothing."""
    said.task(3, ends=True)
    said.evict(CACHE_FULL)
    said.new_instance()
    said.task(3, replay=True)
    said.task(4, ends=True)
    said.settle()
    assert ends(metrics, queue) == {}
    said.evict(EXECUTION_ENDING)
    assert ends(metrics, queue) == ENDED


def test_held_end_survives_a_query(said: Said, metrics: Metrics, queue: str) -> None:
    """A closed run that is queried is replayed by another instance, whose eviction drops nothing."""
    said.task(3, ends=True)
    said.evict(CACHE_FULL)
    said.new_instance()
    said.task(3, ends=True, replay=True)
    said.evict(CACHE_FULL)
    said.settle()
    assert ends(metrics, queue) == ENDED


@pytest.mark.parametrize("then", ["the next task", "an eviction for room", "the grace"])
def test_activity_end_counts_once(said: Said, metrics: Metrics, queue: str, then: str) -> None:
    """The end of an activity counts with the next task, with an eviction, or after the grace."""
    said.task(3)
    said.task(9, resolves=True)
    assert metrics.counts(names.ACTIVITY_ENDS, queue) == {}
    if then == "the next task":
        said.task(15)
    elif then == "an eviction for room":
        said.evict(CACHE_FULL)
    said.settle()
    said.settle()
    assert metrics.counts(names.ACTIVITY_ENDS, queue) == {("T", "a", "completed", "none"): 1}


def test_first_command_that_ends_a_run_is_its_end(host: Host, metrics: Metrics, queue: str) -> None:
    """Of two ends in one task core sends the first."""
    said = Said(host, queue)
    activation = WorkflowActivation(run_id="r", history_length=3)
    activation.jobs.add().signal_workflow.SetInParent()
    completion = WorkflowActivationCompletion(run_id="r")
    completion.successful.commands.add().cancel_workflow_execution.SetInParent()
    completion.successful.commands.add().complete_workflow_execution.SetInParent()
    said.run.before(activation)
    said.run.after(activation, completion)
    said.evict(EXECUTION_ENDING)
    assert ends(metrics, queue) == {("canceled", "none", "none"): 1}


class Instance:
    """Does nothing."""

    def activate(self, act: WorkflowActivation) -> WorkflowActivationCompletion:
        """Accept an activation."""
        return WorkflowActivationCompletion(run_id=act.run_id)


def test_evicted_instance_is_freed(said: Said) -> None:
    """Nothing of ours keeps an instance that was evicted until the next full collection."""
    instance = Instance()
    watched = weakref.ref(instance)
    _watch(cast("WorkflowInstance", instance), said.run)
    activation = WorkflowActivation(run_id="r")
    activation.jobs.add().remove_from_cache.reason = CACHE_FULL  # type: ignore[assignment]
    gc.disable()
    try:
        assert instance.activate(activation).run_id == "r"
        del instance
        assert watched() is None
    finally:
        gc.enable()
