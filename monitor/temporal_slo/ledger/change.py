"""Changes: what one page of rows, or one batch of close events, changes in the ledger and in memory."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from temporal_slo.names import Family
from temporal_slo.runs.counted import Counted, RunningKey
from temporal_slo.runs.executions import ChainRun, Observation
from temporal_slo.runs.run import Run

CLOSED: Final = "closed"
OPEN: Final = "running"
MINUTES: Final = "minutes"
AUDIT: Final = "audit"
"""What has a position: the lists of closed and of open runs, the overdue minutes, and the audit of closed runs."""


GOES_ON: Final = -1
"""Instead of the start of an execution: it goes on in another run."""


class Gap(NamedTuple):
    """Close times, both ends included, that are not ingested yet."""

    low: int
    high: int


class Position(NamedTuple):
    """How far a list is read: nothing below `lowest`, everything up to `position` except gaps."""

    lowest: int
    position: int


class EvaluatedHour(NamedTuple):
    """Evaluated minutes of one hour of Unix time for one SLO: how many, and how many of them were overdue."""

    slo: str
    hour: int
    observed: int
    overdue: int


class ClosedOverdueRun(NamedTuple):
    """A closed run that was overdue, kept until the minutes in which it was overdue are evaluated.

    Attributes:
        execution_start: When its execution was due: 0 for `due_time`, `GOES_ON` if the execution goes on in the next
            run, with which it counts.
    """

    key: RunningKey
    due_time: int
    close_time: int
    execution_start: int = 0


@dataclass
class Change:
    """What one page of rows, or one batch of close events, changes. It is applied completely or not at all.

    Attributes:
        new_closed: Closed runs not seen before.
        counted: Closed runs to count.
        pending: Closed runs that wait for their close event.
        resolved: Runs that no longer wait.
        new_open: Open runs not seen before.
        paused: Whether an open run is paused, by run id, where that changed.
        no_longer_open: Ids of runs that are no longer open.
        closed_overdue: Closed runs that were overdue in minutes not evaluated yet.
        overdue_executions: Since when the execution of a closed run is open, or that it goes on, where that is not the
            run's own age; by run id.
        chain_runs: Closed runs that may be part of a chain, by run id.
        unchained: Workflow ids of closed runs about which nothing is left to find out, by run id.
        execution_starts: Start of the execution of open runs, by run id.
        observed: Differences between the durations of executions and those of runs.
        bad_executions: Runs counted before whose execution now consumes the error budget of an SLO.
        evaluated: Minutes evaluated now.
        started: Runs not seen before, by series.
        counters: Increments of the exporter's own counters.
        positions: New positions, by list.
        gaps: All gaps from now on; None for no change.
    """

    new_closed: list[Run] = field(default_factory=list)
    counted: list[Counted] = field(default_factory=list)
    pending: list[Run] = field(default_factory=list)
    resolved: list[Run] = field(default_factory=list)
    new_open: list[Run] = field(default_factory=list)
    paused: dict[str, bool] = field(default_factory=dict)
    no_longer_open: list[str] = field(default_factory=list)
    closed_overdue: list[Run] = field(default_factory=list)
    overdue_executions: dict[str, ClosedOverdueRun] = field(default_factory=dict)
    chain_runs: dict[str, ChainRun] = field(default_factory=dict)
    unchained: dict[str, str] = field(default_factory=dict)
    execution_starts: dict[str, int] = field(default_factory=dict)
    observed: list[Observation] = field(default_factory=list)
    bad_executions: list[Counted] = field(default_factory=list)
    evaluated: list[EvaluatedHour] = field(default_factory=list)
    started: Counter[RunningKey] = field(default_factory=Counter)
    counters: Counter[Family] = field(default_factory=Counter)
    positions: dict[str, Position] = field(default_factory=dict)
    gaps: tuple[Gap, ...] | None = None
