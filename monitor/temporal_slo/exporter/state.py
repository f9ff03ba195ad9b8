"""What the mirror knows, in memory as in the ledger, and the changes that move both on together."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from temporal_slo.exporter.snapshot import BUCKETS, ClosedKey, FailureKey, RunningKey
from temporal_slo.exporter.visibility import Run

SECOND: Final = 1_000_000
"""Microseconds, the unit of every time and duration here."""

EDGES: Final = tuple(round(edge * 1000) for edge in BUCKETS)

ABOVE: Final = -1
"""The bucket of durations above every edge."""

CLOSED: Final = "closed"
OPEN: Final = "running"

VANISHED: Final = "vanished"
UNKNOWN_STATUS: Final = "unknown_status"
LATE: Final = "late"
GONE: Final = "gone"
OTHER_FAILURES: Final = "other_failures"


class Verdict(NamedTuple):
    """What a closed run is counted as; the failure type is empty if there is none."""

    status: str
    outcome: str
    failure_type: str = ""


class Counted(NamedTuple):
    """A closed run, what it is counted as, and the bucket of its duration."""

    run: Run
    verdict: Verdict
    bucket: int

    @property
    def key(self) -> ClosedKey:
        """The series that it is counted in."""
        return ClosedKey(self.run.workflow_type, self.run.task_queue, self.verdict.status, self.verdict.outcome)

    @property
    def failure(self) -> FailureKey:
        """The series of failures that it is counted in, if it has a failure type."""
        return FailureKey(self.run.workflow_type, self.verdict.status, self.verdict.failure_type)


class Gap(NamedTuple):
    """Close times, both ends included, that were passed over and are still to be read."""

    low: int
    high: int


class Position(NamedTuple):
    """How far down a list was read: nothing below `lowest` ever, everything up to `position` but for gaps."""

    lowest: int
    position: int


@dataclass
class Change:
    """What one page of rows, or one batch of close events, changes; it happens whole or not at all.

    Attributes:
        seen: Closed runs that are new.
        counted: Closed runs to count.
        pending: Closed runs that wait for their close event.
        settled: Ids of runs that wait no longer.
        opened: Open runs that are new.
        left: Ids of runs that are open no longer.
        started: Runs that were not known before.
        others: Counters of the exporter itself.
        positions: New positions, by list.
        gaps: All gaps there are from now on; None for no change.
    """

    seen: list[Run] = field(default_factory=list)
    counted: list[Counted] = field(default_factory=list)
    pending: list[Run] = field(default_factory=list)
    settled: list[str] = field(default_factory=list)
    opened: list[Run] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    started: Counter[RunningKey] = field(default_factory=Counter)
    others: Counter[str] = field(default_factory=Counter)
    positions: dict[str, Position] = field(default_factory=dict)
    gaps: tuple[Gap, ...] | None = None


class OpenRun(NamedTuple):
    """An open run, as far as memory holds it."""

    key: RunningKey
    due_time: int


@dataclass
class Histogram:
    """Durations of one series: runs by bucket, and the sum in microseconds."""

    counts: Counter[int] = field(default_factory=Counter)
    duration: int = 0

    @property
    def count(self) -> int:
        """Runs in all."""
        return self.counts.total()


class OverdueRule(NamedTuple):
    """When an open run is overdue.

    Attributes:
        task_queue: None for any.
        max_age: Microseconds since it was due to execute.
    """

    slo: str
    workflow_types: tuple[str, ...]
    task_queue: str | None
    max_age: int


@dataclass
class State:
    """All that the mirror of one namespace knows.

    Attributes:
        waiting: Number of closed runs that wait for their close event.
        edges: Upper edges of the duration buckets, in milliseconds, rising.
        overdue: When open runs are overdue, as the spec has it.
        watched: Workflow types of the spec, with the outcomes that a completed run may have.
    """

    positions: dict[str, Position] = field(default_factory=dict)
    gaps: tuple[Gap, ...] = ()
    open: dict[str, OpenRun] = field(default_factory=dict)
    closed: dict[ClosedKey, Histogram] = field(default_factory=dict)
    started: Counter[RunningKey] = field(default_factory=Counter)
    failures: Counter[FailureKey] = field(default_factory=Counter)
    others: Counter[str] = field(default_factory=Counter)
    waiting: int = 0
    edges: tuple[int, ...] = EDGES
    overdue: tuple[OverdueRule, ...] = ()
    watched: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def apply(self, change: Change) -> None:
        """Move on as the ledger did."""
        for counted in change.counted:
            histogram = self.closed.setdefault(counted.key, Histogram())
            histogram.counts[counted.bucket] += 1
            histogram.duration += counted.run.duration
            if counted.verdict.failure_type:
                self.failures[counted.failure] += 1
        self.started.update(change.started)
        self.others.update(change.others)
        self.waiting += len(change.pending) - len(change.settled)
        for run in change.opened:
            self.open[run.run_id] = OpenRun(RunningKey(run.workflow_type, run.task_queue), run.due_time)
        for run_id in change.left:
            self.open.pop(run_id, None)
        self.positions.update(change.positions)
        self.gaps = self.gaps if change.gaps is None else change.gaps


def bucket(duration: int, edges: Iterable[int]) -> int:
    """Return the bucket of a duration in microseconds among *edges*: its upper edge in milliseconds, or ABOVE."""
    return next((edge for edge in edges if duration <= edge * 1000), ABOVE)


def cumulative(counts: Counter[int], edges: Iterable[int]) -> tuple[int, ...]:
    """Return how many runs lie in each bucket of *edges* (milliseconds, rising) and above, not cumulative.

    Runs counted under an edge that is no more belong to the next one above, which they do not exceed either.
    """
    kept = [*edges, float("inf")]
    slots = [0] * len(kept)
    for edge, count in counts.items():
        value = float("inf") if edge == ABOVE else edge
        slots[next(index for index, upper in enumerate(kept) if value <= upper)] += count
    return tuple(slots)
