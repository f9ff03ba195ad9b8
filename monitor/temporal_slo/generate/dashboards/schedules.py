"""Panels of schedules: last actions, and actions not taken."""

from temporal_slo import names
from temporal_slo.generate.dashboards.common import (
    GREEN,
    ORANGE,
    RATE_INTERVAL,
    RED,
    TEXT,
    YELLOW,
    YES_IS_RED,
    label_legend,
    max_by,
    select,
    table_query,
)
from temporal_slo.generate.kit import Column, Panel, Query, Threshold, table, timeseries


def schedules() -> Panel:
    """Return the table of schedules."""
    key = names.SCHEDULE_ID, names.NAMESPACE
    exprs = (
        max_by(names.SCHEDULE_OVERDUE, *key),
        f"time() - {max_by(names.SCHEDULE_LAST_ACTION, *key)}",
        max_by(names.SCHEDULE_PAUSED, *key),
        max_by(names.SCHEDULE_BUFFERED, *key),
    )
    columns = (
        Column(names.SCHEDULE_ID, "Schedule"),
        Column(names.NAMESPACE, "Temporal namespace"),
        Column("A", "Overdue", "s", 0, (Threshold(TEXT), Threshold(ORANGE, 60), Threshold(RED, 600))),
        Column("B", "Last action", "s", 0),
        Column("C", "Paused", thresholds=(Threshold(GREEN), Threshold(YELLOW, 1)), mappings=YES_IS_RED),
        Column("D", "Buffered actions", "locale", 0),
    )
    return table(
        "Schedules",
        "Time since the last action of each schedule, and how long the next action is overdue.",
        *map(table_query, exprs),
        columns=columns,
        size=(12, 8),
        sort_by=("A", True),
    )


def actions_not_taken() -> Panel:
    """Return the actions that schedules missed, skipped or dropped."""
    kinds = (
        (names.SCHEDULE_MISSED_CATCHUP, "missed"),
        (names.SCHEDULE_OVERLAP_SKIPPED, "skipped"),
        (names.SCHEDULE_BUFFER_DROPPED, "dropped"),
    )
    # max, not sum: every replica of the exporter exposes the server's counters.
    queries = (
        Query(
            f"max by ({names.SCHEDULE_ID}) (increase({select(family)}[{RATE_INTERVAL}]))",
            f"{label_legend(names.SCHEDULE_ID)} {kind}",
        )
        for family, kind in kinds
    )
    return timeseries(
        "Schedule actions not taken",
        "Missed: older than the catch-up window. Skipped: overlap with a running workflow. Dropped: buffer full.",
        *queries,
        unit="short",
        bars=True,
    )
