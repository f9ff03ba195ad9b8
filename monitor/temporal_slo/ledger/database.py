"""The database of a ledger: locked, used by one thread, with every commit confirmed."""

import asyncio
import math
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final, NamedTuple, TypeVar
from uuid import uuid4

from sqlalchemy import Connection, select
from sqlalchemy.exc import DBAPIError, OperationalError, SQLAlchemyError

from temporal_slo.errors import LedgerError, UsageError
from temporal_slo.ledger import deadline, schema, upserts
from temporal_slo.ledger.deadline import Deadline
from temporal_slo.ledger.lock import Lock
from temporal_slo.ledger.opening import identity, initialize, open_engine, redacted_message, refuse_foreign
from temporal_slo.ledger.postgres import refuse_shared_sessions, refuse_unusable, remedy_of

T = TypeVar("T")

COMMIT_TOKEN: Final = "commit"  # noqa: S105 - a key, not a password
"""Key of the row of the table `ledger` that holds the token of the last commit."""

ENFORCED_AFTER: Final = 0.1
"""Seconds after which a passed deadline is enforced."""

VERIFIED: Final = "temporal-slo-verified"
"""Key of a pooled connection's `info`: the connection holds the lock and continues where the last one stopped."""


class _Unconfirmed(NamedTuple):
    """A commit that the server has not confirmed.

    Attributes:
        token: The token that it writes.
        written: Reports to the event loop that it was written.
    """

    token: str
    written: Callable[[], object]


class _Outage(NamedTuple):
    """The last failure to reach the server: its monotonic time, and what was observed."""

    since: float
    reason: str


class Database:
    """A database that is open as a ledger and locked against other exporters.

    The connection to a server can be lost between a COMMIT and its confirmation. Therefore each commit writes a token,
    and the next transaction reads it to find out whether the commit was written. A new connection takes the lock
    first, so no earlier transaction can still be running; a token of another process shows that another exporter has
    written to the ledger.

    Args:
        url: See `Ledger`.

    Attributes:
        epoch: The epoch of totals.
        generation: Incremented when another exporter has written; state loaded before that is stale.

    Raises:
        UsageError: The database is not a ledger, has a newer schema, is in use, or cannot be opened.
    """

    def __init__(self, url: str) -> None:
        self._deadline = Deadline(deadline.RESPONSE_TIMEOUT)
        self._engine = open_engine(url, self._deadline)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="ledger")
        self._lock = Lock()
        # A file has no connection to lose.
        self._remote = self._engine.dialect.name != "sqlite"
        self._last_token: str | None = None
        self._unconfirmed: _Unconfirmed | None = None
        self._outage = _Outage(-math.inf, "")
        self.generation = 0
        try:
            self.epoch = self._open()
            refuse_shared_sessions(self._engine)
        except DBAPIError as error:
            self.close()
            reason = redacted_message(self._engine, error)
            raise UsageError("--ledger", f"cannot be opened: {reason}", remedy_of(self._engine, reason)) from error
        except BaseException:
            self.close()
            raise

    def _open(self) -> int:
        with self._engine.begin() as connection:
            refuse_unusable(connection)
            # Before anything is written: an exporter that has the ledger open must not find it upgraded.
            self._lock.acquire(connection)
            if not self._remote:
                # sqlite3 starts no transaction before DDL: an interrupted first start would leave some of the tables.
                connection.exec_driver_sql("BEGIN")
            refuse_foreign(connection)
            schema.metadata.create_all(connection)
            epoch = initialize(connection)
            self._identity, self._last_token = identity(connection), _stored_token(connection)
            connection.info[VERIFIED] = True
        return epoch

    def close(self) -> None:
        """Close the database and release its lock. No transaction may be running."""
        self._thread.shutdown()
        self._engine.dispose()
        self._deadline.close()
        self._lock.release()

    async def run(self, work: Callable[[Connection], T]) -> T:
        """Return the result of *work*, run in one transaction.

        Raises:
            LedgerError: The transaction failed. On a server it may be committed if only the confirmation was lost: read
                again before retrying.
            UsageError: The database was replaced while it was in use.
        """
        return await self._run(work, None)

    async def commit(self, work: Callable[[Connection], object], written: Callable[[], object]) -> None:
        """Run *work* in one transaction and call *written* once it is known to be committed.

        Raises:
            LedgerError: The transaction failed. If it was committed but not confirmed, *written* is called before the
                next transaction returns.
            UsageError: The database was replaced while it was in use.
        """
        notify = partial(asyncio.get_running_loop().call_soon_threadsafe, written)
        unconfirmed = _Unconfirmed(uuid4().hex, notify) if self._remote else None

        def with_token(connection: Connection) -> None:
            work(connection)
            if unconfirmed:
                row = {"key": COMMIT_TOKEN, "value": unconfirmed.token}
                upserts.replace(connection, schema.ledger, [row], "value")

        await self._run(with_token, unconfirmed)
        written()

    async def recover(self) -> None:
        """Resolve an unconfirmed commit, if there is one.

        Raises:
            LedgerError: The database is still unreachable.
            UsageError: The database was replaced while it was in use.
        """
        if self._unconfirmed:
            await self.run(lambda _: None)

    async def _run(self, work: Callable[[Connection], T], unconfirmed: _Unconfirmed | None) -> T:
        asked = time.monotonic()
        run = asyncio.get_running_loop().run_in_executor(self._thread, self._answer, asked, work, unconfirmed)
        while not (await asyncio.wait({run}, timeout=self._deadline.remaining() + ENFORCED_AFTER))[0]:
            self._deadline.enforce()
        return run.result()

    def _answer(self, asked: float, work: Callable[[Connection], T], unconfirmed: _Unconfirmed | None) -> T:
        if asked < self._outage.since:
            # It was asked for before a transaction found the server unreachable: waiting again helps nobody behind it.
            raise LedgerError(self._outage.reason)
        self._deadline.start()
        try:
            return self._transact(work, unconfirmed)
        except SQLAlchemyError as error:
            silent = f"no response from the database within {self._deadline.timeout:g} s"
            reason = silent if self._deadline.has_passed else redacted_message(self._engine, error)
            if self._remote and isinstance(error, OperationalError):
                self._outage = _Outage(time.monotonic(), reason)
            raise LedgerError(reason) from error
        finally:
            self._deadline.stop()

    def _transact(self, work: Callable[[Connection], T], unconfirmed: _Unconfirmed | None) -> T:
        with self._engine.begin() as connection:
            if self._remote and (self._unconfirmed or VERIFIED not in connection.info):
                self._verify(connection)
            self._unconfirmed = unconfirmed
            result = work(connection)
        if unconfirmed:
            self._unconfirmed, self._last_token = None, unconfirmed.token
        return result

    def _verify(self, connection: Connection) -> None:
        """Verify that this connection continues where the last one stopped, and resolve an unconfirmed commit."""
        if VERIFIED not in connection.info:
            self._lock.reacquire(connection)
            if identity(connection) != self._identity:
                what = "was restored or promoted while it was in use"
                raise UsageError("--ledger", what, "restart this exporter; it continues in a new epoch")
        stored = _stored_token(connection)
        if self._unconfirmed and stored == self._unconfirmed.token:
            # Scheduled before the result of this transaction: the event loop applies the earlier change first.
            self._unconfirmed.written()
        elif stored != self._last_token:
            self.generation += 1
        self._unconfirmed, self._last_token = None, stored
        connection.info[VERIFIED] = True


def _stored_token(connection: Connection) -> str | None:
    token: str | None = connection.scalar(select(schema.ledger.c.value).where(schema.ledger.c.key == COMMIT_TOKEN))
    return token
