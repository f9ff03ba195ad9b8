"""A deadline for each response of a database server: one that hangs keeps its connections open and says nothing."""

import socket
import time
from contextlib import suppress
from typing import Final

from sqlalchemy import Engine, event
from sqlalchemy.engine.interfaces import DBAPIConnection

RESPONSE_TIMEOUT: Final = 15.0
"""Seconds for each response. Statements are short; the longest one loads the open runs of a namespace at the start."""


class Deadline:
    """Ends the connection of an engine whose server does not respond in time.

    The thread of the transaction waits inside the driver, which has no limit. Another thread shuts its socket down,
    which the driver reports as a lost connection.

    Args:
        timeout: Seconds for each response.

    Attributes:
        has_passed: Whether it has passed in the current or the last transaction.
    """

    def __init__(self, timeout: float) -> None:
        self.timeout = timeout
        self.has_passed = False
        self._since: float | None = None
        # A duplicate: once the driver has closed its own, that number may be of another file.
        self._socket: socket.socket | None = None

    def watch(self, engine: Engine) -> None:
        """Watch the only connection of *engine*."""
        event.listen(engine, "connect", self._connected)
        for moment in ("before_cursor_execute", "after_cursor_execute", "commit"):
            event.listen(engine, moment, self._responded)

    def start(self) -> None:
        """Start with a transaction."""
        self.has_passed = False
        self._since = time.monotonic()

    def stop(self) -> None:
        """Stop at the end of a transaction."""
        self._since = None

    def remaining(self) -> float:
        """Return the seconds until it passes; all of them while there is no transaction."""
        since = self._since
        return self.timeout if since is None else max(since + self.timeout - time.monotonic(), 0.0)

    def enforce(self) -> None:
        """End the connection if the deadline has passed."""
        if self._socket and not self.remaining():
            self.has_passed = True
            # It may have been closed by the server at this very moment.
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Forget the connection."""
        if self._socket:
            self._socket.close()
            self._socket = None

    def _connected(self, connection: DBAPIConnection, _: object) -> None:
        self.close()
        self._socket = socket.socket(fileno=socket.dup(connection.fileno()))
        self._responded()

    def _responded(self, *_: object) -> None:
        if self._since is not None:
            self._since = time.monotonic()
