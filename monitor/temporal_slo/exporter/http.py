"""The HTTP application: metrics, health, readiness, debug information."""

import ipaddress
from collections.abc import Callable
from typing import Any

from fastapi import FastAPI, Request, Response, status
from fastapi.responses import JSONResponse, PlainTextResponse
from starlette.background import BackgroundTask

from temporal_slo.exporter.exposition.publisher import Publisher

DebugInfo = Callable[[], dict[str, Any]]


def create_app(publisher: Publisher, debug_info: DebugInfo = dict, *, debug_anywhere: bool = False) -> FastAPI:
    """Return the application that serves the metrics of *publisher*.

    Args:
        publisher: Has the exposition.
        debug_info: Returns what the last polls did, for `/debug/poll`.
        debug_anywhere: Serve `/debug/poll` to any client, not only to localhost.
    """
    app = FastAPI(title="temporal-slo exporter", docs_url=None, redoc_url=None, openapi_url=None)

    async def served(number: int, scraper: str) -> None:
        publisher.served(number, scraper)

    @app.get("/metrics")
    async def metrics(request: Request) -> Response:
        headers = request.headers
        answer, number = publisher.answer(headers.get("accept", ""), headers.get("accept-encoding", ""))
        # After it is sent: a series is released only when a scraper has received its zero.
        sent = BackgroundTask(served, number, request.client.host if request.client else "")
        return Response(answer.body, headers=answer.headers, background=sent)

    @app.get("/healthz")
    async def healthz() -> Response:
        return PlainTextResponse("ok\n")

    @app.get("/readyz")
    async def readyz() -> Response:
        body = _ready(publisher)
        return JSONResponse(body, status.HTTP_200_OK if body["ready"] else status.HTTP_503_SERVICE_UNAVAILABLE)

    @app.get("/debug/poll")
    async def debug_poll(request: Request) -> Response:
        if debug_anywhere or _is_local(request):
            return JSONResponse(debug_info())
        return PlainTextResponse("only on localhost, or with --debug-anywhere\n", status.HTTP_403_FORBIDDEN)

    return app


def _ready(publisher: Publisher) -> dict[str, Any]:
    """Return whether any namespace can be polled, and the errors of the others."""
    errors = {name: snapshot.error for name, snapshot in publisher.snapshots.items() if snapshot.error}
    ready = len(errors) < len(publisher.snapshots)
    reason = None if ready else next(iter(errors.values()), "nothing was published yet")
    return {"ready": ready, "reason": reason, "errors": errors}


def _is_local(request: Request) -> bool:
    try:
        return request.client is not None and ipaddress.ip_address(request.client.host).is_loopback
    except ValueError:
        return False
