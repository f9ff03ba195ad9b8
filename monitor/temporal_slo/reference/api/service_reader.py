"""What the API reads from the services: wallets, approvals, transactions of the payment provider."""

from http import HTTPStatus
from typing import Any, Final, Self, TypeVar
from urllib.parse import quote

import httpx
from pydantic import ValidationError

from temporal_slo.reference.api.wire import Answer, unavailable
from temporal_slo.reference.web.problems import ProblemError

TIMEOUT: Final = 3.0
UNREACHABLE: Final = "the services are unreachable"

T = TypeVar("T", bound=Answer)


class ServiceReader:
    """Client of the services; it only reads, for only activities have effects.

    Args:
        url: Base URL of the services, without a trailing slash.
    """

    def __init__(self, url: str) -> None:
        self._http = httpx.AsyncClient(base_url=url, timeout=TIMEOUT)

    async def __aenter__(self) -> Self:
        """Return the client."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close its connections."""
        await self._http.aclose()

    async def read(self, model: type[T], *path: str, **query: str | int | None) -> T | None:
        """Return what is at *path* below `/api/v1`; None if it does not exist.

        Raises:
            ProblemError: 503 if the services do not answer; 422 if they refuse the query; 502 if the answer is invalid.
        """
        url = "/".join(("/api/v1", *(quote(part, safe="") for part in path)))
        params = {name: value for name, value in query.items() if value is not None}
        try:
            response = await self._http.get(url, params=params)
        except httpx.TransportError as error:
            raise unavailable(UNREACHABLE) from error
        if response.status_code == HTTPStatus.NOT_FOUND:
            return None
        return _parsed(model, response)


def _parsed(model: type[T], response: httpx.Response) -> T:
    if response.is_server_error or response.status_code == HTTPStatus.TOO_MANY_REQUESTS:
        raise unavailable(UNREACHABLE)
    if response.status_code in {HTTPStatus.BAD_REQUEST, HTTPStatus.UNPROCESSABLE_ENTITY}:
        raise ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, "the services refuse this query")
    try:
        body: Any = response.raise_for_status().json()
        return model.model_validate(body)
    except (httpx.HTTPStatusError, ValueError, ValidationError) as error:
        raise ProblemError(HTTPStatus.BAD_GATEWAY, "the services gave an unexpected answer") from error
