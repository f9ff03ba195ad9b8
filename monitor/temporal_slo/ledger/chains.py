"""Chains in the ledger: closed runs that may be part of one, and what executions add to the durations of runs."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Table, bindparam, delete, func, select, update

from temporal_slo.ledger import schema, upserts
from temporal_slo.ledger.change import Change, ClosedOverdueRun
from temporal_slo.names.values import FAILED, TIMED_OUT
from temporal_slo.runs.counted import Classification, ClosedKey
from temporal_slo.runs.executions import ChainRun, Observation
from temporal_slo.runs.run import Run

Rows = Iterator[dict[str, Any]]

RUN_COLUMNS: Final = tuple(field.name for field in fields(Run))
LABELS: Final = ("workflow_type", "task_queue")
KNOWN_LATER: Final = (*LABELS, "execution_start", "counted_status", "outcome", "failure_type", "bucket")
"""Columns of a chain run that change; the labels become those under which it is counted."""

CHUNK: Final = 500
"""Values in one `IN (…)`."""


def write(connection: Connection, namespace: str, change: Change) -> None:
    """Write what *change* says about chains, except counts."""
    replace(connection, schema.chain_runs, namespace, change.chain_runs.values())
    remove(connection, schema.chain_runs, namespace, change.unchained)
    inserted = {run.run_id for run in change.new_open}
    starts = {run_id: start for run_id, start in change.execution_starts.items() if run_id not in inserted}
    _set_starts(connection, namespace, starts)
    _write_overdue(connection, namespace, change.overdue_executions)


def replace(connection: Connection, table: Table, namespace: str, chain_runs: Iterable[ChainRun]) -> None:
    """Write *chain_runs* to *table*; those that it has are replaced."""
    rows = [{"namespace": namespace, **_row(chain_run)} for chain_run in chain_runs]
    upserts.replace(connection, table, rows, *KNOWN_LATER)


def remove(connection: Connection, table: Table, namespace: str, run_ids: Iterable[str]) -> None:
    """Delete the chain runs with these ids from *table*."""
    if rows := [{"key": run_id} for run_id in run_ids]:
        of_run = table.c.namespace == namespace, table.c.run_id == bindparam("key")
        connection.execute(delete(table).where(*of_run), rows)


def increments(observed: Iterable[Observation]) -> Iterator[tuple[Table, Rows]]:
    """Yield each table of executions with the increments of *observed*, one row a key."""
    counts: Counter[tuple[ClosedKey, int]] = Counter()
    durations: Counter[tuple[ClosedKey, int]] = Counter()
    minutes: Counter[tuple[ClosedKey, int, int]] = Counter()
    for key, bucket, minute, count, duration in observed:
        counts[key, bucket] += count
        durations[key, bucket] += duration
        minutes[key, bucket, minute] += count
    yield (
        schema.execution_totals,
        (k._asdict() | {"bucket": b, "count": n, "duration": durations[k, b]} for (k, b), n in counts.items()),
    )
    yield (
        schema.execution_minutes,
        (k._asdict() | {"bucket": b, "minute": m, "count": n} for (k, b, m), n in minutes.items() if n),
    )


def from_row(row: Mapping[Any, Any]) -> ChainRun:
    """Return the chain run of a row of `chain_runs`."""
    run = Run(*(row[name] for name in RUN_COLUMNS))
    status = row["counted_status"]
    classification = Classification(status, row["outcome"], row["failure_type"]) if status else None
    return ChainRun(run, row["execution_start"], classification, row["bucket"])


def of_namespace(connection: Connection, table: Table, namespace: str) -> list[ChainRun]:
    """Return all chain runs of a namespace in *table*."""
    rows = connection.execute(select(table).where(table.c.namespace == namespace)).mappings()
    return [from_row(dict(row)) for row in rows]


def open_runs(connection: Connection, namespace: str, workflow_ids: Sequence[str]) -> list[Run]:
    """Return the open runs of these workflow ids, without a status."""
    return [Run(**row, status=None) for row in _of_workflows(connection, schema.open_runs, namespace, workflow_ids)]


def runs(connection: Connection, namespace: str, run_ids: Sequence[str]) -> list[Run]:
    """Return those of these runs that are open, without a status."""
    columns = [column for column in schema.open_runs.columns if column.name in RUN_COLUMNS]
    of_runs = schema.open_runs.c.namespace == namespace, schema.open_runs.c.run_id.in_(run_ids)
    query = select(*columns).where(*of_runs)
    return [Run(**row, status=None) for row in connection.execute(query).mappings()]


def pending_failures(connection: Connection, namespace: str, workflow_ids: Sequence[str]) -> list[Run]:
    """Return the failed and timed-out runs of these workflow ids that wait for their close event."""
    rows = _of_workflows(connection, schema.pending, namespace, workflow_ids, schema.pending.c.rank == 0)
    return [Run(**row) for row in rows if row["status"] in {FAILED, TIMED_OUT}]


def oldest_pending_failure(connection: Connection, namespace: str, workflow_types: Iterable[str]) -> int | None:
    """Return the close time of the oldest pending failure of these workflow types; None without one."""
    table = schema.pending
    of_types = table.c.namespace == namespace, table.c.rank == 0, table.c.workflow_type.in_(list(workflow_types))
    oldest: int | None = connection.scalar(select(func.min(table.c.close_time)).where(*of_types))
    return oldest


def _of_workflows(
    connection: Connection,
    table: Table,
    namespace: str,
    workflow_ids: Sequence[str],
    *conditions: ColumnElement[bool],
) -> Rows:
    columns = [column for column in table.columns if column.name in RUN_COLUMNS]
    for start in range(0, len(workflow_ids), CHUNK):
        of_workflows = table.c.workflow_id.in_(workflow_ids[start : start + CHUNK])
        query = select(*columns).where(table.c.namespace == namespace, *conditions, of_workflows)
        yield from (dict(row) for row in connection.execute(query).mappings())


def _row(chain_run: ChainRun) -> dict[str, Any]:
    status, outcome, failure_type = chain_run.classification or ("", "", "")
    return {
        **{name: getattr(chain_run.run, name) for name in RUN_COLUMNS},
        "execution_start": chain_run.execution_start,
        "counted_status": status,
        "outcome": outcome,
        "failure_type": failure_type,
        "bucket": chain_run.bucket,
    }


def _write_overdue(connection: Connection, namespace: str, overdue: Mapping[str, ClosedOverdueRun]) -> None:
    keys = {"namespace": namespace}
    runs = [
        keys | {"run_id": run_id, **run.key._asdict(), "due_time": run.due_time, "close_time": run.close_time}
        for run_id, run in overdue.items()
    ]
    upserts.insert_missing(connection, schema.closed_overdue_runs, runs)
    starts = [
        keys | {"run_id": run_id, "close_time": run.close_time, "execution_start": run.execution_start}
        for run_id, run in overdue.items()
    ]
    upserts.replace(connection, schema.closed_overdue_executions, starts, "execution_start")


def _set_starts(connection: Connection, namespace: str, starts: Mapping[str, int]) -> None:
    if starts:
        table = schema.open_runs
        of_run = table.c.namespace == namespace, table.c.run_id == bindparam("key")
        statement = update(table).where(*of_run).values(execution_start=bindparam("value"))
        connection.execute(statement, [{"key": run_id, "value": start} for run_id, start in starts.items()])
