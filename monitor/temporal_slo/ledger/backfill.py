"""What the ledger keeps of runs that closed before counting began: totals by minute, and how far down they are read."""

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field, fields
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, Table, delete, func, literal, select, tuple_, update
from sqlalchemy.dialects import postgresql, sqlite

from temporal_slo.ledger import schema, writes
from temporal_slo.ledger.change import Change
from temporal_slo.ledger.ledger import Ledger
from temporal_slo.ledger.reads import chunks
from temporal_slo.runs.counted import Counted
from temporal_slo.runs.microseconds import MINUTE
from temporal_slo.runs.run import SWEEP_OVERLAP, Run

YOUNG: Final = SWEEP_OVERLAP
"""How long before counting began a run must have closed to be surely visible by then."""

Place = tuple[int, str]
"""Close time and run id: the order in which close events are asked for, newest first."""


class Progress(NamedTuple):
    """How far a backfill has come.

    Attributes:
        position: Every run that closed after it is read, and some of those that closed at it.
        runs: How many were read, each once.
        gone: Runs that were counted without their close event.
        unknown: Rows that were left out.
        swept: Whether the youngest of the past was read a second time.
        waiting: Runs that wait for their close event.
    """

    position: int
    runs: int = 0
    gone: int = 0
    unknown: int = 0
    swept: bool = False
    waiting: int = 0


@dataclass
class PastChange:
    """What one page of rows, or one batch of close events, changes; it happens whole or not at all.

    Attributes:
        seen: Runs that are new.
        counted: Runs to count.
        pending: Runs that wait for their close event.
        settled: Ids of runs that wait no longer.
        gone: How many of these are counted without it.
        unknown: Rows that were left out.
        position: The new one; None for no change.
        swept: Whether the youngest of the past was now read a second time.
    """

    seen: list[Run] = field(default_factory=list)
    counted: list[Counted] = field(default_factory=list)
    pending: list[Run] = field(default_factory=list)
    settled: list[str] = field(default_factory=list)
    gone: int = 0
    unknown: int = 0
    position: int | None = None
    swept: bool = False


class Past:
    """What one namespace's ledger keeps of the past. No counter that is exposed moves by it.

    All methods raise LedgerError. What a change whose writing failed came to is not known: read the progress again.

    Args:
        ledger: Keeps it.
        namespace: Whose runs.
        begin: The close time with which counting began, in microseconds of Unix time; the past ends before it.
    """

    def __init__(self, ledger: Ledger, namespace: str, begin: int) -> None:
        self._ledger = ledger
        self._namespace = namespace
        self.begin = begin

    @property
    def young(self) -> int:
        """Close time from which on a run may not have been visible when counting began."""
        return self.begin - YOUNG

    async def progress(self) -> Progress:
        """Return how far the backfill has come; at the end of the past if it has not begun."""
        return await self._ledger.transact(self._progress)

    async def known(self, run_ids: Collection[str]) -> set[str]:
        """Return which of *run_ids* are counted or pending, among those that can be read again."""
        return await self._ledger.transact(lambda connection: self._known(connection, list(run_ids)))

    async def waiting(self, limit: int, beyond: Place | None) -> list[Run]:
        """Return the newest runs that wait for their close event, *limit* at most, beyond a place."""
        return await self._ledger.transact(lambda connection: self._waiting(connection, limit, beyond))

    async def commit(self, change: PastChange, now: int) -> Progress:
        """Write *change* in one transaction and return how far the backfill has come.

        Args:
            change: What changes.
            now: Our clock, in microseconds of Unix time.
        """

        def write(connection: Connection) -> Progress:
            self._write(connection, change, now)
            return self._progress(connection)

        return await self._ledger.transact(write)

    def _progress(self, connection: Connection) -> Progress:
        table, pending = schema.past, schema.past_pending
        row = connection.execute(select(table).where(table.c.namespace == self._namespace)).first()
        if row is None:
            return Progress(self.begin - 1)
        query = select(func.count()).select_from(pending).where(pending.c.namespace == self._namespace)
        waiting = connection.scalar(query) or 0
        return Progress(row.position, row.runs, row.gone, row.unknown, bool(row.swept), waiting)

    def _known(self, connection: Connection, run_ids: list[str]) -> set[str]:
        table, known = schema.past_runs, set[str]()
        for chunk in chunks(run_ids):
            query = select(table.c.run_id).where(table.c.namespace == self._namespace, table.c.run_id.in_(chunk))
            known.update(connection.scalars(query))
        return known

    def _waiting(self, connection: Connection, limit: int, beyond: Place | None) -> list[Run]:
        table = schema.past_pending
        place = tuple_(table.c.close_time, table.c.run_id)
        query = select(*(table.c[column.name] for column in fields(Run))).where(table.c.namespace == self._namespace)
        query = query if beyond is None else query.where(place < tuple_(*map(literal, beyond)))
        order = (column.desc() for column in place.clauses)
        return [Run(*row) for row in connection.execute(query.order_by(*order).limit(limit))]

    def _write(self, connection: Connection, change: PastChange, now: int) -> None:
        whose = {"namespace": self._namespace}
        self._move(connection, change)
        self._remember(connection, change)
        waiting = [column.name for column in schema.past_pending.columns if column.name not in whose]
        keep(
            connection,
            schema.past_pending,
            [whose | {name: getattr(run, name) for name in waiting} for run in change.pending],
        )
        for chunk in chunks(change.settled):
            table = schema.past_pending
            connection.execute(delete(table).where(table.c.namespace == self._namespace, table.c.run_id.in_(chunk)))
        self._count(connection, change.counted, now)

    def _move(self, connection: Connection, change: PastChange) -> None:
        table = schema.past
        first = {"namespace": self._namespace, "position": self.begin - 1}
        keep(connection, table, [{column.name: 0 for column in table.columns} | first])
        values: dict[str, Any] = {
            "runs": table.c.runs + len(change.seen),
            "gone": table.c.gone + change.gone,
            "unknown": table.c.unknown + change.unknown,
        }
        values |= {} if change.position is None else {"position": change.position}
        values |= {"swept": 1} if change.swept else {}
        connection.execute(update(table).where(table.c.namespace == self._namespace).values(values))

    def _remember(self, connection: Connection, change: PastChange) -> None:
        """Keep the ids that may be read again, and no others: those at the position, and the youngest."""
        table, row = (
            schema.past_runs,
            connection.execute(select(schema.past).where(schema.past.c.namespace == self._namespace)).one(),
        )
        young = self.begin if row.swept else self.young
        ids = [
            {"namespace": self._namespace, "run_id": run.run_id, "close_time": run.close_time}
            for run in change.seen
            if run.close_time == row.position or run.close_time >= young
        ]
        keep(connection, table, ids)
        if change.position is not None or change.swept:
            past = table.c.close_time != row.position, table.c.close_time < young
            connection.execute(delete(table).where(table.c.namespace == self._namespace, *past))

    def _count(self, connection: Connection, counted: list[Counted], now: int) -> None:
        change, whose = Change(counted=counted), {"namespace": self._namespace}
        # Of what counts a run everywhere else, these tables alone are of no epoch, and so in no exposed counter.
        for table, new in writes.new(change, now):
            if table is schema.bad_runs:
                keep(connection, table, [whose | row for row in new])
        for table, sums in writes.increments(change):
            if table is schema.closed_minutes:
                add(connection, table, [whose | row for row in sums])
        last = Counter((one.key, one.bucket) for one in counted if one.run.close_time // MINUTE == self.begin // MINUTE)
        add(
            connection,
            schema.past_last_minute,
            [whose | key._asdict() | {"bucket": bucket, "count": count} for (key, bucket), count in last.items()],
        )


def keep(connection: Connection, table: Table, new: list[dict[str, Any]]) -> None:
    """Insert rows, but for those that are there already."""
    if new:
        connection.execute(_insert(connection, table).on_conflict_do_nothing(), new)


def add(connection: Connection, table: Table, counts: list[dict[str, Any]]) -> None:
    """Add to the counts of rows that may be there already."""
    if counts:
        statement = _insert(connection, table)
        keys = [column.name for column in table.primary_key]
        sums = {"count": table.c.count + statement.excluded["count"]}
        connection.execute(statement.on_conflict_do_update(index_elements=keys, set_=sums), counts)


def _insert(connection: Connection, table: Table) -> Any:  # noqa: ANN401 - one of two classes with the same methods
    return (sqlite if connection.dialect.name == "sqlite" else postgresql).insert(table)
