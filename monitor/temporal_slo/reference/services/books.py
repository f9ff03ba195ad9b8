"""The books: the state of all services in one SQLite database."""

import asyncio
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Self, TypeVar

from temporal_slo.errors import UsageError
from temporal_slo.reference.services.schema import TABLES

T = TypeVar("T")

Db = sqlite3.Connection

BUSY_TIMEOUT: Final = 10.0


class Books:
    """The database of the services. Every change is one transaction, and is durable when `run` returns.

    Args:
        path: The file; it is created if it does not exist, its directory must exist.
        busy_timeout: Seconds to wait for the lock of another process.

    Raises:
        UsageError: The file cannot be opened, or is not a database.
    """

    def __init__(self, path: Path, *, busy_timeout: float = BUSY_TIMEOUT) -> None:
        # One connection in one thread: SQLite has one writer at a time anyway, and the event loop never waits for disk.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="books")
        try:
            self._db = self._thread.submit(_open, path, busy_timeout).result()
        except sqlite3.Error as error:
            self._thread.shutdown()
            raise UsageError(
                f"--books {path}", f"cannot be opened: {error}", "name a file in a directory that can be written"
            ) from error

    async def __aenter__(self) -> Self:
        """Return the books."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the database."""
        self.close()

    def close(self) -> None:
        """Close the database, after the transaction that is running."""
        self._thread.submit(self._db.close).result()
        self._thread.shutdown()

    async def run(self, work: Callable[[Db], T]) -> T:
        """Run *work* in one transaction and return its result; an exception rolls it back.

        Raises:
            sqlite3.Error: The database cannot be read or written.
        """
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._transact, work)

    def _transact(self, work: Callable[[Db], T]) -> T:
        with _block(self._db, "BEGIN IMMEDIATE", "COMMIT", "ROLLBACK"):
            return work(self._db)


@contextmanager
def savepoint(db: Db) -> Iterator[None]:
    """Undo what the context changed if it raises, but not what its transaction changed before."""
    with _block(db, "SAVEPOINT step", "RELEASE step", "ROLLBACK TO step"):
        yield


@contextmanager
def _block(db: Db, begin: str, end: str, undo: str) -> Iterator[None]:
    db.execute(begin)
    try:
        yield
        db.execute(end)
    except BaseException:
        # SQLite itself may have rolled back, for example when the disk is full.
        if db.in_transaction:
            db.execute(undo)
        raise


def _open(path: Path, busy_timeout: float) -> Db:
    db = sqlite3.connect(path, timeout=busy_timeout, isolation_level=None)
    db.row_factory = sqlite3.Row
    db.execute("PRAGMA journal_mode = WAL")
    # What a killed process has committed is in the operating system's hands; only a power failure would lose the last
    # transactions, and then still leave the database consistent.
    db.execute("PRAGMA synchronous = NORMAL")
    db.executescript(TABLES)
    return db
