"""The database of a ledger: opened, held, and used by one thread, one transaction a call, no commit left in doubt."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Final, NamedTuple, TypeVar
from uuid import uuid4

from sqlalchemy import ARRAY, Connection, Table, bindparam, func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from temporal_slo.errors import LedgerError, UsageError
from temporal_slo.ledger import schema
from temporal_slo.ledger.lock import Hold
from temporal_slo.ledger.opening import check_about, identity, open_engine, refuse_foreign, told

T = TypeVar("T")

SIGNED: Final = "commit"
"""The row of the table `ledger` that has the token of the last commit."""


class _Doubt(NamedTuple):
    """A commit that may have been written though no answer came.

    Attributes:
        written: Tells the loop that it was.
    """

    token: str
    written: Callable[[], object]


class Store:
    """A database, opened as a ledger and held against other exporters.

    A connection to a server can be lost between a COMMIT and its answer. So each commit leaves a token, by which the
    next transaction, whoever's it is, first finds out what became of it. A new connection takes the lock again before
    that, so nothing can still be under way, and by the same token it notices whether another exporter was here.

    Args:
        url: As `Ledger` takes it.

    Attributes:
        insert: Makes an INSERT that can deal with rows that are there already.
        epoch: In which totals count.
        generation: Changes when another exporter has counted here; what was loaded before is behind.

    Raises:
        UsageError: It is no ledger of ours, or newer than this program, or in use, or cannot be opened.
    """

    def __init__(self, url: str) -> None:
        self._engine = open_engine(url)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="ledger")
        self._hold = Hold()
        # Of a file there is no connection to lose.
        self._remote = self._engine.dialect.name != "sqlite"
        self._signed: str | None = None
        self.generation = 0
        self._doubt: _Doubt | None = None
        self.insert: Callable[[Table], Any] = postgresql.insert if self._remote else sqlite.insert
        try:
            self.epoch = self._open()
        except DBAPIError as error:
            self.close()
            remedy = "give a place that can be read and written"
            raise UsageError("--ledger", f"cannot be opened: {told(self._engine, error)}", remedy) from error
        except BaseException:
            self.close()
            raise

    def _open(self) -> int:
        with self._engine.begin() as connection:
            # Before all else: whoever has it open must not find it upgraded.
            self._hold.take(connection)
            if not self._remote:
                # Python's driver begins none before DDL: a first start cut short would leave some of the tables.
                connection.exec_driver_sql("BEGIN")
            refuse_foreign(connection)
            schema.metadata.create_all(connection)
            epoch = check_about(connection)
            self._identity, self._signed = identity(connection), _signature(connection)
            connection.info["held"] = True
        return epoch

    def close(self) -> None:
        """Close it; nothing is under way any more."""
        self._thread.shutdown()
        self._engine.dispose()
        self._hold.close()

    async def run(self, work: Callable[[Connection], T]) -> T:
        """Return what *work* returns, which is done in one transaction.

        Raises:
            LedgerError: It failed; nothing was written.
            UsageError: The database is no longer what this process left.
        """
        return await self._run(work, None)

    async def commit(self, work: Callable[[Connection], object], written: Callable[[], object]) -> None:
        """Do *work* in one transaction, and call *written* once it is known to be written.

        Raises:
            LedgerError: It failed. If only the answer was lost *written* is called before the next transaction's
                answer is given.
            UsageError: The database is no longer what this process left.
        """
        tell = partial(asyncio.get_running_loop().call_soon_threadsafe, written)
        doubt = _Doubt(uuid4().hex, tell) if self._remote else None

        def signed(connection: Connection) -> None:
            work(connection)
            if doubt:
                self._sign(connection, doubt.token)

        await self._run(signed, doubt)
        written()

    async def recover(self) -> None:
        """Find out what became of a commit whose answer was lost, if there was one.

        Raises:
            LedgerError: That cannot be told yet.
            UsageError: The database is no longer what this process left.
        """
        if self._doubt:
            await self.run(lambda _: None)

    async def _run(self, work: Callable[[Connection], T], doubt: _Doubt | None) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, self._transact, work, doubt)
        except SQLAlchemyError as error:
            raise LedgerError(told(self._engine, error)) from error

    def _transact(self, work: Callable[[Connection], T], doubt: _Doubt | None) -> T:
        with self._engine.begin() as connection:
            if self._remote:
                self._go_on(connection)
            self._doubt = doubt
            result = work(connection)
        if doubt:
            self._doubt, self._signed = None, doubt.token
        return result

    def _go_on(self, connection: Connection) -> None:
        """Make sure that this connection leads to what the last one left, and that all is known of that."""
        held = connection.info.get("held")
        if held and not self._doubt:
            return
        if not held:
            self._hold.retake(connection)
            if identity(connection) != self._identity:
                raise UsageError(
                    "--ledger",
                    "was restored or promoted while it was in use",
                    "start this exporter again: it goes on in a new epoch",
                )
        found = _signature(connection)
        if self._doubt and found == self._doubt.token:
            # The loop hears of it before whoever asked for this transaction does.
            self._doubt.written()
        elif found != self._signed:
            self.generation += 1
        self._doubt, self._signed = None, found
        connection.info["held"] = True

    def insert_many(
        self, connection: Connection, table: Table, new: Sequence[Mapping[str, Any]], finish: Callable[[Any], Any]
    ) -> None:
        """Insert rows that have the same columns.

        Args:
            connection: Of a transaction.
            table: Where.
            new: The rows.
            finish: Gets the INSERT and tells it what to do with rows that are there already.
        """
        if not new:
            return
        statement, names = self.insert(table), list(new[0])
        if self._remote:
            # One statement with a list for each column: a server works off one after the other ten times as slowly.
            lists = [func.unnest(bindparam(f"all_{name}", type_=ARRAY(table.c[name].type))) for name in names]
            columns = {f"all_{name}": [row[name] for row in new] for name in names}
            connection.execute(finish(statement.from_select(names, select(*lists))), columns)
        else:
            connection.execute(finish(statement), new)

    def _sign(self, connection: Connection, token: str) -> None:
        statement = self.insert(schema.ledger).values(key=SIGNED, value=token)
        new = {"value": statement.excluded.value}
        connection.execute(statement.on_conflict_do_update(index_elements=["key"], set_=new))


def _signature(connection: Connection) -> str | None:
    found: str | None = connection.scalar(select(schema.ledger.c.value).where(schema.ledger.c.key == SIGNED))
    return found
