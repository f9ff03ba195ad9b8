from temporalio.exceptions import ApplicationError

from temporal_slo.interceptor._failures import error_type


def test_innermost_cause() -> None:
    """A failure is named after its innermost cause."""
    error = ApplicationError("declined", type="CardDeclined")
    error.__cause__ = TimeoutError("bank")
    assert error_type(error) == "TimeoutError"


def test_circle_of_causes() -> None:
    """A circle of causes, as `raise error.cause from error` makes, is followed once: the attempt ends."""
    inner, outer = ApplicationError("sold out", type="SoldOut"), RuntimeError("update failed")
    outer.__cause__, inner.__cause__ = inner, outer
    assert error_type(inner) == "RuntimeError"
    assert error_type(outer) == "SoldOut"
