"""Errors of the HTTP applications as problem details (RFC 9457)."""

from collections.abc import Mapping, Sequence
from functools import partial
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from temporal_slo.reference.web.wire import Wire

MEDIA_TYPE: Final = "application/problem+json"
_SHOWN: Final = 5
_ALWAYS: Final = (400, 413, 415, 422)
_EXAMPLES: Final[Mapping[int, str]] = {
    400: "JSON decode error",
    401: "the signature is missing or does not match the body",
    402: "card declined",
    404: "nothing has this identifier",
    409: "on record with another amount",
    413: "the body is larger than 65536 bytes",
    415: "send JSON, with the header content-type: application/json",
    422: "body.amount: Input should be greater than or equal to 1",
    500: "internal error",
    502: "the services gave an unexpected answer",
    503: "temporarily unavailable",
}
"""Example of the detail of each status, for the OpenAPI documents."""


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
        headers: Headers of the response.
    """

    def __init__(self, status: int, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.problem = Problem.of(status, detail)
        self.headers = headers


def respond(problem: Problem, headers: Mapping[str, str] | None = None) -> Response:
    """Return a problem as a response."""
    return Response(problem.json_text(), problem.status, headers, media_type=MEDIA_TYPE)


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the error responses of an operation for its OpenAPI document, always with those of malformed requests."""
    return {int(status): _documented(status) for status in sorted({*statuses, *_ALWAYS})}


def _documented(status: int) -> dict[str, Any]:
    example = Problem.of(status, _EXAMPLES[status]).model_dump()
    schema = {"$ref": "#/components/schemas/Problem"}
    return {
        "description": HTTPStatus(status).phrase,
        "content": {MEDIA_TYPE: {"schema": schema, "example": example}},
    }


def install(app: FastAPI, *, invalid_path: HTTPStatus = HTTPStatus.UNPROCESSABLE_ENTITY) -> None:
    """Make *app* answer every error with a problem, and describe it in its OpenAPI document.

    Args:
        app: The application.
        invalid_path: Status of a request with an invalid identifier in its path.
    """
    app.add_exception_handler(ProblemError, _on_problem)
    app.add_exception_handler(RequestValidationError, partial(_on_invalid, invalid_path))
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(Exception, _on_bug)
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        document = generate()
        schemas = document.setdefault("components", {}).setdefault("schemas", {})
        schemas["Problem"] = Problem.model_json_schema(by_alias=True)
        return document

    app.openapi = openapi  # type: ignore[method-assign] # as FastAPI documents it


async def _on_problem(_: Request, error: Exception) -> Response:
    assert isinstance(error, ProblemError)  # noqa: S101 narrows the type
    return respond(error.problem, error.headers)


async def _on_http(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 narrows the type
    return respond(Problem.of(error.status_code, str(error.detail)), dict(error.headers or {}))


async def _on_bug(_: Request, error: Exception) -> Response:
    # The server logs the error; its text may quote what the caller must not see.
    del error
    return respond(Problem.of(500, "internal error"))


async def _on_invalid(invalid_path: HTTPStatus, request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 narrows the type
    problems = error.errors()
    no_object = any(problem["loc"] == ("body",) and problem["type"] != "missing" for problem in problems)
    if no_object and not _is_json(request):
        # What `curl -d` sends without a header; the error of the validation would not name the reason.
        return respond(Problem.of(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, _EXAMPLES[HTTPStatus.UNSUPPORTED_MEDIA_TYPE]))
    return respond(Problem.of(_status(problems, invalid_path), _detail(problems)))


def _is_json(request: Request) -> bool:
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    return media_type == "application/json" or (media_type.startswith("application/") and media_type.endswith("+json"))


def _status(problems: Sequence[Any], invalid_path: HTTPStatus) -> HTTPStatus:
    places = {problem["loc"][0] for problem in problems}
    if "path" in places:
        return invalid_path
    # A missing or malformed header, or a text that is no JSON, concerns the protocol, not the content.
    if "header" in places or any(problem["type"] == "json_invalid" for problem in problems):
        return HTTPStatus.BAD_REQUEST
    return HTTPStatus.UNPROCESSABLE_ENTITY


def _detail(problems: Sequence[Any]) -> str:
    # The rejected values are not repeated: they are untrusted, and may be long.
    shown = [f"{'.'.join(map(str, problem['loc']))[:100]}: {problem['msg'][:200]}" for problem in problems[:_SHOWN]]
    return "; ".join(shown)
