"""HTTP endpoints of the exporter: metrics, health, readiness, debug information."""

import asyncio
import ipaddress
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from fastapi import FastAPI, Request, Response, status
from fastapi.responses import JSONResponse, PlainTextResponse
from starlette.types import Receive, Scope, Send

from temporal_slo.exporter.exposition.publisher import Publisher
from temporal_slo.exporter.exposition.renderer import ScrapeResponse
from temporal_slo.exporter.exposition.scrapers import Scraper

DebugInfo = Callable[[], dict[str, Any]]

METHODS: Final = ["GET", "HEAD"]
"""HEAD is what `wget --spider` sends, with which containers are checked."""
CHUNK: Final = 64 * 1024
SCRAPE_TIMEOUT_HEADER: Final = "x-prometheus-scrape-timeout-seconds"
"""Sent by Prometheus, its agents, and collectors that scrape with its code."""
IDENTITY_MAX: Final = 200


def create_app(publisher: Publisher, debug_info: DebugInfo = dict, *, debug_anywhere: bool = False) -> FastAPI:
    """Return the application that serves the metrics of *publisher*.

    Args:
        publisher: Renders the metrics.
        debug_info: Returns details of the last polls, for `/debug/poll`.
        debug_anywhere: Serve `/debug/poll` to any client, not only to localhost.
    """
    app = FastAPI(title="temporal-slo exporter", docs_url=None, redoc_url=None, openapi_url=None)

    @app.api_route("/metrics", methods=METHODS)
    async def metrics(request: Request) -> Response:
        headers = request.headers
        response, generation = publisher.response(headers.get("accept", ""), headers.get("accept-encoding", ""))
        return _Metrics(response, partial(publisher.served, generation, _scraper(request)))

    @app.api_route("/healthz", methods=METHODS)
    async def healthz() -> Response:
        return PlainTextResponse("ok\n")

    @app.api_route("/readyz", methods=METHODS)
    async def readyz() -> Response:
        body = _readiness(publisher)
        return JSONResponse(body, status.HTTP_200_OK if body["ready"] else status.HTTP_503_SERVICE_UNAVAILABLE)

    @app.get("/debug/poll")
    async def debug_poll(request: Request) -> Response:
        if debug_anywhere or _is_local(request):
            return JSONResponse(debug_info())
        return PlainTextResponse("available only from localhost, or with --debug-anywhere\n", status.HTTP_403_FORBIDDEN)

    return app


class _Metrics(Response):
    """A response to a scrape, sent in chunks as fast as the client receives it.

    In one piece, each slow client would hold a copy of it.

    Args:
        response: Body and headers.
        received: Called after a GET whose response was sent completely: a series is released only when its initial
            value was received.
    """

    def __init__(self, response: ScrapeResponse, received: Callable[[], None]) -> None:
        super().__init__(response.body, headers=response.headers)
        self._received = received

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the response."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        # The server ignores chunks that are sent after the client has disconnected.
        disconnected = asyncio.create_task(_disconnected(receive))
        try:
            for start in range(0, len(self.body), CHUNK) if scope["method"] == "GET" else ():
                await send({"type": "http.response.body", "body": self.body[start : start + CHUNK], "more_body": True})
            complete = scope["method"] == "GET" and not disconnected.done()
            await send({"type": "http.response.body"})
        finally:
            disconnected.cancel()
        if complete:
            self._received()


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _scraper(request: Request) -> Scraper:
    agent, timeout = (request.headers.get(name, "")[:IDENTITY_MAX] for name in ("user-agent", SCRAPE_TIMEOUT_HEADER))
    return Scraper(request.client.host if request.client else "", agent, timeout)


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
