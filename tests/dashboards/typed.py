"""What Grafana's own types make of a dashboard: keys that they do not know, and values of another type."""

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
    # The classic model is what every Grafana takes; the SDK would rather we used the next one.
    warnings.simplefilter("ignore", DeprecationWarning)
    from grafana_foundation_sdk.models import dashboard as model

plugins.register_default_plugins()

UNTYPED: Final = {"alertlist"}
"""The SDK knows nothing of the options of these panels."""

Json = dict[str, Any]


def problems(board: Json) -> list[str]:
    """Return what the SDK's types do not know of *board*, or have otherwise."""
    try:
        typed = model.Dashboard.from_json(board)
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        return [f"does not load: {type(error).__name__}: {error}"]
    back = json.loads(json.dumps(typed, cls=JSONEncoder))
    return [*_lost(board, back, ""), *_walked(typed, "")]


def _lost(ours: Any, theirs: Any, where: str) -> Iterator[str]:
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for key, value in ours.items():
            if key not in theirs:
                yield f"{where}/{key}: is lost"
            else:
                yield from _lost(value, theirs[key], f"{where}/{key}")
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        for index, pair in enumerate(zip(ours, theirs, strict=True)):
            yield from _lost(*pair, f"{where}[{index}]")
    elif ours != theirs:
        yield f"{where}: {ours!r} becomes {theirs!r}"


def _walked(made: Any, where: str) -> Iterator[str]:
    """Yield each attribute whose value is not what its class declares."""
    hints = getattr(type(made), "__annotations__", None)
    if isinstance(made, list):
        for index, item in enumerate(made):
            yield from _walked(item, f"{where}[{index}]")
    elif isinstance(made, dict):
        for key, item in made.items():
            yield from _walked(item, f"{where}/{key}")
    elif hints and not isinstance(made, enum.Enum):
        module = vars(__import__(type(made).__module__, fromlist=["_"]))
        for name in hints:
            value = getattr(made, name)
            hint = typing.get_type_hints(type(made), globalns=module)[name]
            if not _fits(value, hint) and not _known_false(made, name):
                yield f"{where}/{name}: {value!r} is no {hint}"
            yield from _walked(value, f"{where}/{name}")


def _known_false(made: Any, name: str) -> bool:
    # Links and transformations are typed and then left as they are; so are a dashboard's panels of no plugin.
    return isinstance(made, model.Panel) and name in {"links", "transformations", "targets"}


def _fits(value: Any, hint: Any) -> bool:  # noqa: PLR0911 one for each kind of type
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
    return not isinstance(hint, type) or isinstance(value, hint) or _is_variant(hint)


def _is_variant(hint: Any) -> bool:
    # Queries of data sources are declared as a base that theirs do not inherit from.
    return re.fullmatch(r"Dataquery|DataQuery", getattr(hint, "__name__", "")) is not None
