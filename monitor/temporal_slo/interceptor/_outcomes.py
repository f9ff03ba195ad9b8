"""Business outcome of a completed run, from its result, by a JMESPath expression or a user's function."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from temporalio.api.common.v1 import Payload

from temporal_slo.errors import UsageError
from temporal_slo.names.values import BAD, EXCLUDED, GOOD, NONE, UNKNOWN
from temporal_slo.runs.outcome_rule import outcome_rule

OUTCOMES: Final = frozenset({GOOD, BAD, EXCLUDED, UNKNOWN, NONE})
INSTALL_SPEC_EXTRA: Final = "pip install 'temporal-slo[spec]'"

_JSON: Final = frozenset({b"json/plain", b"json/protobuf"})

OutcomeFunction = Callable[[Any], str]
"""Takes a workflow's result and returns `good`, `bad`, `excluded` or `unknown`."""


@dataclass(frozen=True, kw_only=True)
class OutcomeExpression:
    """Reads the outcome from a workflow's result, as `outcome` does in a spec. Requires the `spec` extra.

    Attributes:
        expression: JMESPath into the result as JSON; `from` in a spec.
        good: Values, as text, that are good outcomes.
        bad: Values that are bad outcomes.
        excluded: Values that count as neither; any other value is `unknown`.

    Raises:
        UsageError: The expression is not valid JMESPath, there is no good or bad value, a value is listed twice, or
            jmespath is not installed.
    """

    expression: str
    good: Sequence[str] = ()
    bad: Sequence[str] = ()
    excluded: Sequence[str] = ()

    def __post_init__(self) -> None:
        for name in (GOOD, BAD, EXCLUDED):
            values = getattr(self, name)
            if isinstance(values, str) or not all(isinstance(value, str) for value in values):
                raise UsageError(
                    f"OutcomeExpression {name}", "is not a list of strings", 'write for example ["FAILED"]'
                )
        if not self.good and not self.bad:
            raise UsageError("OutcomeExpression", "has neither good nor bad values", 'add for example bad=["FAILED"]')
        listed = [*self.good, *self.bad, *self.excluded]
        for value in listed:
            if listed.count(value) > 1:
                what = f"lists {value!r} more than once in good, bad and excluded"
                raise UsageError("OutcomeExpression", what, "keep it once")
        payload_reader(self)


PayloadReader = Callable[[Payload], str]
"""Reads the outcome from the payload of a result, before a codec encodes it."""


def payload_reader(outcome: OutcomeExpression) -> PayloadReader:
    """Return the function that reads the outcome from the payload of a result.

    Raises:
        UsageError: The expression is not valid JMESPath, or jmespath is not installed.
    """
    try:
        rule = outcome_rule(outcome.expression, good=outcome.good, bad=outcome.bad, excluded=outcome.excluded)
    except ModuleNotFoundError as error:
        raise UsageError("OutcomeExpression", "requires the package jmespath", INSTALL_SPEC_EXTRA) from error
    except ValueError as error:
        what = f"{outcome.expression!r} is not a JMESPath expression"
        raise UsageError("OutcomeExpression", what, "write for example 'status'") from error

    def read(payload: Payload) -> str:
        return rule(json.loads(payload.data)) if payload.metadata.get("encoding") in _JSON else UNKNOWN

    return read


def call_outcome_function(function: OutcomeFunction, result: object) -> str:
    """Return the outcome that a user's function returns for a result.

    Raises:
        ValueError: The function returned something else than an outcome.
    """
    outcome: object = function(result)
    if isinstance(outcome, str) and outcome in OUTCOMES:
        return str(outcome)
    raise ValueError(f"{type(outcome).__name__} is not one of {sorted(OUTCOMES)}")
