"""The exporter as an HTTP service: `/metrics`, `/healthz`, `/readyz`."""

import asyncio
import logging
import socket

import uvicorn
from fastapi import FastAPI, Request, Response, status
from fastapi.responses import JSONResponse, PlainTextResponse
from temporalio.client import Client

from temporal_slo.errors import UsageError
from temporal_slo.exporter.collector import render
from temporal_slo.exporter.poller import Poller
from temporal_slo.exporter.snapshot import Snapshot
from temporal_slo.exporter.visibility import TemporalVisibility
from temporal_slo.settings import ExporterSettings

SHUTDOWN_DEADLINE = 3

log = logging.getLogger(__name__)


class Board:
    """Where the poller hangs its newest snapshot, rendered, for the scrapes to read.

    Attributes:
        snapshot: The newest one.
        exposition: The same, rendered.
    """

    def put(self, snapshot: Snapshot) -> None:
        """Publish *snapshot*; it is rendered here, once, and not by each scrape."""
        self.exposition = render([snapshot])
        self.snapshot = snapshot


def create_app(board: Board) -> FastAPI:
    """Return the application that serves what *board* holds."""
    app = FastAPI(title="temporal-slo exporter", docs_url=None, redoc_url=None, openapi_url=None)

    @app.get("/metrics")
    async def metrics(request: Request) -> Response:
        body, content_type = board.exposition.choose(request.headers.get("accept", ""))
        return Response(body, headers={"content-type": content_type})

    @app.get("/healthz")
    async def healthz() -> Response:
        return PlainTextResponse("ok\n")

    @app.get("/readyz")
    async def readyz() -> Response:
        trouble = board.snapshot.trouble
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
        client = await Client.connect(**settings.connection, lazy=True)
        board = Board()
        namespace = settings.connection["namespace"]
        poller = Poller(namespace, TemporalVisibility(client, namespace), board.put, interval=settings.poll_interval)
        if settings.fail_fast and not await poller.poll():
            raise UsageError(
                f"Temporal at {settings.connection['target_host']}",
                str(poller.snapshot.trouble),
                "check address and namespace, or leave out --fail-fast to wait for them",
            )
        log.info("serving /metrics of Temporal namespace %s on %s:%d", namespace, *settings.listen)
        await _run(poller, create_app(board), listener)


async def _run(poller: Poller, app: FastAPI, listener: socket.socket) -> None:
    server = uvicorn.Server(
        uvicorn.Config(
            app, log_config=None, access_log=False, lifespan="off", timeout_graceful_shutdown=SHUTDOWN_DEADLINE
        )
    )
    polling = asyncio.create_task(poller.run())
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    # The poller never returns: if it is done first it has crashed, and an exporter that no longer polls must not
    # go on answering as if all were well.
    await asyncio.wait([polling, serving], return_when=asyncio.FIRST_COMPLETED)
    server.should_exit = True
    polling.cancel()
    await serving
    if polling.done() and not polling.cancelled():
        polling.result()


def _listen(settings: ExporterSettings) -> socket.socket:
    host, port = settings.listen
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=128)
    except OSError as error:
        # The standard library appends the address, which the message has already.
        reason = str(error.strerror).partition(" (")[0]
        raise UsageError(
            f"--listen {host}:{port}", f"cannot listen there: {reason}", "give a free port or another address"
        ) from error
