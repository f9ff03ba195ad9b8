"""The business outcome of a completed run, from its result: by a JMESPath expression or a function of the user."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from temporalio.api.common.v1 import Payload

from temporal_slo.errors import UsageError
from temporal_slo.names.values import BAD, EXCLUDED, GOOD, NONE, UNKNOWN
from temporal_slo.runs.outcome_rule import outcome_rule

OUTCOMES: Final = frozenset({GOOD, BAD, EXCLUDED, UNKNOWN, NONE})

_JSON: Final = frozenset({b"json/plain", b"json/protobuf"})
INSTALL: Final = "pip install 'temporal-slo[spec]'"

OutcomeFunction = Callable[[Any], str]
"""Takes a workflow's result and returns `good`, `bad`, `excluded` or `unknown`."""


@dataclass(frozen=True, kw_only=True)
class OutcomeExpression:
    """How an outcome is read from a workflow's result, as a spec says it. Needs the `spec` extra.

    Attributes:
        expression: JMESPath into the result as JSON; `from` in a spec.
        good: The values, as text, that mean a kept promise.
        bad: The values that mean a broken one.
        excluded: The values that count as neither; any other is `unknown`.

    Raises:
        UsageError: The expression is none, names no values or one twice, or jmespath is not installed.
    """

    expression: str
    good: Sequence[str] = ()
    bad: Sequence[str] = ()
    excluded: Sequence[str] = ()

    def __post_init__(self) -> None:
        for name in (GOOD, BAD, EXCLUDED):
            values = getattr(self, name)
            if isinstance(values, str) or not all(isinstance(value, str) for value in values):
                raise UsageError(f"OutcomeExpression {name}", "is not a list of texts", 'write for example ["FAILED"]')
        if not self.good and not self.bad:
            raise UsageError("OutcomeExpression", "names neither good nor bad values", 'add for example bad=["FAILED"]')
        named = [*self.good, *self.bad, *self.excluded]
        for value in named:
            if named.count(value) > 1:
                what = f"puts {value!r} into two of good, bad and excluded"
                raise UsageError("OutcomeExpression", what, "keep it in one of them")
        expression_reader(self)


PayloadReader = Callable[[Payload], str]
"""Reads the outcome from a result before it is encrypted."""


def expression_reader(outcome: OutcomeExpression) -> PayloadReader:
    """Return what reads the outcome from a result.

    Raises:
        UsageError: The expression is none, or jmespath is not installed.
    """
    try:
        rule = outcome_rule(outcome.expression, good=outcome.good, bad=outcome.bad, excluded=outcome.excluded)
    except ModuleNotFoundError as error:
        raise UsageError("OutcomeExpression", "needs the package jmespath", INSTALL) from error
    except ValueError as error:
        what = f"{outcome.expression!r} is not a JMESPath expression"
        raise UsageError("OutcomeExpression", what, "write for example 'status'") from error

    def read(payload: Payload) -> str:
        return rule(json.loads(payload.data)) if payload.metadata.get("encoding") in _JSON else UNKNOWN

    return read


def checked(outcome: object) -> str:
    """Return what a user's function returned, if it is an outcome.

    Raises:
        ValueError: It is none.
    """
    if isinstance(outcome, str) and outcome in OUTCOMES:
        return str(outcome)
    raise ValueError(f"{type(outcome).__name__} is none of {sorted(OUTCOMES)}")
