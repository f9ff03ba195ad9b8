"""One exporter at a time counts in a ledger: two would each do so, and it would have every run twice."""

import fcntl
import os
import time
from typing import Final

from sqlalchemy import Connection, text

from temporal_slo.errors import LedgerError, UsageError
from temporal_slo.ledger import schema

IN_USE: Final = "is in use by another exporter"

LOCK: Final = text("SELECT pg_try_advisory_lock(hashtextextended(current_schema(), :program))")
"""Of the session: it ends with the connection, whatever becomes of its transactions."""

PATIENCE: Final = 5.0
"""Seconds that an exporter before us, just killed, may take to be gone: a server learns of it a moment later."""

RETRY_INTERVAL: Final = 0.05


class Hold:
    """Keeps a second exporter from counting into the same ledger; the end of this process, however, lets it go."""

    def __init__(self) -> None:
        self._file: int | None = None

    def take(self, connection: Connection) -> None:
        """Take the ledger for this process.

        Raises:
            UsageError: Another process holds it.
        """
        taken = _lock_session if connection.dialect.name == "postgresql" else self._lock_file
        # Who holds a file is gone as soon as its process is.
        deadline = time.monotonic() + (PATIENCE if taken is _lock_session else 0)
        while not taken(connection):
            if time.monotonic() >= deadline:
                raise UsageError("--ledger", IN_USE, "stop that one, or give another ledger")
            time.sleep(RETRY_INTERVAL)

    def retake(self, connection: Connection) -> None:
        """Take it with a connection that is in the place of a lost one; a file is not lost.

        Raises:
            LedgerError: Another has it now, or the server has not noticed yet that our last connection is gone.
        """
        if not _lock_session(connection):
            raise LedgerError(IN_USE)

    def close(self) -> None:
        """Let a file go; a server lets go when the connection ends."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _lock_file(self, connection: Connection) -> bool:
        self._file = os.open(str(connection.engine.url.database), os.O_RDONLY | os.O_CLOEXEC)
        try:
            # Not the kind of lock that SQLite uses, so that they do not meet.
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.close()
            return False
        return True


def _lock_session(connection: Connection) -> bool:
    return bool(connection.scalar(LOCK, {"program": schema.APPLICATION_ID}))
