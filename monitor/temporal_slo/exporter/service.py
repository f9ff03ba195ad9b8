"""The exporter as an HTTP service: `/metrics`, `/healthz`, `/readyz`."""

import asyncio
import logging
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from fastapi import FastAPI, Request, Response, status
from fastapi.responses import JSONResponse, PlainTextResponse
from starlette.background import BackgroundTask

from temporal_slo.errors import UsageError
from temporal_slo.exporter.board import Board
from temporal_slo.exporter.ledger import Ledger
from temporal_slo.exporter.wiring import Parts, wire
from temporal_slo.settings import ExporterSettings

SHUTDOWN_DEADLINE = 3

log = logging.getLogger(__name__)


def create_app(board: Board) -> FastAPI:
    """Return the application that serves what *board* holds."""
    app = FastAPI(title="temporal-slo exporter", docs_url=None, redoc_url=None, openapi_url=None)

    async def served(number: int, scraper: str) -> None:
        board.served(number, scraper)

    @app.get("/metrics")
    async def metrics(request: Request) -> Response:
        headers = request.headers
        answer, number = board.answer(headers.get("accept", ""), headers.get("accept-encoding", ""))
        # Once it is sent: only a zero that a scraper has had lets its series go.
        sent = BackgroundTask(served, number, request.client.host if request.client else "")
        return Response(answer.body, headers=answer.headers, background=sent)

    @app.get("/healthz")
    async def healthz() -> Response:
        return PlainTextResponse("ok\n")

    @app.get("/readyz")
    async def readyz() -> Response:
        trouble = board.snapshot.trouble if board.snapshot else "nothing was published yet"
        code = status.HTTP_503_SERVICE_UNAVAILABLE if trouble else status.HTTP_200_OK
        return JSONResponse({"ready": trouble is None, "reason": trouble}, code)

    return app


async def serve(settings: ExporterSettings) -> None:
    """Run the exporter until it is told to stop by SIGTERM or SIGINT.

    Raises:
        UsageError: The port is taken; or, with `fail_fast`, the first poll failed.
    """
    listener = _listen(settings)
    with listener:
        ledger = Ledger(settings.ledger)
        try:
            await _serve(settings, ledger, listener)
        finally:
            ledger.close()


async def _serve(settings: ExporterSettings, ledger: Ledger, listener: socket.socket) -> None:
    parts = await wire(settings, ledger)
    if settings.fail_fast and not await parts.poller.poll():
        raise UsageError(
            f"Temporal at {settings.connection['target_host']}",
            str(parts.poller.snapshot.trouble),
            "check address and namespace, or leave out --fail-fast to wait for them",
        )
    host, port = listener.getsockname()[:2]
    log.info("serving /metrics of Temporal namespace %s on %s:%d", settings.connection["namespace"], host, port)
    await _run(parts, listener)


class _Server(uvicorn.Server):
    """A server that leaves signals to the process that it runs in."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield


async def _run(parts: Parts, listener: socket.socket) -> None:
    """Poll, settle and serve until cancelled, or until one of them ends.

    The first two never return: one that ends has crashed, and an exporter that no longer polls must not go on
    answering as if all were well.
    """
    app = create_app(parts.board)
    config = uvicorn.Config(
        app, log_config=None, access_log=False, lifespan="off", timeout_graceful_shutdown=SHUTDOWN_DEADLINE
    )
    server = _Server(config)
    working = [asyncio.create_task(parts.poller.run()), asyncio.create_task(parts.settler.run())]
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        await asyncio.wait([*working, serving], return_when=asyncio.FIRST_COMPLETED)
    finally:
        server.should_exit = True
        for task in working:
            task.cancel()
        await asyncio.wait([*working, serving])
    for task in (*working, serving):
        if not task.cancelled():
            task.result()


def _listen(settings: ExporterSettings) -> socket.socket:
    host, port = settings.listen
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listener = socket.create_server((host, port), family=family, backlog=128)
    except OSError as error:
        # The standard library appends the address, which the message has already.
        reason = str(error.strerror).partition(" (")[0]
        raise UsageError(
            f"--listen {host}:{port}", f"cannot listen there: {reason}", "give a free port or another address"
        ) from error
    # asyncio sets it only on sockets of its own making; without it a small answer waits 40 ms for an acknowledgement.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener
