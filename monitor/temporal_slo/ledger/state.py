"""What the ledger knows of one namespace, held in memory; only `apply` changes it."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from temporal_slo.ledger.change import MINUTES, Change, ClosedOverdueRun, Gap, Position
from temporal_slo.names import Family
from temporal_slo.names.values import PAUSED
from temporal_slo.runs.counted import ClosedKey, FailureKey, RunningKey, SeenKey, seen_key
from temporal_slo.runs.executions import ChainRun


class OpenRun(NamedTuple):
    """An open run, as memory holds it; times are microseconds of Unix time.

    Attributes:
        execution_start: When its execution was due; 0 if it is not known whether the run continues another.
    """

    key: RunningKey
    due_time: int
    paused: bool = False
    execution_start: int = 0


@dataclass
class Histogram:
    """Durations of one series: runs by bucket, and their sum in microseconds."""

    counts: Counter[int] = field(default_factory=Counter)
    duration: int = 0

    @property
    def count(self) -> int:
        """Number of runs."""
        return self.counts.total()


@dataclass
class Minutes:
    """Minutes evaluated for one SLO since the ledger began."""

    observed: int = 0
    overdue: int = 0


@dataclass
class State:
    """The ledger's facts about one namespace.

    Attributes:
        positions: How far each list is read.
        gaps: Close times that are not ingested yet.
        open: Open runs by run id.
        closed: Durations of closed runs by series.
        executions: What is added to `closed` for the durations of executions; it may be negative.
        chain_runs: Closed runs that may be part of a chain, by workflow id and run id.
        started: Started runs by series.
        failures: Failures by series.
        counters: The exporter's own counters.
        waiting: Closed runs that wait for their close event, by series.
        closed_overdue: Closed runs that were overdue in minutes not evaluated yet, by run id.
        minutes: Evaluated minutes by SLO.
        measured_since: Close time since which runs are counted with a bucket bound at a latency threshold, in
            microseconds, by threshold in milliseconds.
    """

    positions: dict[str, Position] = field(default_factory=dict)
    gaps: tuple[Gap, ...] = ()
    open: dict[str, OpenRun] = field(default_factory=dict)
    closed: dict[ClosedKey, Histogram] = field(default_factory=dict)
    executions: dict[ClosedKey, Histogram] = field(default_factory=dict)
    chain_runs: dict[str, dict[str, ChainRun]] = field(default_factory=dict)
    started: Counter[RunningKey] = field(default_factory=Counter)
    failures: Counter[FailureKey] = field(default_factory=Counter)
    counters: Counter[Family] = field(default_factory=Counter)
    waiting: Counter[SeenKey] = field(default_factory=Counter)
    closed_overdue: dict[str, ClosedOverdueRun] = field(default_factory=dict)
    minutes: dict[str, Minutes] = field(default_factory=dict)
    measured_since: Mapping[int, int] = field(default_factory=dict)

    @property
    def pending(self) -> int:
        """Number of closed runs that wait for their close event."""
        return self.waiting.total()

    def apply(self, change: Change) -> None:
        """Apply a change that the ledger has committed."""
        for counted in change.counted:
            histogram = self.closed.setdefault(counted.key, Histogram())
            histogram.counts[counted.bucket] += 1
            histogram.duration += counted.run.duration
            if counted.classification.failure_type:
                self.failures[counted.failure] += 1
        self.started.update(change.started)
        self.counters.update(change.counters)
        self.waiting.update(map(seen_key, change.pending))
        self.waiting.subtract(map(seen_key, change.resolved))
        self.positions.update(change.positions)
        self.gaps = self.gaps if change.gaps is None else change.gaps
        self._apply_open(change)
        self._apply_executions(change)
        self._apply_minutes(change)

    def _apply_open(self, change: Change) -> None:
        for run in change.new_open:
            key = RunningKey(run.workflow_type, run.task_queue)
            start = change.execution_starts.get(run.run_id, 0)
            self.open[run.run_id] = OpenRun(key, run.due_time, run.status == PAUSED, start)
        for run_id, paused in change.paused.items():
            self.open[run_id] = self.open[run_id]._replace(paused=paused)
        for run_id in change.no_longer_open:
            self.open.pop(run_id, None)

    def _apply_executions(self, change: Change) -> None:
        for key, bucket, _, count, duration in change.observed:
            histogram = self.executions.setdefault(key, Histogram())
            histogram.counts[bucket] += count
            histogram.duration += duration
        for run_id, start in change.execution_starts.items():
            if run_id in self.open:
                self.open[run_id] = self.open[run_id]._replace(execution_start=start)
        for run_id, chain_run in change.chain_runs.items():
            self.chain_runs.setdefault(chain_run.run.workflow_id, {})[run_id] = chain_run
        for run_id, workflow_id in change.unchained.items():
            of_workflow = self.chain_runs.get(workflow_id, {})
            of_workflow.pop(run_id, None)
            if not of_workflow:
                self.chain_runs.pop(workflow_id, None)

    def _apply_minutes(self, change: Change) -> None:
        for run in change.closed_overdue:
            key = RunningKey(run.workflow_type, run.task_queue)
            self.closed_overdue[run.run_id] = ClosedOverdueRun(key, run.due_time, run.close_time)
        self.closed_overdue.update(change.overdue_executions)
        for slo, _, observed, overdue in change.evaluated:
            minutes = self.minutes.setdefault(slo, Minutes())
            minutes.observed += observed
            minutes.overdue += overdue
        if evaluated := change.positions.get(MINUTES):
            self.closed_overdue = {
                run_id: run for run_id, run in self.closed_overdue.items() if run.close_time > evaluated.position
            }
