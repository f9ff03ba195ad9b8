"""The ledger: what the mirror knows, on disk, so that a killed exporter neither loses nor doubles a run."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Connection, Table, bindparam, delete, insert, select, update

from temporal_slo.errors import UsageError
from temporal_slo.ledger import reads, retention, schema, writes
from temporal_slo.ledger.change import MINUTES, Change
from temporal_slo.ledger.database import Store
from temporal_slo.ledger.reads import Place, Waiting
from temporal_slo.ledger.state import State

T = TypeVar("T")


class Ledger:
    """One ledger, opened; its calls run in a thread of their own, one after the other.

    Args:
        url: `sqlite:///path` or a PostgreSQL URL as SQLAlchemy takes it.

    Raises:
        UsageError: It is no ledger of ours, or newer than this program, or cannot be opened.
    """

    def __init__(self, url: str) -> None:
        self._store = Store(url)
        self._epoch = self._store.epoch
        self._insert = self._store.insert
        self._many = self._store.insert_many
        self._loaded: dict[str, int] = {}
        self._run = self._store.run

    def close(self) -> None:
        """Close it; nothing is under way any more."""
        self._store.close()

    async def load(self, namespace: str) -> State:
        """Return what is known of *namespace*."""

        def load(connection: Connection) -> State:
            self._loaded[namespace] = self._store.generation
            return reads.load(connection, namespace, self._epoch)

        return await self._run(load)

    async def commit(
        self, namespace: str, change: Change, now: int, *, written: Callable[[Change], object] = lambda _: None
    ) -> None:
        """Write *change* in one transaction, and call *written* with it.

        Args:
            namespace: Whose change it is.
            change: What changes.
            now: Our clock, in microseconds of Unix time.
            written: Moves memory on.

        Raises:
            LedgerError: It could not be written; nothing of it was. If only the answer was lost, that is found out
                before anything else is read or written, and *written* is called then.
            UsageError: Another exporter has counted in it: *namespace* must be loaded again.
        """

        def write(connection: Connection) -> None:
            self._demand_current(namespace)
            self._write(connection, namespace, change, now)

        await self._store.commit(write, lambda: written(change))

    async def recover(self, namespace: str) -> None:
        """Find out what became of a change whose answer was lost, if there was one.

        Raises:
            LedgerError: That cannot be told yet.
            UsageError: Another exporter has counted in it: *namespace* must be loaded again.
        """
        await self._store.recover()
        self._demand_current(namespace)

    def _demand_current(self, namespace: str) -> None:
        if self._loaded.get(namespace, 0) != self._store.generation:
            raise UsageError("--ledger", "has another exporter's counts", "give each exporter a ledger of its own")

    async def unseen(self, namespace: str, run_ids: Sequence[str]) -> set[str]:
        """Return which of *run_ids* are of no closed run that is counted or pending."""
        return await self._run(lambda connection: reads.unseen(connection, namespace, run_ids))

    async def workflow_ids(self, namespace: str, run_ids: Sequence[str]) -> dict[str, str]:
        """Return the workflow ids of those of *run_ids* that are open, by run id.

        Raises:
            LedgerError: It could not be read.
        """
        return await self._run(lambda connection: reads.workflow_ids(connection, namespace, run_ids))

    async def audited(self, namespace: str, since: int, until: int) -> tuple[int, int]:
        """Return how many runs that closed in these whole minutes are counted or pending, and how many ids are known.

        Args:
            namespace: Whose runs.
            since: The first close time, in microseconds.
            until: The close time after the last one.
        """
        return await self._run(lambda connection: reads.audited(connection, namespace, since, until))

    async def waiting(self, namespace: str, limit: int, passed: Mapping[int, Place]) -> list[Waiting]:
        """Return runs that wait for their close event, as they are to be asked for, beyond the places *passed*."""
        return await self._run(lambda connection: reads.waiting(connection, namespace, limit, passed))

    async def expire(self, namespace: str, floor: int, now: int) -> None:
        """Forget what is never asked for again.

        Args:
            namespace: Whose rows.
            floor: No close time below it will be read again.
            now: Our clock, in microseconds of Unix time.
        """
        await self._run(lambda connection: retention.expire(connection, namespace, self._epoch, floor, now))

    async def mark_exposed(self, namespace: str, series: Iterable[str]) -> None:
        """Note that these series were let go from 0: not even after a restart do they begin there again."""
        names = [{"namespace": namespace, "epoch": self._epoch, "series": name} for name in series]
        await self._run(lambda connection: self._keep(connection, schema.exposed, names))

    async def exposed(self, namespace: str) -> set[str]:
        """Return the series that were let go from 0."""
        table = schema.exposed
        query = select(table.c.series).where(table.c.namespace == namespace, table.c.epoch == self._epoch)
        return await self._run(lambda connection: set(connection.scalars(query)))

    async def transact(self, work: Callable[[Connection], T]) -> T:
        """Do *work* in one transaction: for what has tables of its own.

        Raises:
            LedgerError: It failed. Whether it was written is then to be read again.
        """
        return await self._run(work)

    def _write(self, connection: Connection, namespace: str, change: Change, now: int) -> None:
        whose = {"namespace": namespace}
        for table, new in writes.new(change, now):
            self._keep(connection, table, [whose | row for row in new])
        _pause(connection, namespace, change.paused)
        _drop(connection, schema.open_runs, namespace, change.left)
        _drop(connection, schema.pending, namespace, change.settled)
        for table, counts in writes.increments(change):
            epoch = {"epoch": self._epoch} if "epoch" in table.c else {}
            self._add(connection, table, [whose | epoch | row for row in counts])
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

    def _keep(self, connection: Connection, table: Table, new: list[dict[str, Any]]) -> None:
        self._many(connection, table, new, lambda statement: statement.on_conflict_do_nothing())

    def _add(self, connection: Connection, table: Table, counts: list[dict[str, Any]]) -> None:
        """Add to the counts of rows that may be there already."""
        keys = [column.name for column in table.primary_key]

        def add(statement: Any) -> Any:  # noqa: ANN401 the stores' own kinds of insert
            sums = {c.name: c + statement.excluded[c.name] for c in table.columns if c.name not in keys}
            return statement.on_conflict_do_update(index_elements=keys, set_=sums)

        self._many(connection, table, counts, add)


def _pause(connection: Connection, namespace: str, paused: Mapping[str, bool]) -> None:
    if paused:
        statement = update(schema.open_runs).where(*_one(schema.open_runs, namespace))
        rows = [{"which": run_id, "now": int(is_paused)} for run_id, is_paused in paused.items()]
        connection.execute(statement.values(paused=bindparam("now")), rows)


def _drop(connection: Connection, table: Table, namespace: str, run_ids: Sequence[str]) -> None:
    if run_ids:
        connection.execute(delete(table).where(*_one(table, namespace)), [{"which": run_id} for run_id in run_ids])


def _one(table: Table, namespace: str) -> tuple[ColumnElement[bool], ...]:
    # By the whole key: for a list of ids a server may go through all of the namespace.
    return table.c.namespace == namespace, table.c.run_id == bindparam("which")
