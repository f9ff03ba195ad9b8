"""Writes a change to the ledger's tables."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from functools import cache
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Table, bindparam, delete, insert, update

from temporal_slo.ledger import chains, schema, upserts
from temporal_slo.ledger.change import MINUTES, Change, Gap, Position
from temporal_slo.names import STORED_COUNTERS
from temporal_slo.names.values import FAILED, PAUSED, TIMED_OUT
from temporal_slo.runs.counted import ClosedKey, FailureKey
from temporal_slo.runs.microseconds import MINUTE
from temporal_slo.runs.run import Run

Rows = Iterator[dict[str, Any]]

URGENT: Final = (FAILED, TIMED_OUT)
RANKS: Final = (0, 1)
"""Kinds of runs that wait for their close event: failures, whose types are urgent, and all others."""


def write(connection: Connection, namespace: str, epoch: int, change: Change, now: int) -> None:
    """Write all of *change*.

    Args:
        connection: An open transaction.
        namespace: Temporal namespace.
        epoch: The epoch of totals.
        change: What to write.
        now: Current time, in microseconds of Unix time.
    """
    for table, rows in new_rows(change, now):
        upserts.insert_missing(connection, table, _of(namespace, rows))
    _set_paused(connection, namespace, change.paused)
    chains.write(connection, namespace, change)
    delete_runs(connection, schema.open_runs, namespace, change.no_longer_open)
    delete_runs(connection, schema.pending, namespace, [run.run_id for run in change.resolved])
    for table, rows in increments(change):
        counts = _of(namespace, rows)
        if "epoch" in table.c:
            counts = [row | {"epoch": epoch} for row in counts]
        upserts.increment(connection, table, counts)
    _write_positions(connection, namespace, change.positions)
    if change.gaps is not None:
        _replace_gaps(connection, namespace, change.gaps)


def mark_released(connection: Connection, namespace: str, epoch: int, series: Iterable[str]) -> None:
    """Store that the initial zero of these counter series was scraped."""
    rows = [{"namespace": namespace, "epoch": epoch, "series": name} for name in series]
    upserts.insert_missing(connection, schema.released_series, rows)


def new_rows(change: Change, now: int) -> Iterator[tuple[Table, Rows]]:
    """Yield each table of runs with the rows that *change* adds.

    Args:
        change: What to write.
        now: Current time, in microseconds of Unix time.
    """
    inserted = {"inserted": now}
    yield schema.seen, (run_row(schema.seen, run) | inserted for run in change.new_closed)
    yield schema.open_runs, (_open_row(run, change.execution_starts) for run in change.new_open)
    yield schema.pending, (run_row(schema.pending, run) | {"rank": _rank(run)} | inserted for run in change.pending)
    yield schema.closed_overdue_runs, (run_row(schema.closed_overdue_runs, run) for run in change.closed_overdue)
    yield schema.bad_runs, _bad_rows(change)


def increments(change: Change) -> Iterator[tuple[Table, Rows]]:
    """Yield each table of counts with the increments that *change* makes, one row a key."""
    yield from _closed_increments(change)
    yield schema.started_totals, (key._asdict() | {"count": count} for key, count in change.started.items())
    yield from chains.increments(change.observed)
    yield from _minute_increments(change)
    yield (
        schema.other_totals,
        ({"name": STORED_COUNTERS[family], "count": count} for family, count in change.counters.items()),
    )


def run_row(table: Table, run: Run) -> dict[str, Any]:
    """Return the columns of *table* that are attributes of *run*."""
    return {name: getattr(run, name) for name in _run_columns(table)}


def delete_runs(connection: Connection, table: Table, namespace: str, run_ids: Sequence[str]) -> None:
    """Delete the rows of these runs."""
    if run_ids:
        connection.execute(delete(table).where(*_one_run(table, namespace)), [{"key": run_id} for run_id in run_ids])


@cache
def _run_columns(table: Table) -> tuple[str, ...]:
    names = {field.name for field in fields(Run)}
    return tuple(column.name for column in table.columns if column.name in names)


def _of(namespace: str, rows: Rows) -> list[dict[str, Any]]:
    return [{"namespace": namespace, **row} for row in rows]


def _closed_increments(change: Change) -> Iterator[tuple[Table, Rows]]:
    counts: Counter[tuple[ClosedKey, int]] = Counter()
    durations: Counter[tuple[ClosedKey, int]] = Counter()
    minutes: Counter[tuple[ClosedKey, int, int]] = Counter()
    failures: Counter[FailureKey] = Counter()
    for counted in change.counted:
        bucket = counted.bucket
        counts[counted.key, bucket] += 1
        durations[counted.key, bucket] += counted.run.duration
        minutes[counted.key, bucket, counted.run.close_time // MINUTE] += 1
        if counted.classification.failure_type:
            failures[counted.failure] += 1
    yield (
        schema.closed_totals,
        (k._asdict() | {"bucket": b, "count": n, "duration": durations[k, b]} for (k, b), n in counts.items()),
    )
    yield (
        schema.closed_minutes,
        (k._asdict() | {"bucket": b, "minute": m, "count": n} for (k, b, m), n in minutes.items()),
    )
    yield schema.failure_totals, (k._asdict() | {"count": n} for k, n in failures.items())


def _minute_increments(change: Change) -> Iterator[tuple[Table, Rows]]:
    observed: Counter[str] = Counter()
    overdue: Counter[str] = Counter()
    for row in change.evaluated:
        observed[row.slo] += row.observed
        overdue[row.slo] += row.overdue
    yield schema.minute_totals, ({"slo": k, "observed": n, "overdue": overdue[k]} for k, n in observed.items())
    yield schema.minute_hours, (row._asdict() for row in change.evaluated)


def _open_row(run: Run, execution_starts: Mapping[str, int]) -> dict[str, Any]:
    columns = {"paused": int(run.status == PAUSED), "execution_start": execution_starts.get(run.run_id, 0)}
    return run_row(schema.open_runs, run) | columns


def _bad_rows(change: Change) -> Rows:
    for counted in (*change.counted, *change.bad_executions):
        for slo in counted.bad_for:
            yield {"slo": slo, **run_row(schema.bad_runs, counted.run), **counted.classification._asdict()}


def _rank(run: Run) -> int:
    return RANKS[run.status not in URGENT]


def _set_paused(connection: Connection, namespace: str, paused: Mapping[str, bool]) -> None:
    if paused:
        statement = update(schema.open_runs).where(*_one_run(schema.open_runs, namespace))
        rows = [{"key": run_id, "value": int(is_paused)} for run_id, is_paused in paused.items()]
        connection.execute(statement.values(paused=bindparam("value")), rows)


def _one_run(table: Table, namespace: str) -> tuple[ColumnElement[bool], ...]:
    # One statement a run, by primary key: PostgreSQL may scan the whole namespace for a list of ids.
    return table.c.namespace == namespace, table.c.run_id == bindparam("key")


def _write_positions(connection: Connection, namespace: str, positions: Mapping[str, Position]) -> None:
    rows = [{"namespace": namespace, "list": name, **position._asdict()} for name, position in positions.items()]
    upserts.replace(connection, schema.watermarks, rows, "position")
    if evaluated := positions.get(MINUTES):
        for table in (schema.closed_overdue_runs, schema.closed_overdue_executions):
            over = table.c.namespace == namespace, table.c.close_time <= evaluated.position
            connection.execute(delete(table).where(*over))


def _replace_gaps(connection: Connection, namespace: str, gaps: Iterable[Gap]) -> None:
    connection.execute(delete(schema.gaps).where(schema.gaps.c.namespace == namespace))
    if rows := [{"namespace": namespace, **gap._asdict()} for gap in gaps]:
        connection.execute(insert(schema.gaps), rows)
