"""HTTP endpoints of the exporter: metrics, health, readiness, debug information."""

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
        publisher: Renders the metrics.
        debug_info: Returns details of the last polls, for `/debug/poll`.
        debug_anywhere: Serve `/debug/poll` to any client, not only to localhost.
    """
    app = FastAPI(title="temporal-slo exporter", docs_url=None, redoc_url=None, openapi_url=None)

    # Asynchronous, so that it runs on the event loop and not in a thread.
    async def served(generation: int, scraper: str) -> None:
        publisher.served(generation, scraper)

    @app.get("/metrics")
    async def metrics(request: Request) -> Response:
        headers = request.headers
        response, generation = publisher.response(headers.get("accept", ""), headers.get("accept-encoding", ""))
        # After the response is sent: a series is released only when a scraper has received its initial value.
        after = BackgroundTask(served, generation, request.client.host if request.client else "")
        return Response(response.body, headers=response.headers, background=after)

    @app.get("/healthz")
    async def healthz() -> Response:
        return PlainTextResponse("ok\n")

    @app.get("/readyz")
    async def readyz() -> Response:
        body = _readiness(publisher)
        return JSONResponse(body, status.HTTP_200_OK if body["ready"] else status.HTTP_503_SERVICE_UNAVAILABLE)

    @app.get("/debug/poll")
    async def debug_poll(request: Request) -> Response:
        if debug_anywhere or _is_local(request):
            return JSONResponse(debug_info())
        return PlainTextResponse("available only from localhost, or with --debug-anywhere\n", status.HTTP_403_FORBIDDEN)

    return app


def _readiness(publisher: Publisher) -> dict[str, Any]:
    """Return whether any namespace can be polled, and the errors of the others."""
    errors = {name: snapshot.error for name, snapshot in publisher.snapshots.items() if snapshot.error}
    ready = len(errors) < len(publisher.snapshots)
    reason = None if ready else next(iter(errors.values()), "no poll has finished yet")
    return {"ready": ready, "reason": reason, "errors": errors}


def _is_local(request: Request) -> bool:
    try:
        return request.client is not None and ipaddress.ip_address(request.client.host).is_loopback
    except ValueError:
        return False
