"""Serving an HTTP application until the process is told to stop."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Final

import uvicorn
from fastapi import FastAPI

from temporal_slo.errors import UsageError

KEEP_ALIVE: Final = 60
"""Seconds until an idle connection is closed: later than clients do it, which would lose requests sent meanwhile."""
SHUTDOWN_DEADLINE: Final = 3
"""Seconds that a shutdown waits for requests in flight."""


class _Server(uvicorn.Server):
    """A server that leaves signals to the process."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture no signal."""
        yield


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket.

    Raises:
        UsageError: The port is taken, or the address is not of this machine.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listener = socket.create_server((host, port), family=family, backlog=128)
    except OSError as error:
        # The standard library appends the address, which the message contains already.
        reason = str(error.strerror).partition(" (")[0]
        raise UsageError(
            f"--listen {host}:{port}", f"cannot listen there: {reason}", "give a free port or another address"
        ) from error
    # asyncio sets it only on sockets that it creates; without it a small response waits 40 ms for an acknowledgement.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


@asynccontextmanager
async def serving(app: FastAPI, listener: socket.socket) -> AsyncIterator["asyncio.Task[None]"]:
    """Serve *app* inside the context; requests in flight have a few seconds to finish at its end.

    Yields:
        The task that serves; it ends early only if it crashes.
    """
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        lifespan="off",
        timeout_keep_alive=KEEP_ALIVE,
        timeout_graceful_shutdown=SHUTDOWN_DEADLINE,
    )
    server = _Server(config)
    task = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        yield task
    finally:
        server.should_exit = True
        await asyncio.wait([task])
        if not task.cancelled():
            task.result()
