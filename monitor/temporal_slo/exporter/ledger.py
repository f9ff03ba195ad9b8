"""The ledger: what the mirror knows, on disk, so that a killed exporter neither loses nor doubles a run."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

from sqlalchemy import Column, Connection, RowMapping, Table, delete, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from temporal_slo.errors import LedgerError, UsageError
from temporal_slo.exporter import schema
from temporal_slo.exporter.opening import check_about, inode_of, open_engine
from temporal_slo.exporter.snapshot import ClosedKey, FailureKey, RunningKey
from temporal_slo.exporter.state import (
    HOUR,
    MINUTE,
    MINUTES,
    SECOND,
    Change,
    Gap,
    Histogram,
    LongRun,
    Minutes,
    OpenRun,
    Position,
    State,
)
from temporal_slo.exporter.visibility import PAUSED, Run

KEEP_SEEN: Final = 2 * 3600 * SECOND
KEEP_DAYS: Final = 400
KEEP_BAD_RUNS: Final = 1000
"""Bad runs of each SLO, the newest ones."""

CHUNK: Final = 500
"""Values in one `IN (…)`: below the limit of every store."""

T = TypeVar("T")
Rows = Iterator[dict[str, Any]]


class Ledger:
    """One ledger, opened; its calls run in a thread of their own, one after the other.

    Args:
        url: `sqlite:///path` or a PostgreSQL URL as SQLAlchemy takes it.

    Raises:
        UsageError: It is no ledger of ours, or newer than this program, or cannot be opened.
    """

    def __init__(self, url: str) -> None:
        self._engine = open_engine(url)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="ledger")
        self._insert: Callable[[Table], Any] = (
            sqlite.insert if self._engine.dialect.name == "sqlite" else postgresql.insert
        )
        try:
            with self._engine.begin() as connection:
                if connection.dialect.name == "sqlite":
                    # Python's driver begins none before DDL: a first start cut short would leave some of the tables.
                    connection.exec_driver_sql("BEGIN")
                schema.metadata.create_all(connection)
                self._epoch = check_about(connection, inode_of(self._engine))
        except DBAPIError as error:
            raise UsageError("--ledger", f"cannot be opened: {error.orig}", "give a writable place") from error

    def close(self) -> None:
        """Close it; nothing is under way any more."""
        self._thread.shutdown()
        self._engine.dispose()

    async def load(self, namespace: str) -> State:
        """Return what is known of *namespace*."""
        return await self._run(lambda connection: _load(connection, namespace, self._epoch))

    async def commit(self, namespace: str, change: Change, now: int) -> None:
        """Write *change* in one transaction.

        Args:
            namespace: Whose change it is.
            change: What changes.
            now: Our clock, in microseconds of Unix time.

        Raises:
            LedgerError: It could not be written; nothing of it was.
        """
        await self._run(lambda connection: self._write(connection, namespace, change, now))

    async def unseen(self, namespace: str, run_ids: Sequence[str]) -> set[str]:
        """Return which of *run_ids* are of no closed run that is counted or pending."""
        return await self._run(lambda connection: _unseen(connection, namespace, run_ids))

    async def audited(self, namespace: str, since: int, until: int) -> tuple[int, int]:
        """Return how many runs that closed in these whole minutes are counted or pending, and how many ids are known.

        Args:
            namespace: Whose runs.
            since: The first close time, in microseconds.
            until: The close time after the last one.
        """
        return await self._run(lambda connection: _audited(connection, namespace, since, until))

    async def waiting(self, namespace: str, limit: int) -> list[tuple[Run, int]]:
        """Return runs that wait for their close event, failed and timed-out ones first, and since when they wait."""
        return await self._run(lambda connection: _waiting(connection, namespace, limit))

    async def expire(self, namespace: str, floor: int, now: int) -> None:
        """Forget what is never asked for again.

        Args:
            namespace: Whose rows.
            floor: No close time below it will be read again.
            now: Our clock, in microseconds of Unix time.
        """
        await self._run(lambda connection: _expire(connection, namespace, floor, now))
        await self._run(lambda connection: _forget_epochs(connection, namespace, self._epoch))

    async def mark_exposed(self, namespace: str, series: Iterable[str]) -> None:
        """Note that these series were let go from 0: not even after a restart do they begin there again."""
        rows = [{"namespace": namespace, "epoch": self._epoch, "series": name} for name in series]
        await self._run(lambda connection: self._keep(connection, schema.exposed, rows))

    async def exposed(self, namespace: str) -> set[str]:
        """Return the series that were let go from 0."""
        table = schema.exposed
        query = select(table.c.series).where(table.c.namespace == namespace, table.c.epoch == self._epoch)
        return await self._run(lambda connection: set(connection.scalars(query)))

    async def _run(self, work: Callable[[Connection], T]) -> T:
        def transact() -> T:
            with self._engine.begin() as connection:
                return work(connection)

        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, transact)
        except SQLAlchemyError as error:
            raise LedgerError(str(getattr(error, "orig", None) or error)) from error

    def _write(self, connection: Connection, namespace: str, change: Change, now: int) -> None:
        whose = {"namespace": namespace}
        self._keep(
            connection,
            schema.seen,
            [whose | {"run_id": r.run_id, "close_time": r.close_time, "inserted": now} for r in change.seen],
        )
        self._keep(
            connection,
            schema.open_runs,
            [whose | _open_row(run) | {"paused": int(run.status == PAUSED)} for run in change.opened],
        )
        self._keep(connection, schema.long_runs, [whose | _long_row(run) for run in change.long])
        self._keep(connection, schema.bad_runs, [whose | row for row in _bad_rows(change)])
        self._keep(
            connection, schema.pending, [whose | _pending_row(run) | {"inserted": now} for run in change.pending]
        )
        _pause(connection, namespace, change.paused)
        _drop(connection, schema.open_runs, namespace, change.left)
        _drop(connection, schema.pending, namespace, change.settled)
        for table, rows in _increments(change):
            epoch = {"epoch": self._epoch} if "epoch" in table.c else {}
            self._add(connection, table, [whose | epoch | row for row in rows])
        self._place(connection, namespace, change)

    def _place(self, connection: Connection, namespace: str, change: Change) -> None:
        for name, position in change.positions.items():
            row = {"namespace": namespace, "list": name, **position._asdict()}
            statement = self._insert(schema.edges).values(row)
            connection.execute(
                statement.on_conflict_do_update(
                    index_elements=["namespace", "list"], set_={"position": statement.excluded.position}
                )
            )
        if judged := change.positions.get(MINUTES):
            table = schema.long_runs
            past = table.c.close_time <= judged.position
            connection.execute(delete(table).where(table.c.namespace == namespace, past))
        if change.gaps is not None:
            connection.execute(delete(schema.gaps).where(schema.gaps.c.namespace == namespace))
            if change.gaps:
                connection.execute(
                    insert(schema.gaps), [{"namespace": namespace, **gap._asdict()} for gap in change.gaps]
                )

    def _keep(self, connection: Connection, table: Table, rows: list[dict[str, Any]]) -> None:
        if rows:
            connection.execute(self._insert(table).on_conflict_do_nothing(), rows)

    def _add(self, connection: Connection, table: Table, rows: list[dict[str, Any]]) -> None:
        """Add to the counts of rows that may be there already."""
        if not rows:
            return
        keys = [column.name for column in table.primary_key]
        statement = self._insert(table)
        sums = {c.name: c + statement.excluded[c.name] for c in table.columns if c.name not in keys}
        connection.execute(statement.on_conflict_do_update(index_elements=keys, set_=sums), rows)


def _increments(change: Change) -> Iterator[tuple[Table, Rows]]:
    """Yield each table of counts with the rows to add to it, one a key."""
    counts: Counter[tuple[ClosedKey, int]] = Counter()
    durations: Counter[tuple[ClosedKey, int]] = Counter()
    minutes: Counter[tuple[ClosedKey, int, int]] = Counter()
    failures: Counter[FailureKey] = Counter()
    for counted in change.counted:
        edge = counted.bucket
        counts[counted.key, edge] += 1
        durations[counted.key, edge] += counted.run.duration
        minutes[counted.key, edge, counted.run.close_time // (60 * SECOND)] += 1
        if counted.verdict.failure_type:
            failures[counted.failure] += 1
    yield (
        schema.closed_totals,
        (k._asdict() | {"bucket": b, "count": n, "duration": durations[k, b]} for (k, b), n in counts.items()),
    )
    yield (
        schema.minutes,
        (k._asdict() | {"bucket": b, "minute": m, "count": n} for (k, b, m), n in minutes.items()),
    )
    yield schema.failure_totals, (k._asdict() | {"count": n} for k, n in failures.items())
    yield schema.started_totals, (k._asdict() | {"count": n} for k, n in change.started.items())
    judged: Counter[str] = Counter()
    overdue: Counter[str] = Counter()
    for row in change.judged:
        judged[row.slo] += row.observed
        overdue[row.slo] += row.overdue
    yield schema.minute_totals, ({"slo": k, "observed": n, "overdue": overdue[k]} for k, n in judged.items())
    yield schema.minute_hours, (row._asdict() for row in change.judged)
    yield schema.other_totals, ({"name": k, "count": n} for k, n in change.others.items())


def _open_row(run: Run) -> dict[str, Any]:
    names = ("run_id", "workflow_id", "workflow_type", "task_queue", "start_time", "due_time")
    return {name: getattr(run, name) for name in names}


def _long_row(run: Run) -> dict[str, Any]:
    names = ("run_id", "workflow_type", "task_queue", "due_time", "close_time")
    return {name: getattr(run, name) for name in names}


def _bad_rows(change: Change) -> Iterator[dict[str, Any]]:
    names = ("run_id", "workflow_id", "workflow_type", "close_time", "duration")
    for run, verdict, _, spent in change.counted:
        for slo in spent:
            yield {"slo": slo, **{name: getattr(run, name) for name in names}, **verdict._asdict()}


def _pending_row(run: Run) -> dict[str, Any]:
    return _open_row(run) | {"status": run.status, "close_time": run.close_time, "duration": run.duration}


def _pause(connection: Connection, namespace: str, paused: Mapping[str, bool]) -> None:
    table = schema.open_runs
    for value in (False, True):
        for chunk in _chunks([run_id for run_id, is_paused in paused.items() if is_paused is value]):
            whose = table.c.namespace == namespace, table.c.run_id.in_(chunk)
            connection.execute(update(table).where(*whose).values(paused=int(value)))


def _drop(connection: Connection, table: Table, namespace: str, run_ids: Sequence[str]) -> None:
    for chunk in _chunks(run_ids):
        connection.execute(delete(table).where(table.c.namespace == namespace, table.c.run_id.in_(chunk)))


def _chunks(values: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(values), CHUNK):
        yield values[start : start + CHUNK]


def _unseen(connection: Connection, namespace: str, run_ids: Sequence[str]) -> set[str]:
    table = schema.seen
    known: set[str] = set()
    for chunk in _chunks(run_ids):
        query = select(table.c.run_id).where(table.c.namespace == namespace, table.c.run_id.in_(chunk))
        known.update(connection.scalars(query))
    return set(run_ids) - known


def _audited(connection: Connection, namespace: str, since: int, until: int) -> tuple[int, int]:
    def total(what: Any, column: Column[Any], unit: int) -> int:  # noqa: ANN401 - what SQLAlchemy selects
        table = column.table
        slice_ = table.c.namespace == namespace, column >= since // unit, column < until // unit
        return connection.scalar(select(what).select_from(table).where(*slice_)) or 0

    counted = total(func.sum(schema.minutes.c.count), schema.minutes.c.minute, MINUTE)
    pending = total(func.count(), schema.pending.c.close_time, 1)
    return counted + pending, total(func.count(), schema.seen.c.close_time, 1)


def _waiting(connection: Connection, namespace: str, limit: int) -> list[tuple[Run, int]]:
    table = schema.pending
    # Failures first: they are what somebody may have to be woken for.
    urgent = table.c.status.in_(["failed", "timed_out"])
    query = select(table).where(table.c.namespace == namespace).order_by(urgent.desc(), table.c.inserted).limit(limit)
    rows = [dict(row) for row in connection.execute(query).mappings()]
    return [
        (Run(**{k: v for k, v in row.items() if k not in ("namespace", "inserted")}), row["inserted"]) for row in rows
    ]


def _expire(connection: Connection, namespace: str, floor: int, now: int) -> None:
    seen, minutes = schema.seen, schema.minutes
    connection.execute(
        delete(seen).where(seen.c.namespace == namespace, seen.c.inserted < now - KEEP_SEEN, seen.c.close_time < floor)
    )
    oldest = now - KEEP_DAYS * 24 * HOUR
    for column, unit in (
        (minutes.c.minute, MINUTE),
        (schema.minute_hours.c.hour, HOUR),
        (schema.bad_runs.c.close_time, 1),
    ):
        table = column.table
        connection.execute(delete(table).where(table.c.namespace == namespace, column < oldest // unit))
    _bound_bad_runs(connection, namespace)


def _forget_epochs(connection: Connection, namespace: str, epoch: int) -> None:
    """Drop the totals that were counted before this epoch: nobody asks for them any more."""
    for table in schema.metadata.sorted_tables:
        if "epoch" in table.c:
            connection.execute(delete(table).where(table.c.namespace == namespace, table.c.epoch < epoch))


def _bound_bad_runs(connection: Connection, namespace: str) -> None:
    table = schema.bad_runs
    many = select(table.c.slo).where(table.c.namespace == namespace)
    many = many.group_by(table.c.slo).having(func.count() > KEEP_BAD_RUNS)
    for slo in connection.scalars(many).all():
        whose = table.c.namespace == namespace, table.c.slo == slo
        newest = select(table.c.close_time).where(*whose).order_by(table.c.close_time.desc())
        oldest = newest.limit(1).offset(KEEP_BAD_RUNS - 1).scalar_subquery()
        connection.execute(delete(table).where(*whose, table.c.close_time < oldest))


def _load(connection: Connection, namespace: str, epoch: int) -> State:
    def rows(table: Table) -> Iterable[RowMapping]:
        query = select(table).where(table.c.namespace == namespace)
        query = query.where(table.c.epoch == epoch) if "epoch" in table.c else query
        return connection.execute(query).mappings()

    state = State()
    state.positions = {row["list"]: Position(row["lowest"], row["position"]) for row in rows(schema.edges)}
    state.gaps = tuple(Gap(row["low"], row["high"]) for row in rows(schema.gaps))
    for row in rows(schema.open_runs):
        key = RunningKey(row["workflow_type"], row["task_queue"])
        state.open[row["run_id"]] = OpenRun(key, row["due_time"], bool(row["paused"]))
    for row in rows(schema.long_runs):
        key = RunningKey(row["workflow_type"], row["task_queue"])
        state.long[row["run_id"]] = LongRun(key, row["due_time"], row["close_time"])
    for row in rows(schema.minute_totals):
        state.minutes[row["slo"]] = Minutes(row["observed"], row["overdue"])
    for row in rows(schema.closed_totals):
        closed = ClosedKey(row["workflow_type"], row["task_queue"], row["status"], row["outcome"])
        histogram = state.closed.setdefault(closed, Histogram())
        histogram.counts[row["bucket"]] += row["count"]
        histogram.duration += row["duration"]
    for row in rows(schema.started_totals):
        state.started[RunningKey(row["workflow_type"], row["task_queue"])] = row["count"]
    for row in rows(schema.failure_totals):
        state.failures[FailureKey(row["workflow_type"], row["status"], row["failure_type"])] = row["count"]
    state.others.update({row["name"]: row["count"] for row in rows(schema.other_totals)})
    waiting = select(func.count()).select_from(schema.pending).where(schema.pending.c.namespace == namespace)
    state.waiting = connection.scalar(waiting) or 0
    return state
