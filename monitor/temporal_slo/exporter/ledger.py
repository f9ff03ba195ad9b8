"""The ledger: what the mirror knows, on disk, so that a killed exporter neither loses nor doubles a run."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from typing import Any, Final, NamedTuple, TypeVar

from sqlalchemy import Connection, RowMapping, Table, delete, func, insert, literal, select, tuple_
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from temporal_slo.errors import LedgerError, UsageError
from temporal_slo.exporter import schema
from temporal_slo.exporter.opening import check_about, inode_of, open_engine
from temporal_slo.exporter.snapshot import ClosedKey, FailureKey, RunningKey
from temporal_slo.exporter.state import SECOND, Change, Gap, Histogram, OpenRun, Position, State
from temporal_slo.exporter.visibility import Run

KEEP_SEEN: Final = 2 * 3600 * SECOND
KEEP_MINUTES: Final = 400 * 24 * 60
CHUNK: Final = 500
"""Values in one `IN (…)`: below the limit of every store."""

T = TypeVar("T")
Rows = Iterator[dict[str, Any]]
Place = tuple[int, str]

URGENT: Final = ("failed", "timed_out")
RANKS: Final = (0, 1)
"""Of runs that wait for their close event: failures first, they are what somebody may have to be woken for."""


class Waiting(NamedTuple):
    """A closed run that waits for its close event, and since when."""

    run: Run
    rank: int
    since: int

    @property
    def place(self) -> Place:
        """Where it stands among those of its rank."""
        return self.since, self.run.run_id


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

    async def waiting(self, namespace: str, limit: int, passed: Mapping[int, Place]) -> list[Waiting]:
        """Return runs that wait for their close event, as they are to be asked for, beyond the places *passed*."""
        return await self._run(lambda connection: _waiting(connection, namespace, limit, passed))

    async def expire(self, namespace: str, floor: int, now: int) -> None:
        """Forget what is never asked for again.

        Args:
            namespace: Whose rows.
            floor: No close time below it will be read again.
            now: Our clock, in microseconds of Unix time.
        """
        await self._run(lambda connection: _expire(connection, namespace, floor, now))

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
        self._keep(connection, schema.open_runs, [whose | _open_row(run) for run in change.opened])
        self._keep(
            connection, schema.pending, [whose | _pending_row(run) | {"inserted": now} for run in change.pending]
        )
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
    yield schema.other_totals, ({"name": k, "count": n} for k, n in change.others.items())


def _open_row(run: Run) -> dict[str, Any]:
    names = ("run_id", "workflow_id", "workflow_type", "task_queue", "start_time", "due_time")
    return {name: getattr(run, name) for name in names}


def _pending_row(run: Run) -> dict[str, Any]:
    more = {"status": run.status, "close_time": run.close_time, "duration": run.duration}
    return _open_row(run) | more | {"rank": RANKS[run.status not in URGENT]}


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


def _waiting(connection: Connection, namespace: str, limit: int, passed: Mapping[int, Place]) -> list[Waiting]:
    table, found = schema.pending, list[Waiting]()
    place, run = tuple_(table.c.inserted, table.c.run_id), [table.c[field.name] for field in fields(Run)]
    for rank in RANKS:
        query = select(*run, table.c.inserted).where(table.c.namespace == namespace, table.c.rank == rank)
        query = query.where(place > tuple_(*map(literal, passed[rank]))) if rank in passed else query
        rows = connection.execute(query.order_by(*place.clauses).limit(limit - len(found)))
        found += [Waiting(Run(*row[:-1]), rank, row[-1]) for row in rows]
        if len(found) == limit:
            break
    return found


def _expire(connection: Connection, namespace: str, floor: int, now: int) -> None:
    seen, minutes = schema.seen, schema.minutes
    connection.execute(
        delete(seen).where(seen.c.namespace == namespace, seen.c.inserted < now - KEEP_SEEN, seen.c.close_time < floor)
    )
    oldest = now // (60 * SECOND) - KEEP_MINUTES
    connection.execute(delete(minutes).where(minutes.c.namespace == namespace, minutes.c.minute < oldest))


def _load(connection: Connection, namespace: str, epoch: int) -> State:
    def rows(table: Table) -> Iterable[RowMapping]:
        query = select(table).where(table.c.namespace == namespace)
        query = query.where(table.c.epoch == epoch) if "epoch" in table.c else query
        return connection.execute(query).mappings()

    state = State()
    state.positions = {row["list"]: Position(row["lowest"], row["position"]) for row in rows(schema.edges)}
    state.gaps = tuple(Gap(row["low"], row["high"]) for row in rows(schema.gaps))
    for row in rows(schema.open_runs):
        state.open[row["run_id"]] = OpenRun(RunningKey(row["workflow_type"], row["task_queue"]), row["due_time"])
    for row in rows(schema.closed_totals):
        key = ClosedKey(row["workflow_type"], row["task_queue"], row["status"], row["outcome"])
        histogram = state.closed.setdefault(key, Histogram())
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
