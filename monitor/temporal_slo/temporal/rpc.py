"""What all raw requests to Temporal have in common: their errors."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Final

from temporalio.api.errordetails.v1 import NotFoundFailure
from temporalio.service import RPCError, RPCStatusCode

from temporal_slo.errors import TemporalRequestError

REQUEST_TIMEOUT: Final = timedelta(seconds=30)

OVERALL_TIMEOUT: Final = 35.0
"""Seconds for a request and its connection: the SDK waits for ever for one that is taken and never answered."""

OWN_TIMEOUT: Final = "Timeout expired"


@asynccontextmanager
async def answered(about: str = "") -> AsyncIterator[None]:
    """Raise what the SDK raises as one error of ours.

    Args:
        about: What the request was about, to stand before what was said.
    """
    try:
        async with asyncio.timeout(OVERALL_TIMEOUT):
            yield
    except TimeoutError as error:
        raise TemporalRequestError("DEADLINE_EXCEEDED", f"{about}no connection in {OVERALL_TIMEOUT:g} s") from error
    except RPCError as error:
        # The SDK says CANCELLED where its own time-out struck, which does not tell that the server may be overloaded.
        status = RPCStatusCode.DEADLINE_EXCEEDED if error.message == OWN_TIMEOUT else error.status
        raise TemporalRequestError(status.name, about + error.message) from error
    except RuntimeError as error:
        # The SDK's word for a connection that could not be made.
        raise TemporalRequestError("UNAVAILABLE", str(error)) from error


def is_gone(error: RPCError) -> bool:
    """Return whether *error* tells that the one thing asked for is not there."""
    # A namespace that is not found has the same code; only the details tell the two apart. And what stands between us
    # and the server may say NOT_FOUND without any.
    return error.status is RPCStatusCode.NOT_FOUND and any(
        detail.Is(NotFoundFailure.DESCRIPTOR) for detail in error.grpc_status.details
    )
