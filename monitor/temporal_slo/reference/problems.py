"""Errors of the HTTP applications as problem details (RFC 9457)."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException

MEDIA_TYPE: Final = "application/problem+json"
DETAIL_MAX: Final = 500
"""Maximum length of a detail, in characters: it may hold the message of another server."""


class Problem(BaseModel):
    """Body of every error response.

    Attributes:
        type: Always `about:blank`: the status says what kind of problem it is.
        title: Standard phrase of the status.
        status: HTTP status code.
        detail: What is wrong with this request.
    """

    type: str
    title: str
    status: int
    detail: str


class ProblemError(HTTPException):
    """An error response.

    Args:
        status: Status code.
        detail: What is wrong with the request, without secrets.
        headers: Additional headers.
    """

    def __init__(self, status: HTTPStatus, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(status, detail, headers)


def problem(status: int, detail: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """Return an error response."""
    title = HTTPStatus(status).phrase
    body = Problem(type="about:blank", title=title, status=status, detail=detail[:DETAIL_MAX])
    return JSONResponse(body.model_dump(), status, headers, MEDIA_TYPE)


def handle_problems(app: FastAPI) -> None:
    """Make *app* answer every error with a problem, also those of the framework, and document them."""

    @app.exception_handler(HTTPException)
    async def known(_: Request, error: HTTPException) -> JSONResponse:
        return problem(error.status_code, str(error.detail), error.headers)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        # An identifier that cannot exist names nothing.
        in_path = any(found["loc"][0] == "path" for found in error.errors())
        return problem(404 if in_path else 422, "; ".join(map(_mistake, error.errors())))

    @app.exception_handler(Exception)
    async def unexpected(_: Request, __: Exception) -> JSONResponse:
        # The server logs the error; its message may hold what a client must not see.
        return problem(500, "unexpected error; the log of the server has the details")

    def openapi() -> dict[str, Any]:
        app.openapi_schema = app.openapi_schema or _openapi(app)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # as FastAPI documents it


def problems(details: Mapping[int, str]) -> dict[int | str, dict[str, Any]]:
    """Return the `responses` of a route that document its errors.

    Args:
        details: An example of the detail, by status.
    """
    return {status: _documented(status, detail) for status, detail in details.items()}


def _documented(status: int, detail: str) -> dict[str, Any]:
    title = HTTPStatus(status).phrase
    example = {"type": "about:blank", "title": title, "status": status, "detail": detail}
    schema = {"$ref": f"#/components/schemas/{Problem.__name__}"}
    return {"description": title, "content": {MEDIA_TYPE: {"schema": schema, "example": example}}}


def _openapi(app: FastAPI) -> dict[str, Any]:
    document = get_openapi(
        title=app.title, version=app.version, description=app.description, routes=app.routes, tags=app.openapi_tags
    )
    # Routes refer to it, but none returns it, so FastAPI does not add it.
    document.setdefault("components", {}).setdefault("schemas", {})[Problem.__name__] = Problem.model_json_schema()
    return document


def _mistake(found: Mapping[str, Any]) -> str:
    """Where a request is wrong and how; never its value, which may be anything."""
    where = ".".join(str(part) for part in found["loc"] if part != "body")
    return f"{where}: {found['msg']}" if where else f"body: {found['msg']}"
