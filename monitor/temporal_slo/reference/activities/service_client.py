"""HTTP client of the services: one request per activity attempt; errors state whether a retry can help."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final, Self

import httpx
from temporalio import activity
from temporalio.exceptions import ApplicationError

REFUSED: Final = "Refused"
"""Failure type of a refusal by a service: final, never retried."""
UNAVAILABLE: Final = "Unavailable"
"""Failure type of a service that did not answer, or answered that it cannot: retried."""

ACTIVITY_ID: Final = "X-Activity-ID"
"""Header with the idempotency key: a service performs each activity once, however often it is attempted."""
TIMEOUT: Final = 5.0
"""Seconds until an attempt gives up waiting for a response."""


class RefusedError(ApplicationError):
    """A refusal by a service.

    Args:
        reason: The service's reason.
        status: HTTP status of the response.
    """

    def __init__(self, reason: str, status: int) -> None:
        super().__init__(reason, type=REFUSED, non_retryable=True)
        self.status: Final = status


class ServiceClient:
    """Client of the services, to be used inside activities.

    Args:
        url: Base URL of the services, without a trailing slash.
    """

    def __init__(self, url: str) -> None:
        self._http = httpx.AsyncClient(base_url=url)

    async def __aenter__(self) -> Self:
        """Return the client."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close its connections."""
        await self._http.aclose()

    async def post(self, path: str, body: Mapping[str, object], *, within: float = TIMEOUT) -> dict[str, Any]:
        """Send *body* to *path* and return the JSON object of the response.

        Args:
            path: Path below the base URL.
            body: JSON object to send.
            within: Seconds until the attempt gives up.

        Raises:
            RefusedError: Any other status below 500 than 408 and 429; not retryable.
            ApplicationError: `Unavailable` (retryable) if the service is unreachable or overloaded, or does not respond
                in time.
        """
        return await self._send("POST", path, body, within)

    async def get(self, path: str, *, within: float = TIMEOUT) -> dict[str, Any]:
        """Return the JSON object at *path*; raises like `post`."""
        return await self._send("GET", path, None, within)

    async def _send(self, method: str, path: str, body: Mapping[str, object] | None, within: float) -> dict[str, Any]:
        headers = {ACTIVITY_ID: idempotency_key()}
        try:
            response = await self._http.request(method, path, json=body, headers=headers, timeout=within)
        except httpx.TransportError as error:
            raise ApplicationError(f"{path}: no response: {type(error).__name__}", type=UNAVAILABLE) from error
        if response.is_success:
            result: dict[str, Any] = response.json()
            return result
        raise _failure(path, response)


def idempotency_key() -> str:
    """Return the key of the running activity: the same in each attempt, and in no other activity or run."""
    info = activity.info()
    # Without the workflow ID, which may be longer than a header, or hold characters that a header may not.
    return f"{info.workflow_run_id}/{info.activity_id}"


_RETRYABLE: Final = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS})


def _failure(path: str, response: httpx.Response) -> ApplicationError:
    reason = _detail(response) or f"{path}: HTTP status {response.status_code}"
    if response.is_server_error or response.status_code in _RETRYABLE:
        return ApplicationError(reason, type=UNAVAILABLE)
    return RefusedError(reason, response.status_code)


def _detail(response: httpx.Response) -> str:
    """The `detail` of a problem (RFC 9457), if the response is one."""
    try:
        problem = response.json()
    except ValueError:
        return ""
    detail = problem.get("detail") if isinstance(problem, dict) else None
    return detail if isinstance(detail, str) else ""
