"""Validates dashboards against Grafana's own types: unknown keys and values of the wrong type."""

import enum
import json
import re
import types
import typing
import warnings
from collections.abc import Iterator
from typing import Any, Final

from grafana_foundation_sdk.cog import plugins
from grafana_foundation_sdk.cog.encoder import JSONEncoder

with warnings.catch_warnings():
    # The classic model works with every version of Grafana; the SDK deprecates it in favor of the next one.
    warnings.simplefilter("ignore", DeprecationWarning)
    from grafana_foundation_sdk.models import dashboard as model

plugins.register_default_plugins()

UNTYPED: Final = {"alertlist"}
"""Panel types whose options the SDK does not declare."""

Json = dict[str, Any]


def problems(dashboard: Json) -> list[str]:
    """Return the unknown keys and mistyped values of *dashboard*."""
    try:
        typed = model.Dashboard.from_json(dashboard)
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        return [f"does not load: {type(error).__name__}: {error}"]
    round_trip = json.loads(json.dumps(typed, cls=JSONEncoder))
    return [*_differences(dashboard, round_trip, ""), *_mistyped(typed, "")]


def _differences(ours: Any, theirs: Any, where: str) -> Iterator[str]:
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for key, value in ours.items():
            if key not in theirs:
                yield f"{where}/{key}: is lost"
            else:
                yield from _differences(value, theirs[key], f"{where}/{key}")
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        for index, pair in enumerate(zip(ours, theirs, strict=True)):
            yield from _differences(*pair, f"{where}[{index}]")
    elif ours != theirs:
        yield f"{where}: {ours!r} becomes {theirs!r}"


def _mistyped(typed: Any, where: str) -> Iterator[str]:
    """Yield each attribute whose value does not have the type that its class declares."""
    hints = getattr(type(typed), "__annotations__", None)
    if isinstance(typed, list):
        for index, item in enumerate(typed):
            yield from _mistyped(item, f"{where}[{index}]")
    elif isinstance(typed, dict):
        for key, item in typed.items():
            yield from _mistyped(item, f"{where}/{key}")
    elif hints and not isinstance(typed, enum.Enum):
        module = vars(__import__(type(typed).__module__, fromlist=["_"]))
        for name in hints:
            value = getattr(typed, name)
            hint = typing.get_type_hints(type(typed), globalns=module)[name]
            if not _fits(value, hint) and not _loosely_typed(typed, name):
                yield f"{where}/{name}: {value!r} is not a {hint}"
            yield from _mistyped(value, f"{where}/{name}")


def _loosely_typed(typed: Any, name: str) -> bool:
    # The SDK declares types for these but loads them as plain JSON.
    return isinstance(typed, model.Panel) and name in {"links", "transformations", "targets"}


def _fits(value: Any, hint: Any) -> bool:  # noqa: PLR0911 one per kind of type
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any or hint is object:
        return True
    if origin in {typing.Union, types.UnionType}:
        return any(_fits(value, one) for one in arguments)
    if origin is typing.Literal:
        return value in arguments
    if origin is list:
        return isinstance(value, list) and all(_fits(item, arguments[0]) for item in value)
    if origin is dict:
        return isinstance(value, dict) and all(_fits(item, arguments[1]) for item in value.values())
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return value in [one.value for one in hint]
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return not isinstance(hint, type) or isinstance(value, hint) or _is_query_base(hint)


def _is_query_base(hint: Any) -> bool:
    # Queries are declared with a base class that the classes of data sources do not inherit from.
    return re.fullmatch(r"Dataquery|DataQuery", getattr(hint, "__name__", "")) is not None
