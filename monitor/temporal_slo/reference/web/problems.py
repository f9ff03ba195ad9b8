"""Errors of the HTTP applications as problem details (RFC 9457)."""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from temporal_slo.reference.web.wire import Wire

MEDIA_TYPE: Final = "application/problem+json"
_SHOWN: Final = 5
_ALWAYS: Final = (400, 413, 422)


class Problem(Wire):
    """The body of an error response."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str

    @classmethod
    def of(cls, status: int, detail: str) -> "Problem":
        """Return the problem of an HTTP status."""
        return cls(title=HTTPStatus(status).phrase, status=int(status), detail=detail)


class ProblemError(Exception):
    """An error response.

    Args:
        status: HTTP status.
        detail: What happened, for the caller.
    """

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.problem = Problem.of(status, detail)


def respond(problem: Problem, headers: dict[str, str] | None = None) -> Response:
    """Return a problem as a response."""
    return Response(problem.json_text(), problem.status, headers, media_type=MEDIA_TYPE)


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the error responses of an operation for OpenAPI; those of malformed requests are always among them."""
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {
        int(status): {"description": HTTPStatus(status).phrase, "content": content}
        for status in sorted({*statuses, *_ALWAYS})
    }


def install(app: FastAPI) -> None:
    """Make *app* answer every error with a problem, and describe it in its OpenAPI document."""
    app.add_exception_handler(ProblemError, _on_problem)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(Exception, _on_bug)
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        document = generate()
        schemas = document.setdefault("components", {}).setdefault("schemas", {})
        schemas["Problem"] = Problem.model_json_schema(by_alias=True)
        return document

    app.openapi = openapi  # type: ignore[method-assign]


async def _on_problem(_: Request, error: Exception) -> Response:
    assert isinstance(error, ProblemError)  # noqa: S101 narrows the type
    return respond(error.problem)


async def _on_http(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 narrows the type
    return respond(Problem.of(error.status_code, str(error.detail)), dict(error.headers or {}))


async def _on_bug(_: Request, error: Exception) -> Response:
    # The server logs the error; its text may quote what the caller must not see.
    del error
    return respond(Problem.of(500, "internal error"))


async def _on_invalid(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 narrows the type
    problems = error.errors()
    # A missing or malformed header concerns the protocol, not the content.
    in_header = any(problem["loc"][0] == "header" for problem in problems)
    return respond(Problem.of(400 if in_header else 422, _detail(problems)))


def _detail(problems: Sequence[Any]) -> str:
    # The rejected values are not repeated: they are untrusted, and may be long.
    shown = [f"{'.'.join(map(str, problem['loc']))[:100]}: {problem['msg'][:200]}" for problem in problems[:_SHOWN]]
    return "; ".join(shown)
