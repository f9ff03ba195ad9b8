"""Changes: what one page of rows or one batch of close events changes in the ledger."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from temporal_slo.runs.counted import Counted, RunningKey
from temporal_slo.runs.run import Run

CLOSED: Final = "closed"

OPEN: Final = "running"

MINUTES: Final = "minutes"

AUDIT: Final = "audit"
"""The positions of both lists, of the minutes that were judged overdue or not, and of the audit of closed runs."""

VANISHED: Final = "vanished"

UNKNOWN_STATUS: Final = "unknown_status"

LATE: Final = "late"

GONE: Final = "gone"

REPAIRED: Final = "repaired"

RECONCILED: Final = "reconciled"

OTHER_FAILURES: Final = "other_failures"


class Gap(NamedTuple):
    """Close times, both ends included, that were passed over and are still to be read."""

    low: int
    high: int


class Position(NamedTuple):
    """How far down a list was read: nothing below `lowest` ever, everything up to `position` but for gaps."""

    lowest: int
    position: int


class Judged(NamedTuple):
    """Minutes of an hour (of Unix time) that were judged for an SLO: how many, and how many of them were overdue."""

    slo: str
    hour: int
    observed: int
    overdue: int


@dataclass
class Change:
    """What one page of rows, or one batch of close events, changes; it happens whole or not at all.

    Attributes:
        seen: Closed runs that are new.
        counted: Closed runs to count.
        pending: Closed runs that wait for their close event.
        settled: Ids of runs that wait no longer.
        opened: Open runs that are new.
        paused: Whether open runs are paused, by id, if that has changed.
        left: Ids of runs that are open no longer.
        long: Closed runs that were overdue in minutes which are not judged yet.
        judged: Minutes that are judged.
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
    paused: dict[str, bool] = field(default_factory=dict)
    left: list[str] = field(default_factory=list)
    long: list[Run] = field(default_factory=list)
    judged: list[Judged] = field(default_factory=list)
    started: Counter[RunningKey] = field(default_factory=Counter)
    others: Counter[str] = field(default_factory=Counter)
    positions: dict[str, Position] = field(default_factory=dict)
    gaps: tuple[Gap, ...] | None = None
