"""Failure types of Python exceptions: the type of the innermost cause, never the message."""

from typing import Final

from temporalio.api.enums.v1 import TimeoutType
from temporalio.exceptions import ApplicationError, FailureError
from temporalio.exceptions import TimeoutError as TemporalTimeoutError

from temporal_slo.runs.failure_types import timeout_type

_RENAMED: Final = {"CancelledError": "CanceledError"}


def error_type(error: BaseException) -> str:
    """Return the `failure_type` of the failure that the SDK makes of *error*."""
    seen = {id(error)}
    # `raise error.cause from error` makes a circle, which would never end.
    while (cause := _cause(error)) and id(cause) not in seen:
        error = cause
        seen.add(id(cause))
    if isinstance(error, ApplicationError):
        return error.type or "ApplicationError"
    if isinstance(error, TemporalTimeoutError):
        return timeout_type(TimeoutType.ValueType(error.type or 0))
    name = type(error).__name__
    return _RENAMED.get(name, name) if isinstance(error, FailureError) else name


def _cause(error: BaseException) -> BaseException | None:
    # For the SDK's own errors only, the SDK's converter also uses the implicit context as the cause.
    if isinstance(error, FailureError) and not error.__suppress_context__:
        return error.__cause__ or error.__context__
    return error.__cause__
