"""Queries of the ledger's tables."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields
from typing import Any, Final, NamedTuple

from sqlalchemy import (
    ARRAY,
    Column,
    Connection,
    RowMapping,
    Table,
    Text,
    bindparam,
    func,
    literal,
    select,
    tuple_,
)

from temporal_slo.ledger import chains, schema
from temporal_slo.ledger.change import CLOSED, ClosedOverdueRun, Gap, Position
from temporal_slo.ledger.state import Histogram, Minutes, OpenRun, State
from temporal_slo.ledger.writes import RANKS
from temporal_slo.names import STORED_COUNTERS
from temporal_slo.runs.counted import ClosedKey, FailureKey, RunningKey, SeenKey
from temporal_slo.runs.microseconds import MINUTE
from temporal_slo.runs.run import Run
from temporal_slo.runs.status_groups import status_group

CHUNK: Final = 500
"""Values in one `IN (…)`: below the limit of every database."""

SortKey = tuple[int, str]
"""Position of a row in the order in which runs are read: a time and the run id."""


class PendingRun(NamedTuple):
    """A closed run that waits for its close event, and when it was inserted (microseconds of Unix time)."""

    run: Run
    inserted: int

    @property
    def sort_key(self) -> SortKey:
        """Its position among the pending runs of its rank."""
        return self.run.close_time, self.run.run_id


def load(connection: Connection, namespace: str, epoch: int) -> State:
    """Return the state of *namespace*, with the totals of *epoch*."""

    def rows(table: Table) -> Iterable[RowMapping]:
        query = select(table).where(table.c.namespace == namespace)
        query = query.where(table.c.epoch == epoch) if "epoch" in table.c else query
        return connection.execute(query).mappings()

    state = State()
    state.positions = {row["list"]: Position(row["lowest"], row["position"]) for row in rows(schema.watermarks)}
    state.gaps = tuple(Gap(row["low"], row["high"]) for row in rows(schema.gaps))
    for row in rows(schema.open_runs):
        key = RunningKey(row["workflow_type"], row["task_queue"])
        state.open[row["run_id"]] = OpenRun(key, row["due_time"], bool(row["paused"]), row["execution_start"])
    starts = {row["run_id"]: row["execution_start"] for row in rows(schema.closed_overdue_executions)}
    for row in rows(schema.closed_overdue_runs):
        key, start = RunningKey(row["workflow_type"], row["task_queue"]), starts.get(row["run_id"], 0)
        state.closed_overdue[row["run_id"]] = ClosedOverdueRun(key, row["due_time"], row["close_time"], start)
    for row in rows(schema.minute_totals):
        state.minutes[row["slo"]] = Minutes(row["observed"], row["overdue"])
    for table, histograms in ((schema.closed_totals, state.closed), (schema.execution_totals, state.executions)):
        for row in rows(table):
            closed = ClosedKey(row["workflow_type"], row["task_queue"], row["status"], row["outcome"])
            histogram = histograms.setdefault(closed, Histogram())
            histogram.counts[row["bucket"]] += row["count"]
            histogram.duration += row["duration"]
    for chain_run in map(chains.from_row, rows(schema.chain_runs)):
        state.chain_runs.setdefault(chain_run.run.workflow_id, {})[chain_run.run.run_id] = chain_run
    for row in rows(schema.started_totals):
        state.started[RunningKey(row["workflow_type"], row["task_queue"])] = row["count"]
    for row in rows(schema.failure_totals):
        state.failures[FailureKey(row["workflow_type"], row["status"], row["failure_type"])] = row["count"]
    counts = {row["name"]: row["count"] for row in rows(schema.other_totals)}
    state.counters.update({family: counts[name] for family, name in STORED_COUNTERS.items() if name in counts})
    state.waiting = _waiting(connection, namespace)
    return state


def unseen(connection: Connection, namespace: str, run_ids: Sequence[str]) -> set[str]:
    """Return those of *run_ids* that do not belong to a closed run that is counted or pending."""
    return set(run_ids) - known(connection, schema.seen, namespace, run_ids)


def known(connection: Connection, table: Table, namespace: str, run_ids: Sequence[str]) -> set[str]:
    """Return those of *run_ids* that have a row in *table*."""
    if connection.dialect.name == "postgresql":
        # One lookup an id: a table that is not analyzed yet is taken for small and would be scanned for the whole list.
        wanted = func.unnest(bindparam("run_ids", type_=ARRAY(Text))).table_valued("wanted", name="wanted")
        found = select(table.c.run_id).where(table.c.namespace == namespace, table.c.run_id == wanted.c.wanted)
        query = select(found.correlate(wanted).scalar_subquery()).select_from(wanted)
        return set(connection.scalars(query, {"run_ids": list(run_ids)})) - {None}
    rows = set[str]()
    for chunk in _chunks(run_ids):
        query = select(table.c.run_id).where(table.c.namespace == namespace, table.c.run_id.in_(chunk))
        rows.update(connection.scalars(query))
    return rows


def workflow_ids(connection: Connection, namespace: str, run_ids: Sequence[str]) -> dict[str, str]:
    """Return the workflow ids of those of *run_ids* that are open, by run id."""
    table, found = schema.open_runs, dict[str, str]()
    for chunk in _chunks(run_ids):
        query = select(table.c.run_id, table.c.workflow_id)
        query = query.where(table.c.namespace == namespace, table.c.run_id.in_(chunk))
        found.update((row.run_id, row.workflow_id) for row in connection.execute(query))
    return found


def closed_counts(connection: Connection, namespace: str, since: int, until: int) -> tuple[int, int]:
    """Return the number of closed runs that are counted or pending, and the number of their ids that are stored.

    Args:
        connection: An open transaction.
        namespace: Temporal namespace.
        since: First close time, in microseconds of Unix time, at the start of a minute.
        until: End of the close times, exclusive, at the start of a minute.
    """

    def total(what: Any, column: Column[Any], unit: int) -> int:  # noqa: ANN401 - what SQLAlchemy selects
        table = column.table
        within = table.c.namespace == namespace, column >= since // unit, column < until // unit
        return connection.scalar(select(what).select_from(table).where(*within)) or 0

    minutes = schema.closed_minutes
    counted = total(func.sum(minutes.c.count), minutes.c.minute, MINUTE)
    pending = total(func.count(), schema.pending.c.close_time, 1)
    return counted + pending, total(func.count(), schema.seen.c.close_time, 1)


def pending_runs(
    connection: Connection,
    namespace: str,
    rank: int,
    limit: int,
    *,
    above: SortKey,
    below: SortKey | None = None,
    newest_first: bool = True,
) -> list[PendingRun]:
    """Return pending runs in the order of their close times.

    Args:
        connection: An open transaction.
        namespace: Temporal namespace.
        rank: Kind of runs.
        limit: Maximum number of runs.
        above: Sort key below all returned.
        below: Sort key above all returned; None for no bound.
        newest_first: Whether to return the newest runs of the range, and not the oldest.
    """
    table = schema.pending
    order, run = tuple_(table.c.close_time, table.c.run_id), [table.c[field.name] for field in fields(Run)]
    query = select(*run, table.c.inserted).where(table.c.namespace == namespace, table.c.rank == rank)
    query = query.where(order > tuple_(*map(literal, above)))
    query = query if below is None else query.where(order < tuple_(*map(literal, below)))
    by = [column.desc() if newest_first else column for column in order.clauses]
    return [PendingRun(Run(*row[:-1]), row[-1]) for row in connection.execute(query.order_by(*by).limit(limit))]


def oldest_pending(connection: Connection, namespace: str) -> int | None:
    """Return the close time of the oldest pending run, in microseconds of Unix time; None without one."""
    table = schema.pending
    # By rank, as the index is.
    oldest = (
        connection.scalar(
            select(func.min(table.c.close_time)).where(table.c.namespace == namespace, table.c.rank == rank)
        )
        for rank in RANKS
    )
    return min((time for time in oldest if time is not None), default=None)


def _waiting(connection: Connection, namespace: str) -> Counter[SeenKey]:
    table, waiting = schema.pending, Counter[SeenKey]()
    labels = table.c.workflow_type, table.c.task_queue, table.c.status
    query = select(*labels, func.count().label("runs")).where(table.c.namespace == namespace).group_by(*labels)
    for row in connection.execute(query):
        waiting[SeenKey(row.workflow_type, row.task_queue, status_group(row.status))] += row.runs
    return waiting


def count_pending(connection: Connection, table: Table, namespace: str) -> int:
    """Return the number of runs of *table* that wait for their close event."""
    return connection.scalar(select(func.count()).select_from(table).where(table.c.namespace == namespace)) or 0


def counting_start(connection: Connection, namespace: str) -> int | None:
    """Return the close time from which runs are counted, in microseconds of Unix time; None before the first poll."""
    table = schema.watermarks
    query = select(table.c.lowest).where(table.c.namespace == namespace, table.c.list == CLOSED)
    lowest: int | None = connection.scalar(query)
    return lowest


def released(connection: Connection, namespace: str, epoch: int) -> set[str]:
    """Return the counter series whose initial zero was scraped."""
    table = schema.released_series
    query = select(table.c.series).where(table.c.namespace == namespace, table.c.epoch == epoch)
    return set(connection.scalars(query))


def _chunks(values: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(values), CHUNK):
        yield values[start : start + CHUNK]
