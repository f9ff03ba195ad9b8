"""Calls of the load: HTTP requests to the services and the API, and updates of workflows."""

import asyncio
from collections.abc import Collection, Mapping
from http import HTTPStatus
from typing import Any, Final

import httpx
from temporalio.client import WorkflowHandle, WorkflowUpdateFailedError, WorkflowUpdateRPCTimeoutOrCancelledError
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from temporal_slo.reference.workflows.fleet import MANIFEST_BUSY
from temporal_slo.reference.workflows.wallet_messages import NO_OPEN_APPROVAL

TIMEOUT: Final = 10.0
NOT_YET: Final = frozenset({NO_OPEN_APPROVAL, MANIFEST_BUSY})
"""Failure types of updates that are sent again."""
_RETRYABLE: Final = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS})


class NotYetError(Exception):
    """The workflow has not reached the step that the call needs: the call is repeated, which is no error."""


class RefusedError(Exception):
    """The call was refused for good, for example a payment after its top-up had expired."""


class UnavailableError(Exception):
    """The service did not answer, or answered that it cannot: the call is repeated."""


class Http:
    """A client of the services or of the API.

    Args:
        url: Base URL.
    """

    def __init__(self, url: str) -> None:
        self._http = httpx.AsyncClient(base_url=url.rstrip("/"), timeout=TIMEOUT)

    async def close(self) -> None:
        """Close its connections."""
        await self._http.aclose()

    async def send(
        self, method: str, path: str, body: Mapping[str, object] | None = None, *, not_yet: Collection[int] = ()
    ) -> dict[str, Any]:
        """Send a request and return the JSON object of the response.

        Args:
            method: HTTP method.
            path: Path with a leading slash.
            body: JSON object to send.
            not_yet: Statuses that mean that the workflow is not there yet.

        Raises:
            NotYetError: The status is one of *not_yet*.
            RefusedError: Any other status below 500, except 408 and 429.
            UnavailableError: No response, or a status that a retry can change.
        """
        try:
            response = await self._http.request(method, path, json=body)
        except httpx.TransportError as error:
            raise UnavailableError(f"{path}: no response: {type(error).__name__}") from error
        if response.is_success:
            answer: dict[str, Any] = response.json() if response.content else {}
            return answer
        reason = f"{path}: HTTP status {response.status_code}"
        if response.status_code in not_yet:
            raise NotYetError(reason)
        if response.is_server_error or response.status_code in _RETRYABLE:
            raise UnavailableError(reason)
        raise RefusedError(f"{reason}: {response.text[:200]}")


async def send_update(handle: WorkflowHandle[Any, Any], update: str, argument: object, update_id: str) -> None:
    """Send an update and wait until a worker has completed it.

    Raises:
        NotYetError: No worker answers, or the workflow does not take the update yet.
        RefusedError: The workflow rejects it, or is closed.
    """
    try:
        async with asyncio.timeout(TIMEOUT):
            await handle.execute_update(update, argument, id=update_id)
    except (TimeoutError, WorkflowUpdateRPCTimeoutOrCancelledError) as error:
        raise NotYetError(f"{update}: no worker answers") from error
    except WorkflowUpdateFailedError as error:
        cause = error.cause
        not_yet = isinstance(cause, ApplicationError) and cause.type in NOT_YET
        raise (NotYetError if not_yet else RefusedError)(f"{update}: {cause}") from error
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise
        raise RefusedError(f"{update}: the workflow is closed") from error
