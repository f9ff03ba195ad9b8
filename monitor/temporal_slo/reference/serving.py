"""Serves an HTTP application on an address until the process stops."""

import asyncio
import logging
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Final

import uvicorn
from fastapi import FastAPI
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from temporal_slo.errors import UsageError
from temporal_slo.reference.problems import ProblemError, problem

BODY_MAX: Final = 64 * 1024
"""Maximum size of a request body, in bytes."""

SHUTDOWN_DEADLINE: Final = 5
TOO_LARGE: Final = f"the body is larger than {BODY_MAX // 1024} KiB"

log = logging.getLogger(__name__)


class BodyLimit:
    """Middleware that answers 413 as soon as a body proves larger than the limit.

    Args:
        app: Application that receives the other requests.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, with its body bounded."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
        elif _declared_length(scope) > BODY_MAX:
            await problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, TOO_LARGE)(scope, receive, send)
        else:
            await self._app(scope, _bounded(receive), send)


def _declared_length(scope: Scope) -> int:
    length = dict(scope["headers"]).get(b"content-length", b"")
    # Servers refuse numbers that do not fit 64 bits, which Python would refuse to parse only at 4300 digits.
    return int(length) if length.isdigit() else 0


def _bounded(receive: Receive) -> Receive:
    read = 0

    async def bounded() -> Message:
        nonlocal read
        message = await receive()
        read += len(message.get("body", b""))
        if read > BODY_MAX:
            raise ProblemError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, TOO_LARGE)
        return message

    return bounded


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket.

    Raises:
        UsageError: The address is taken, or not one of this host.
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


class _Server(uvicorn.Server):
    """A server that leaves signals to the process."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture no signal."""
        yield


async def serve(app: FastAPI, listener: socket.socket) -> None:
    """Serve *app* on *listener* until cancelled; then finish the requests in flight."""
    config = uvicorn.Config(app, log_config=None, access_log=False, timeout_graceful_shutdown=SHUTDOWN_DEADLINE)
    server = _Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    log.info("%s: serving on %s:%d", app.title, *listener.getsockname()[:2])
    try:
        await asyncio.shield(serving)
    finally:
        server.should_exit = True
        await serving
