"""The HTTP application: metrics, health, readiness, debug information."""

import ipaddress
from collections.abc import Callable
from typing import Any

from fastapi import FastAPI, Request, Response, status
from fastapi.responses import JSONResponse, PlainTextResponse
from starlette.background import BackgroundTask

from temporal_slo.exporter.exposition.publisher import Board

Told = Callable[[], dict[str, Any]]


def create_app(board: Board, told: Told = dict, *, debug_anywhere: bool = False) -> FastAPI:
    """Return the application that serves what *board* holds.

    Args:
        board: Has the exposition.
        told: Returns what the last polls did, for `/debug/poll`.
        debug_anywhere: Tell that to whoever asks, and not to this machine alone.
    """
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
        body = _ready(board)
        return JSONResponse(body, status.HTTP_200_OK if body["ready"] else status.HTTP_503_SERVICE_UNAVAILABLE)

    @app.get("/debug/poll")
    async def debug_poll(request: Request) -> Response:
        if debug_anywhere or _is_here(request):
            return JSONResponse(told())
        return PlainTextResponse("only on this machine, or with --debug-anywhere\n", status.HTTP_403_FORBIDDEN)

    return app


def _ready(board: Board) -> dict[str, Any]:
    """Return whether any namespace can be polled, and what is wrong with the others."""
    troubles = {name: snapshot.trouble for name, snapshot in board.snapshots.items() if snapshot.trouble}
    ready = len(troubles) < len(board.snapshots)
    reason = None if ready else next(iter(troubles.values()), "nothing was published yet")
    return {"ready": ready, "reason": reason, "troubles": troubles}


def _is_here(request: Request) -> bool:
    try:
        return request.client is not None and ipaddress.ip_address(request.client.host).is_loopback
    except ValueError:
        return False
