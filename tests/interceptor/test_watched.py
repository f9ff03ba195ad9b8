"""A watched run, driven with activations as core sends them: rejected tasks, full caches, long waits."""

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
    """A host that records to the shared metrics."""
    options = Options(objectives=[], outcomes={}, spec=None, slos=None, labels={}, max_label_values=50)
    return Host(options, lambda: metrics.runtime.metric_meter)


class Core:
    """Sends a run the activations that core would send.

    Args:
        host: Host of the run.
        queue: Task queue of the run, which identifies the test's counts.
    """

    def __init__(self, host: Host, queue: str) -> None:
        self._host = host
        self._queue = queue
        self.run = self.new_instance()

    def new_instance(self) -> WatchedRun:
        """Create a new instance of the run, as after an eviction."""
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
        """Send a task that may resolve an activity, and that schedules another or ends the run."""
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

    def activate(self, history: int) -> None:
        """Send a task whose completion never arrives."""
        activation = WorkflowActivation(run_id="r", history_length=history)
        activation.jobs.add().signal_workflow.SetInParent()
        self.run.before(activation)

    def evict(self, reason: int) -> None:
        """Evict the instance."""
        activation = WorkflowActivation(run_id="r")
        activation.jobs.add().remove_from_cache.reason = reason  # type: ignore[assignment]
        self.run.before(activation)
        self.run.after(activation, WorkflowActivationCompletion(run_id="r"))

    def flush(self) -> None:
        """Record all deferred counts, as when the worker stops."""
        self._host.deferred.flush(stopped_queue=self._queue)


@pytest.fixture
def core(host: Host, queue: str) -> Core:
    """A run with a simulated core."""
    return Core(host, queue)


def ends(metrics: Metrics, queue: str) -> dict[tuple[str, ...], int]:
    """Return workflow ends by status, outcome and failure type."""
    return {labels[2:]: count for labels, count in metrics.ends(queue).items()}


def test_end_waits_for_the_server(core: Core, metrics: Metrics, queue: str) -> None:
    """An end counts once, when the run is evicted because it ended."""
    core.task(3, ends=True)
    core.flush()
    assert ends(metrics, queue) == {}
    core.evict(EXECUTION_ENDING)
    core.flush()
    assert ends(metrics, queue) == ENDED


@pytest.mark.parametrize("reason", [NONDETERMINISM, LANG_FAIL, FATAL, TASK_NOT_FOUND])
def test_rejected_end_counts_nothing(core: Core, metrics: Metrics, queue: str, reason: int) -> None:
    """A task that was or may have been rejected counts neither its end nor its activity."""
    core.task(3)
    core.task(9, resolves=True, ends=True)
    core.evict(reason)
    core.flush()
    assert ends(metrics, queue) == {}
    assert metrics.counts(names.ACTIVITY_ENDS, queue) == {}


def test_repeated_eviction_counts_a_failed_task_once(core: Core, metrics: Metrics, queue: str) -> None:
    """The SDK repeats an eviction that user code interrupts; the failed task counts once."""
    core.task(3)
    core.evict(NONDETERMINISM)
    core.evict(NONDETERMINISM)
    assert metrics.counts(names.WORKFLOW_TASK_FAILURES, queue) == {("T", "NondeterminismError"): 1}


@pytest.mark.parametrize(("stuck", "expected"), [(True, "PotentialDeadlock"), (False, "unknown")])
def test_deadlock_differs_from_other_failures(
    *, core: Core, metrics: Metrics, queue: str, monkeypatch: pytest.MonkeyPatch, stuck: bool, expected: str
) -> None:
    """A task that the worker fails counts as a deadlock only if the instance was running for two seconds."""
    core.task(3)
    if stuck:
        core.activate(9)
    later = time.monotonic() + 60
    monkeypatch.setattr(_watched, "time", SimpleNamespace(monotonic=lambda: later))
    core.evict(LANG_FAIL)
    assert metrics.counts(names.WORKFLOW_TASK_FAILURES, queue) == {("T", expected): 1}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [({}, 0), ({"attempt": 2}, 5), ({"cron_schedule": "@hourly"}, 5)],
    ids=["first attempt", "retry", "cron"],
)
def test_start_of_a_run(changes: dict[str, object], expected: int) -> None:
    """A run starts when the client starts it; a retry or a cron run starts with its first workflow task."""
    start = datetime(2026, 1, 2, tzinfo=UTC)
    facts: dict[str, object] = {"attempt": 1, "cron_schedule": None, "headers": {}, "workflow_start_time": start}
    info = cast("workflow.Info", type("Info", (), {**facts, "start_time": start + timedelta(seconds=5), **changes}))
    assert chain_start(info) == start + timedelta(seconds=expected)
    assert chain_start(info, timedelta(seconds=3)) == start + timedelta(seconds=max(expected, 3))
    assert chain_start(info, timedelta(seconds=9)) == info.start_time, "the start is after the first task"


def test_full_cache_defers_an_end(core: Core, metrics: Metrics, queue: str) -> None:
    """An end whose run is evicted to make room in the cache counts after the grace period."""
    core.task(3, ends=True)
    core.evict(CACHE_FULL)
    assert ends(metrics, queue) == {}
    core.flush()
    assert ends(metrics, queue) == ENDED


def test_live_task_discards_a_deferred_end(core: Core, metrics: Metrics, queue: str) -> None:
    """A live task of the run shows that it had not ended; a replay does not."""
    core.task(3, ends=True)
    core.evict(CACHE_FULL)
    core.new_instance()
    core.task(3, replay=True)
    core.task(4, ends=True)
    core.flush()
    assert ends(metrics, queue) == {}
    core.evict(EXECUTION_ENDING)
    assert ends(metrics, queue) == ENDED


def test_query_keeps_a_deferred_end(core: Core, metrics: Metrics, queue: str) -> None:
    """A query of a closed run is replayed by another instance, whose eviction discards nothing."""
    core.task(3, ends=True)
    core.evict(CACHE_FULL)
    core.new_instance()
    core.task(3, ends=True, replay=True)
    core.evict(CACHE_FULL)
    core.flush()
    assert ends(metrics, queue) == ENDED


@pytest.mark.parametrize("then", ["the next task", "a full cache", "the grace period"])
def test_activity_end_counts_once(core: Core, metrics: Metrics, queue: str, then: str) -> None:
    """The end of an activity counts once: with the next task, with an eviction, or after the grace period."""
    core.task(3)
    core.task(9, resolves=True)
    assert metrics.counts(names.ACTIVITY_ENDS, queue) == {}
    if then == "the next task":
        core.task(15)
    elif then == "a full cache":
        core.evict(CACHE_FULL)
    core.flush()
    core.flush()
    assert metrics.counts(names.ACTIVITY_ENDS, queue) == {("T", "a", "completed", "none"): 1}


def test_first_close_command_counts(host: Host, metrics: Metrics, queue: str) -> None:
    """Of two commands that close the run in one task, the first counts, as core sends it."""
    core = Core(host, queue)
    activation = WorkflowActivation(run_id="r", history_length=3)
    activation.jobs.add().signal_workflow.SetInParent()
    completion = WorkflowActivationCompletion(run_id="r")
    completion.successful.commands.add().cancel_workflow_execution.SetInParent()
    completion.successful.commands.add().complete_workflow_execution.SetInParent()
    core.run.before(activation)
    core.run.after(activation, completion)
    core.evict(EXECUTION_ENDING)
    assert ends(metrics, queue) == {("canceled", "none", "none"): 1}


class Instance:
    """A workflow instance that does nothing."""

    def activate(self, act: WorkflowActivation) -> WorkflowActivationCompletion:
        """Return an empty completion."""
        return WorkflowActivationCompletion(run_id=act.run_id)


def test_evicted_instance_is_freed(core: Core) -> None:
    """The library holds no reference to an evicted instance: it is freed without a full garbage collection."""
    instance = Instance()
    watched = weakref.ref(instance)
    _watch(cast("WorkflowInstance", instance), core.run)
    activation = WorkflowActivation(run_id="r")
    activation.jobs.add().remove_from_cache.reason = CACHE_FULL  # type: ignore[assignment]
    gc.disable()
    try:
        assert instance.activate(activation).run_id == "r"
        del instance
        assert watched() is None
    finally:
        gc.enable()
