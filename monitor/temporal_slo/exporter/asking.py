"""What all raw requests to Temporal have in common: their errors."""

from collections.abc import Iterator
from contextlib import contextmanager

from temporalio.api.errordetails.v1 import NotFoundFailure
from temporalio.service import RPCError, RPCStatusCode

from temporal_slo.errors import VisibilityError


@contextmanager
def answered() -> Iterator[None]:
    """Raise what the SDK raises as one error of ours."""
    try:
        yield
    except RPCError as error:
        raise VisibilityError(error.status.name, error.message) from error
    except RuntimeError as error:
        # The SDK's word for a connection that could not be made.
        raise VisibilityError("UNAVAILABLE", str(error)) from error


def is_gone(error: RPCError) -> bool:
    """Return whether *error* tells that the one thing asked for is not there."""
    # A namespace that is not found has the same code; only the details tell the two apart. And what stands between us
    # and the server may say NOT_FOUND without any.
    return error.status is RPCStatusCode.NOT_FOUND and any(
        detail.Is(NotFoundFailure.DESCRIPTOR) for detail in error.grpc_status.details
    )
