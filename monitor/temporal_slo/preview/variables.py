"""What stands for a dashboard's variables in its queries."""

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

LABEL_VALUES: Final = re.compile(r"label_values\(\s*(?:(?P<metric>.+),)?\s*(?P<label>\w+)\s*\)", re.DOTALL)
USED: Final = re.compile(r"\$\{(?P<name>\w+)(?::(?P<format>\w+))?\}|\$(?P<bare>\w+)")
ALL: Final = "$__all"

Values = Mapping[str, tuple[str, ...]]
Ask = Callable[[str, str], Awaitable[list[str]]]
"""Returns the values of a label among the series that a selector selects; of all series if that is empty."""


async def resolve(
    variables: list[dict[str, Any]], given: Mapping[str, str], fixed: Mapping[str, str], ask: Ask
) -> Values:
    """Return the values of each variable: the given one, else all or the first that there are, else its default.

    Args:
        variables: As the dashboard's `templating.list` has them, each after those that it depends on.
        given: By name.
        fixed: Those that Grafana itself has, such as `__rate_interval`.
        ask: Asks Prometheus.
    """
    values: dict[str, tuple[str, ...]] = {name: (value,) for name, value in fixed.items()}
    for variable in variables:
        name = variable["name"]
        values[name] = (given[name],) if name in given else await _values(variable, values, ask)
    return values


async def _values(variable: dict[str, Any], before: Values, ask: Ask) -> tuple[str, ...]:
    if variable["type"] != "query":
        current = variable.get("current", {}).get("value") or variable.get("query") or ""
        return tuple(current) if isinstance(current, list) else (str(current),)
    query = variable["query"]
    text = query["query"] if isinstance(query, dict) else query
    asked = LABEL_VALUES.fullmatch(text.strip())
    if not asked:
        return ()
    found = sorted(await ask(substitute(asked["metric"] or "", before), asked["label"]))
    pattern = re.compile(variable.get("regex", "").strip("/") or ".*")
    found = [value for value in found if pattern.search(value)]
    return tuple(found if variable.get("multi") or variable.get("includeAll") else found[:1])


def substitute(text: str, values: Values) -> str:
    """Return *text* with the values of variables in it, several as alternatives; unknown ones stay as they are."""

    def value(used: re.Match[str]) -> str:
        name = used["name"] or used["bare"]
        if name not in values:
            return used[0]
        return _formatted(values[name], used["format"] or "")

    return USED.sub(value, text)


def _formatted(values: tuple[str, ...], kind: str) -> str:
    if kind in {"csv", "raw"}:
        return ",".join(values)
    if len(values) == 1 and kind != "regex":
        return values[0]
    special = r"([\\^$.*+?()\[\]{}|])"
    # In a PromQL string each backslash is written twice.
    escaped = [re.sub(special, r"\\\1", value).replace("\\", "\\\\") for value in values]
    return f"({'|'.join(escaped)})" if len(escaped) != 1 else escaped[0]
