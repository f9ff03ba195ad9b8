"""The lock of a ledger: two exporters writing to one ledger would count every run twice."""

import fcntl
import os
import time
from typing import Final

from sqlalchemy import Connection, text

from temporal_slo.errors import LedgerError, UsageError
from temporal_slo.ledger import schema

IN_USE: Final = "is in use by another exporter"

LOCK_QUERY: Final = text("SELECT pg_try_advisory_lock(hashtextextended(current_schema(), :program))")
"""A session lock: it is held until the connection closes, across transactions."""

ACQUIRE_TIMEOUT: Final = 5.0
"""Seconds to wait for the lock in PostgreSQL, which may notice late that an exporter was killed."""

RETRY_INTERVAL: Final = 0.05


class Lock:
    """Keeps a second exporter from writing to the same ledger. It is released when this process ends in any way."""

    def __init__(self) -> None:
        self._file: int | None = None

    def acquire(self, connection: Connection) -> None:
        """Lock the ledger for this process.

        Raises:
            UsageError: Another process holds the lock.
        """
        is_server = connection.dialect.name == "postgresql"
        locked = _lock_session if is_server else self._lock_file
        # A file lock ends at once with its process.
        deadline = time.monotonic() + (ACQUIRE_TIMEOUT if is_server else 0)
        while not locked(connection):
            if time.monotonic() >= deadline:
                raise UsageError("--ledger", IN_USE, "stop the other exporter, or use a different ledger")
            time.sleep(RETRY_INTERVAL)

    def reacquire(self, connection: Connection) -> None:
        """Lock the ledger with a connection that replaces a lost one. Only for PostgreSQL.

        Raises:
            LedgerError: Another process holds the lock, or the server has not noticed the lost connection yet.
        """
        if not _lock_session(connection):
            raise LedgerError(IN_USE)

    def release(self) -> None:
        """Release the lock of a file; PostgreSQL releases its lock when the connection closes."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _lock_file(self, connection: Connection) -> bool:
        self._file = os.open(str(connection.engine.url.database), os.O_RDONLY | os.O_CLOEXEC)
        try:
            # SQLite uses POSIX locks, which flock does not interfere with.
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.release()
            return False
        return True


def _lock_session(connection: Connection) -> bool:
    return bool(connection.scalar(LOCK_QUERY, {"program": schema.APPLICATION_ID}))
