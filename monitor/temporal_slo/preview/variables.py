"""Resolves a dashboard's variables and substitutes them in its queries."""

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

LABEL_VALUES: Final = re.compile(r"label_values\(\s*(?:(?P<metric>.+),)?\s*(?P<label>\w+)\s*\)", re.DOTALL)
REFERENCE: Final = re.compile(r"\$\{(?P<name>\w+)(?::(?P<format>\w+))?\}|\$(?P<bare>\w+)")
ALL: Final = "$__all"

Values = Mapping[str, tuple[str, ...]]
LabelValues = Callable[[str, str], Awaitable[list[str]]]
"""Returns the values of a label (second argument) on the series of a selector, or on all if it is empty."""


async def resolve(
    variables: list[dict[str, Any]], given: Mapping[str, str], built_in: Mapping[str, str], label_values: LabelValues
) -> Values:
    """Return the values of each variable: the given one, else all or the first of its query, else its default.

    Args:
        variables: The dashboard's `templating.list`; each variable follows those that its query uses.
        given: Values by name.
        built_in: Grafana's built-in variables, such as `__rate_interval`.
        label_values: Queries Prometheus.
    """
    values: dict[str, tuple[str, ...]] = {name: (value,) for name, value in built_in.items()}
    for variable in variables:
        name = variable["name"]
        values[name] = (given[name],) if name in given else await _values(variable, values, label_values)
    return values


async def _values(variable: dict[str, Any], resolved: Values, label_values: LabelValues) -> tuple[str, ...]:
    if variable["type"] != "query":
        current = variable.get("current", {}).get("value") or variable.get("query") or ""
        return tuple(current) if isinstance(current, list) else (str(current),)
    query = variable["query"]
    text = query["query"] if isinstance(query, dict) else query
    match = LABEL_VALUES.fullmatch(text.strip())
    if not match:
        return ()
    found = sorted(await label_values(substitute(match["metric"] or "", resolved), match["label"]))
    pattern = re.compile(variable.get("regex", "").strip("/") or ".*")
    found = [value for value in found if pattern.search(value)]
    return tuple(found if variable.get("multi") or variable.get("includeAll") else found[:1])


def substitute(text: str, values: Values) -> str:
    """Return *text* with variables replaced, several values as regex alternatives; unknown variables are kept."""

    def value(reference: re.Match[str]) -> str:
        name = reference["name"] or reference["bare"]
        if name not in values:
            return reference[0]
        return _formatted(values[name], reference["format"] or "")

    return REFERENCE.sub(value, text)


def _formatted(values: tuple[str, ...], format_: str) -> str:
    if format_ in {"csv", "raw"}:
        return ",".join(values)
    if len(values) == 1 and format_ != "regex":
        return values[0]
    special = r"([\\^$.*+?()\[\]{}|])"
    # Backslashes are doubled inside of PromQL strings.
    escaped = [re.sub(special, r"\\\1", value).replace("\\", "\\\\") for value in values]
    return f"({'|'.join(escaped)})" if len(escaped) != 1 else escaped[0]
