"""The services as one HTTP application."""

import logging
import sqlite3
from http import HTTPStatus
from importlib.metadata import version

from fastapi import FastAPI, Request, Response

from temporal_slo.reference.services import control, routes
from temporal_slo.reference.services.books import Books
from temporal_slo.reference.services.calls import Clock, Performer, utc_now
from temporal_slo.reference.services.webhook import Webhook
from temporal_slo.reference.web import problems
from temporal_slo.reference.web.limits import BodyLimit

_log = logging.getLogger(__name__)


def create_app(books: Books, webhook: Webhook | None = None, *, clock: Clock = utc_now) -> FastAPI:
    """Return the application.

    Args:
        books: The books; they must stay open as long as it serves.
        webhook: Delivers the events of payments; None for no delivery.
        clock: Returns the time now.
    """
    app = FastAPI(title="temporal-slo services", version=version("temporal-slo"), docs_url=None, redoc_url=None)
    performer = Performer(books, clock)
    app.state.performer = performer
    app.state.webhook = webhook
    app.include_router(routes.router(clock, deliver=webhook is not None))
    app.include_router(control.router(books, performer))
    app.add_middleware(BodyLimit)
    app.add_exception_handler(sqlite3.OperationalError, _on_database_error)
    problems.install(app)
    return app


def performer_of(app: FastAPI) -> Performer:
    """Return what performs the calls of an application."""
    performer: Performer = app.state.performer
    return performer


async def _on_database_error(_: Request, error: Exception) -> Response:
    # For example a full disk: nothing took effect, and the caller may try again.
    _log.error("books: %s", error)
    return problems.respond(problems.Problem.of(HTTPStatus.SERVICE_UNAVAILABLE, "the books cannot be written"))
