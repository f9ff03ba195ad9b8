"""The ledger's totals by minute, up to where the exposed counters begin, as series of these."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate, groupby
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Row, Select, func, literal, select, union_all

from temporal_slo import names
from temporal_slo.exporter.exposition.renderer import number
from temporal_slo.exporter.history_export.openmetrics_file import (
    RARE,
    PastFamily,
    PastSeries,
    Window,
    counter_suffix,
    histogram_suffixes,
    sampled,
)
from temporal_slo.ledger import schema
from temporal_slo.ledger.change import CLOSED
from temporal_slo.runs.counted import BUCKET_BOUNDS_MS, bucket_counts
from temporal_slo.runs.microseconds import MINUTE

YIELD: Final = 1000
"""Rows in memory at a time."""


@dataclass(frozen=True, slots=True)
class Part:
    """What is told of one namespace.

    Attributes:
        lowest: The close time with which counting began, in microseconds; the exposed counters have all from there on.
        labels: Of the target, and the namespace.
        edges: Of duration buckets, in milliseconds.
    """

    namespace: str
    lowest: int
    window: Window
    labels: Mapping[str, str]
    edges: tuple[int, ...]


def begun(connection: Connection) -> dict[str, int]:
    """Return the close time with which counting began, in microseconds, by namespace."""
    table = schema.watermarks
    rows = connection.execute(select(table.c.namespace, table.c.lowest).where(table.c.list == CLOSED))
    return {row.namespace: row.lowest for row in rows}


def edges(connection: Connection, namespace: str) -> tuple[int, ...]:
    """Return the edges that durations were ever counted under, in milliseconds."""
    buckets = connection.scalars(
        select(schema.closed_minutes.c.bucket).where(schema.closed_minutes.c.namespace == namespace).distinct()
    )
    return tuple(sorted({*BUCKET_BOUNDS_MS, *(bucket for bucket in buckets if bucket > 0)}))


def unfinished(connection: Connection, namespace: str) -> tuple[int, int | None]:
    """Return how many runs of the past are not counted yet, and the close time down to which all are read, if any."""
    pending, past = schema.backfill_pending, schema.backfill_progress
    waiting = select(func.count()).select_from(pending).where(pending.c.namespace == namespace)
    reached = select(past.c.position).where(past.c.namespace == namespace)
    return connection.scalar(waiting) or 0, connection.scalar(reached)


def families(connection: Connection, parts: Iterable[Part]) -> Iterator[PastFamily]:
    """Yield the families of the past, each to be read before the next."""
    parts = list(parts)
    yield PastFamily(names.WORKFLOWS_CLOSED, (one for part in parts for one in _closed(connection, part)))
    yield PastFamily(names.WORKFLOW_DURATION, (one for part in parts for one in _durations(connection, part)))


def _closed(connection: Connection, part: Part) -> Iterator[PastSeries]:
    keys = names.WORKFLOW_TYPE, names.TASK_QUEUE, names.STATUS, names.OUTCOME
    for labels, rows in _by_series(connection, part, keys):
        changes = ((_end(minute), sum(row.runs for row in group)) for minute, group in _by_minute(rows))
        totals = accumulate(changes, lambda before, change: (change[0], before[1] + change[1]))
        samples = ((moment, (value,)) for moment, value in sampled(totals, 0, part.window))
        yield PastSeries(counter_suffix(labels), samples)


def _durations(connection: Connection, part: Part) -> Iterator[PastSeries]:
    # No sum: the ledger keeps none by minute, and an unknown sum is left out, not 0.
    keys = names.WORKFLOW_TYPE, names.STATUS, names.OUTCOME
    bounds = [*(number(edge / 1000) for edge in part.edges), "+Inf"]
    for labels, rows in _by_series(connection, part, keys):
        samples = sampled(_buckets(rows, part.edges), (0,) * len(bounds), part.window, RARE)
        lines = ((moment, (*values, values[-1])) for moment, values in samples)
        yield PastSeries(histogram_suffixes(labels, bounds), lines)


def _buckets(rows: Iterable[Row[Any]], edges: tuple[int, ...]) -> Iterator[tuple[int, tuple[int, ...]]]:
    counts: Counter[int] = Counter()
    for minute, group in _by_minute(rows):
        for row in group:
            counts[row.bucket] += row.runs
        yield _end(minute), tuple(accumulate(bucket_counts(counts, edges)))


def _by_minute(rows: Iterable[Row[Any]]) -> Iterator[tuple[int, Iterator[Row[Any]]]]:
    return groupby(rows, lambda row: int(row.minute))


def _end(minute: int) -> int:
    return (minute + 1) * 60_000


def _by_series(
    connection: Connection, part: Part, keys: tuple[str, ...]
) -> Iterator[tuple[dict[str, str], Iterator[Row[Any]]]]:
    """Yield the labels of each series with its rows, by minute; a series is to be read before the next."""
    rows = connection.execution_options(yield_per=YIELD).execute(_query(part, keys))
    for values, group in groupby(rows, lambda row: row[: len(keys)]):
        yield {**part.labels, **dict(zip(keys, values, strict=True))}, group


def _query(part: Part, keys: tuple[str, ...]) -> Select[Any]:
    table, last = schema.closed_minutes, schema.backfill_last_minute
    minute = part.lowest // MINUTE
    # The minute in which counting began has runs of both sides: what it has of the past is kept by itself.
    whole = select(*(table.c[key] for key in keys), table.c.bucket, table.c.minute, table.c.count).where(
        table.c.namespace == part.namespace,
        table.c.minute >= part.window.begin // 60_000,
        table.c.minute < minute,
    )
    rest = select(*(last.c[key] for key in keys), last.c.bucket, literal(minute).label("minute"), last.c.count).where(
        last.c.namespace == part.namespace
    )
    both = union_all(whole, rest).subquery()
    order: list[ColumnElement[Any]] = [*(both.c[key] for key in keys), both.c.minute, both.c.bucket]
    return select(*order, func.sum(both.c.count).label("runs")).group_by(*order).order_by(*order)
