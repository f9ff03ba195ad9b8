"""Business outcomes: a JMESPath expression finds a value in a result; lists of values map it to an outcome."""

import json
from collections.abc import Callable, Sequence

from temporal_slo.names.values import BAD, EXCLUDED, GOOD, UNKNOWN

OutcomeRule = Callable[[object], str]
"""Maps a result, as JSON objects, to an outcome; may raise if the expression does not fit the types in the result."""


def outcome_rule(
    expression: str, *, good: Sequence[str] = (), bad: Sequence[str] = (), excluded: Sequence[str] = ()
) -> OutcomeRule:
    """Return the rule that reads an outcome: `good`, `bad`, `excluded`, or `unknown` for a value in no list.

    Args:
        expression: JMESPath into the result.
        good: Values, as text, that are good outcomes.
        bad: Values that are bad outcomes.
        excluded: Values that count as neither.

    Raises:
        ModuleNotFoundError: jmespath is not installed.
        ValueError: The expression is not valid JMESPath.
    """
    import jmespath  # noqa: PLC0415 not in the base install: only expressions need it

    try:
        search = jmespath.compile(expression).search
    except (TypeError, AttributeError) as error:
        raise ValueError(str(error)) from error
    outcomes = {value: name for name, values in ((GOOD, good), (BAD, bad), (EXCLUDED, excluded)) for value in values}

    def rule(result: object) -> str:
        text = _text(search(result))
        return UNKNOWN if text is None else outcomes.get(text, UNKNOWN)

    return rule


def _text(value: object) -> str | None:
    """Return the text that the lists of a spec are compared with; None if *value* is not a scalar."""
    if isinstance(value, str):
        return value
    return json.dumps(value) if isinstance(value, bool | int | float) else None
