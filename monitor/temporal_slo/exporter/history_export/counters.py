"""Counters and histograms of closed runs from the ledger's counts by minute, up to where the exposed counters start."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate, groupby
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Row, Select, Table, func, literal, select, union, union_all

from temporal_slo import names
from temporal_slo.exporter.exposition.renderer import number_text
from temporal_slo.exporter.history_export.openmetrics_file import (
    MAX_HISTOGRAM_SAMPLE_INTERVAL,
    ExportedFamily,
    ExportedSeries,
    Window,
    counter_samples,
    counter_suffix,
    histogram_suffixes,
)
from temporal_slo.ledger import closed_durations, schema
from temporal_slo.ledger.change import CLOSED
from temporal_slo.runs.counted import BUCKET_BOUNDS_MS, bucket_counts
from temporal_slo.runs.microseconds import MINUTE

FETCHED_ROWS: Final = 1000
"""Rows in memory at a time."""

MINUTE_MS: Final = 60_000


@dataclass(frozen=True, slots=True)
class NamespaceExport:
    """What to export of one namespace.

    Attributes:
        counting_start: First close time that the exposed counters include, in microseconds of Unix time.
        window: Time range of the samples; it ends at `counting_start`.
        labels: Labels of the scrape target, and the namespace.
        bounds_ms: Bucket bounds of durations, in milliseconds.
        run_types: Workflow types of which durations of runs are exported, besides those of executions.
    """

    namespace: str
    counting_start: int
    window: Window
    labels: Mapping[str, str]
    bounds_ms: tuple[int, ...]
    run_types: frozenset[str] = frozenset()


def counting_starts(connection: Connection) -> dict[str, int]:
    """Return the first close time that the exposed counters include, in microseconds of Unix time, by namespace."""
    table = schema.watermarks
    rows = connection.execute(select(table.c.namespace, table.c.lowest).where(table.c.list == CLOSED))
    return {row.namespace: row.lowest for row in rows}


def bucket_bounds_ms(connection: Connection, namespace: str) -> tuple[int, ...]:
    """Return all bucket bounds under which durations were counted, in milliseconds."""
    tables = schema.closed_minutes, schema.execution_minutes
    buckets = connection.scalars(
        union(*(select(table.c.bucket).where(table.c.namespace == namespace) for table in tables))
    )
    return tuple(sorted({*BUCKET_BOUNDS_MS, *(bucket for bucket in buckets if bucket > 0)}))


def backfill_progress(connection: Connection, namespace: str) -> tuple[int, int | None]:
    """Return the number of pending runs of the backfill, and the close time down to which it has read.

    The close time is in microseconds of Unix time; None without a backfill.
    """
    pending, progress = schema.backfill_pending, schema.backfill_progress
    count = select(func.count()).select_from(pending).where(pending.c.namespace == namespace)
    position = select(progress.c.position).where(progress.c.namespace == namespace)
    return connection.scalar(count) or 0, connection.scalar(position)


def families(connection: Connection, exports: Iterable[NamespaceExport]) -> Iterator[ExportedFamily]:
    """Yield the families. Read each completely before the next."""
    exports = list(exports)
    yield ExportedFamily(names.WORKFLOWS_CLOSED, (s for export in exports for s in _closed(connection, export)))
    durations = (s for export in exports for s in _durations(connection, export, executions=True))
    yield ExportedFamily(names.WORKFLOW_DURATION, durations)
    if by_run := [export for export in exports if export.run_types]:
        durations = (s for export in by_run for s in _durations(connection, export, executions=False))
        yield ExportedFamily(names.RUN_DURATION, durations)


def _closed(connection: Connection, export: NamespaceExport) -> Iterator[ExportedSeries]:
    keys = names.WORKFLOW_TYPE, names.TASK_QUEUE, names.STATUS, names.OUTCOME
    for labels, rows in _by_series(connection, export, keys):
        changes = ((_end_ms(minute), sum(row.runs for row in group)) for minute, group in _by_minute(rows))
        totals = accumulate(changes, lambda before, change: (change[0], before[1] + change[1]))
        samples = ((moment, (value,)) for moment, value in counter_samples(totals, 0, export.window))
        yield ExportedSeries(counter_suffix(labels), samples)


def _durations(connection: Connection, export: NamespaceExport, *, executions: bool) -> Iterator[ExportedSeries]:
    # Without _sum: the ledger stores none by minute, and an unknown value is left out, not 0.
    keys = names.WORKFLOW_TYPE, names.STATUS, names.OUTCOME
    bounds = [*(number_text(bound / 1000) for bound in export.bounds_ms), "+Inf"]
    types = None if executions else export.run_types
    for labels, rows in _by_series(connection, export, keys, executions=executions, types=types):
        totals, zero = _cumulative_buckets(rows, export.bounds_ms), (0,) * len(bounds)
        samples = counter_samples(totals, zero, export.window, MAX_HISTOGRAM_SAMPLE_INTERVAL)
        lines = ((moment, (*values, values[-1])) for moment, values in samples)
        yield ExportedSeries(histogram_suffixes(labels, bounds), lines)


def _cumulative_buckets(rows: Iterable[Row[Any]], bounds_ms: tuple[int, ...]) -> Iterator[tuple[int, tuple[int, ...]]]:
    counts: Counter[int] = Counter()
    for minute, group in _by_minute(rows):
        for row in group:
            counts[row.bucket] += row.runs
        yield _end_ms(minute), tuple(accumulate(bucket_counts(counts, bounds_ms)))


def _by_minute(rows: Iterable[Row[Any]]) -> Iterator[tuple[int, Iterator[Row[Any]]]]:
    return groupby(rows, lambda row: int(row.minute))


def _end_ms(minute: int) -> int:
    return (minute + 1) * MINUTE_MS


def _by_series(
    connection: Connection,
    export: NamespaceExport,
    keys: tuple[str, ...],
    *,
    executions: bool = False,
    types: Collection[str] | None = None,
) -> Iterator[tuple[dict[str, str], Iterator[Row[Any]]]]:
    """Yield the labels of each series with its rows, by minute. Read each series completely before the next.

    Args:
        connection: Of one state of the ledger.
        export: What to export.
        keys: Labels of a series.
        executions: Whether durations are those of executions, and not those of runs.
        types: Only these workflow types; None for all.
    """
    query = _query(export, keys, executions=executions, types=types)
    rows = connection.execution_options(yield_per=FETCHED_ROWS).execute(query)
    for values, group in groupby(rows, lambda row: row[: len(keys)]):
        yield {**export.labels, **dict(zip(keys, values, strict=True))}, group


def _query(
    export: NamespaceExport, keys: tuple[str, ...], *, executions: bool, types: Collection[str] | None
) -> Select[Any]:
    last_minute = export.counting_start // MINUTE

    def exported(table: Table) -> list[ColumnElement[bool]]:
        of_types = [] if types is None else [table.c.workflow_type.in_(types)]
        return [table.c.namespace == export.namespace, *of_types]

    def whole_minutes(table: Table) -> list[ColumnElement[bool]]:
        begin = export.window.begin // MINUTE_MS
        return [*exported(table), table.c.minute >= begin, table.c.minute < last_minute]

    # The minute in which counting started has live runs too: its backfilled runs are in a table of their own.
    runs = closed_durations.counts(schema.closed_minutes, whole_minutes, executions=executions)
    last = closed_durations.counts(schema.backfill_last_minute, exported, executions=executions)
    whole = select(*(runs.c[key] for key in keys), runs.c.bucket, runs.c.minute, runs.c.count)
    minute = literal(last_minute).label("minute")
    rest = select(*(last.c[key] for key in keys), last.c.bucket, minute, last.c.count)
    both = union_all(whole, rest).subquery()
    order: list[ColumnElement[Any]] = [*(both.c[key] for key in keys), both.c.minute, both.c.bucket]
    return select(*order, func.sum(both.c.count).label("runs")).group_by(*order).order_by(*order)
