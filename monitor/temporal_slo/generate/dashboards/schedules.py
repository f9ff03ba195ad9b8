"""What schedules do, and leave out."""

from temporal_slo import names
from temporal_slo.generate.dashboards.common import BAD, GOOD, HIGH, NO_YES, WARN, by_legend, column, of, peak
from temporal_slo.generate.kit import Column, Query, Step, table, timeseries
from temporal_slo.generate.kit.parts import Panel


def schedules() -> Panel:
    """Return when each acted last."""
    key = names.SCHEDULE_ID, names.NAMESPACE
    exprs = (
        peak(names.SCHEDULE_OVERDUE, *key),
        f"time() - {peak(names.SCHEDULE_LAST_ACTION, *key)}",
        peak(names.SCHEDULE_PAUSED, *key),
        peak(names.SCHEDULE_BUFFERED, *key),
    )
    columns = (
        Column(names.SCHEDULE_ID, "Schedule"),
        Column(names.NAMESPACE, "Temporal namespace"),
        Column("A", "Overdue", "s", 0, (Step("text"), Step(HIGH, 60), Step(BAD, 600))),
        Column("B", "Last action ago", "s", 0),
        Column("C", "Paused", steps=(Step(GOOD), Step(WARN, 1)), words=NO_YES),
        Column("D", "Waiting actions", "locale", 0),
    )
    return table(
        "Schedules",
        "When each schedule acted last, and whether it should have since.",
        *map(column, exprs),
        columns=columns,
        size=(12, 8),
        sorted_by=("A", True),
    )


def skipped() -> Panel:
    """Return what they left out."""
    kinds = (
        (names.SCHEDULE_MISSED_CATCHUP, "missed"),
        (names.SCHEDULE_OVERLAP_SKIPPED, "skipped"),
        (names.SCHEDULE_BUFFER_DROPPED, "dropped"),
    )
    # The server's counts: each replica tells the same.
    queries = (
        Query(
            f"max by ({names.SCHEDULE_ID}) (increase({of(family)}[$__rate_interval]))",
            f"{by_legend(names.SCHEDULE_ID)} {word}",
        )
        for family, word in kinds
    )
    return timeseries(
        "Actions that were not taken",
        "Missed: due longer ago than the catch-up window. Skipped: the run before went on. Dropped: too many waited.",
        *queries,
        unit="short",
        bars=True,
    )
