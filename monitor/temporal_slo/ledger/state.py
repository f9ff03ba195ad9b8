"""What the mirror knows, in memory as in the ledger, and the changes that move both on together."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from temporal_slo.exporter.mirror.slo_rules import OverdueRule, Promise
from temporal_slo.ledger.change import MINUTES, Change, Gap, Position
from temporal_slo.names.samples import Exemplar
from temporal_slo.names.values import BAD, PAUSED
from temporal_slo.runs.counted import (
    BUCKET_BOUNDS_MS,
    Classification,
    ClosedKey,
    Counted,
    FailureKey,
    RunningKey,
    bucket,
)
from temporal_slo.runs.microseconds import SECOND
from temporal_slo.runs.run import Run


class OpenRun(NamedTuple):
    """An open run, as far as memory holds it."""

    key: RunningKey
    due_time: int
    paused: bool = False


class LongRun(NamedTuple):
    """A closed run that was overdue, as long as the minutes in which it was are not judged."""

    key: RunningKey
    due_time: int
    close_time: int


@dataclass
class Histogram:
    """Durations of one series: runs by bucket, and the sum in microseconds."""

    counts: Counter[int] = field(default_factory=Counter)
    duration: int = 0

    @property
    def count(self) -> int:
        """Runs in all."""
        return self.counts.total()


@dataclass
class Minutes:
    """Minutes that were judged for an SLO since the ledger began."""

    observed: int = 0
    overdue: int = 0


@dataclass
class State:
    """All that the mirror of one namespace knows.

    Attributes:
        waiting: Number of closed runs that wait for their close event.
        drift: Closed runs that the server counted beyond ours, in the last slice that was audited; None before.
        edges: Upper edges of the duration buckets, in milliseconds, rising.
        long: Closed runs that were overdue in minutes which are not judged yet, by id.
        minutes: Minutes that are judged, by SLO.
        overdue: When open runs are overdue, as the spec has it.
        promises: Whose budget closed runs may spend, as the spec has it.
        latencies: The threshold of each latency SLO, in milliseconds.
        measured: Since when each of them is measured.
        watched: Workflow types of the spec, with the outcomes that a completed run may have.
        exemplars: The newest run of each series whose runs went wrong, of those that were counted since the process
            began: no ledger keeps them.
        tell_ids: Whether there are any; False where ids are not to leave the exporter.
    """

    positions: dict[str, Position] = field(default_factory=dict)
    gaps: tuple[Gap, ...] = ()
    open: dict[str, OpenRun] = field(default_factory=dict)
    closed: dict[ClosedKey, Histogram] = field(default_factory=dict)
    started: Counter[RunningKey] = field(default_factory=Counter)
    failures: Counter[FailureKey] = field(default_factory=Counter)
    others: Counter[str] = field(default_factory=Counter)
    waiting: int = 0
    long: dict[str, LongRun] = field(default_factory=dict)
    minutes: dict[str, Minutes] = field(default_factory=dict)
    drift: int | None = None
    edges: tuple[int, ...] = BUCKET_BOUNDS_MS
    overdue: tuple[OverdueRule, ...] = ()
    promises: tuple[Promise, ...] = ()
    latencies: Mapping[str, int] = field(default_factory=dict)
    measured: Mapping[int, int] = field(default_factory=dict)
    watched: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    exemplars: dict[ClosedKey | FailureKey, Exemplar] = field(default_factory=dict)
    tell_ids: bool = True

    def counted(self, run: Run, verdict: Classification) -> Counted:
        """Return *run* as it is to be counted."""
        spent = tuple(
            promise.slo
            for promise in self.promises
            if run.workflow_type in promise.workflow_types
            and promise.task_queue in {None, run.task_queue}
            and promise.broken(verdict.status, verdict.outcome, run.duration)
        )
        return Counted(run, verdict, bucket(run.duration, self.edges), spent)

    def was_overdue(self, run: Run) -> bool:
        """Return whether a closed run was overdue by any rule in minutes that are not judged yet."""
        judged = self.positions.get(MINUTES)
        if judged and run.close_time < judged.position:
            return False
        key, age = RunningKey(run.workflow_type, run.task_queue), run.close_time - run.due_time
        return any(age > rule.max_age and rule.fits(key) for rule in self.overdue)

    def apply(self, change: Change) -> None:
        """Move on as the ledger did."""
        for counted in change.counted:
            histogram = self.closed.setdefault(counted.key, Histogram())
            histogram.counts[counted.bucket] += 1
            histogram.duration += counted.run.duration
            if counted.classification.failure_type:
                self.failures[counted.failure] += 1
            if self.tell_ids:
                self._exemplify(counted)
        self.started.update(change.started)
        self.others.update(change.others)
        self.waiting += len(change.pending) - len(change.settled)
        self._apply_open(change)
        self.positions.update(change.positions)
        self.gaps = self.gaps if change.gaps is None else change.gaps
        self._apply_minutes(change)

    def _exemplify(self, counted: Counted) -> None:
        run, (_, outcome, failure_type) = counted.run, counted.classification
        closed = run.close_time / SECOND
        keys = (counted.key, counted.failure) if failure_type else (counted.key,) if outcome == BAD else ()
        for key in keys:
            # Close events come in any order; Prometheus refuses an exemplar that is older than the one it has.
            if key not in self.exemplars or self.exemplars[key].timestamp <= closed:
                self.exemplars[key] = Exemplar(run.workflow_id, run.run_id, closed)

    def _apply_open(self, change: Change) -> None:
        for run in change.opened:
            key = RunningKey(run.workflow_type, run.task_queue)
            self.open[run.run_id] = OpenRun(key, run.due_time, run.status == PAUSED)
        for run_id, paused in change.paused.items():
            self.open[run_id] = self.open[run_id]._replace(paused=paused)
        for run_id in change.left:
            self.open.pop(run_id, None)

    def _apply_minutes(self, change: Change) -> None:
        for run in change.long:
            key = RunningKey(run.workflow_type, run.task_queue)
            self.long[run.run_id] = LongRun(key, run.due_time, run.close_time)
        for slo, _, observed, overdue in change.judged:
            minutes = self.minutes.setdefault(slo, Minutes())
            minutes.observed += observed
            minutes.overdue += overdue
        if judged := change.positions.get(MINUTES):
            self.long = {run_id: run for run_id, run in self.long.items() if run.close_time > judged.position}
