"""JSON Schema of a spec, for completion and validation in editors."""

import inspect
import re
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any, Final

import yaml
from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema

from temporal_slo.durations import format_duration
from temporal_slo.spec.base import Part
from temporal_slo.spec.model import Spec
from temporal_slo.spec.validators import FrozenMapping

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_NULL: Final = {"type": "null"}


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of one spec file.

    It validates less than `load` does: neither combinations of keys nor contradictions between files.
    """
    schema = TypeAdapter(Spec).json_schema(schema_generator=_Generator)
    parts = {part.__name__: part for part in Part.__subclasses__()}
    kinds = schema["$defs"]["Slo"]["properties"]["sli"]
    # The SLO comes last: its description of `sli` replaces that of the kinds.
    for name, part_schema in {"SliKinds": kinds, "Spec": schema, **schema["$defs"]}.items():
        _describe(part_schema, parts[name])
    return {"$schema": DIALECT, **_without_nulls(schema), "title": "temporal-slo spec"}


class _Generator(GenerateJsonSchema):
    """Writes defaults as in a spec: `5m` for a duration."""

    def encode_default(self, dft: Any) -> Any:  # noqa: ANN401 - any default
        match dft:
            case timedelta():
                return format_duration(dft)
            case Decimal():
                return float(dft)
            case Part() | FrozenMapping():
                # The fields below have defaults of their own.
                return None
        return super().encode_default(dft)


def _describe(schema: dict[str, Any], part: type[Part]) -> None:
    """Add the descriptions from the docstring, and the examples as parsed YAML."""
    text = inspect.getdoc(part) or ""
    schema["description"] = text.partition("\n\n")[0]
    descriptions = dict(_attributes(text))
    for name, field in part.model_fields.items():
        key = schema["properties"][field.alias or name]
        if name in descriptions:
            key["description"] = descriptions[name]
        key["examples"] = [yaml.safe_load(str(example)) for example in field.examples or ()]


def _attributes(text: str) -> Iterator[tuple[str, str]]:
    for name, description in re.findall(r"^ {4}(\w+): (.+(?:\n {8}.+)*)$", text, re.MULTILINE):
        yield name, " ".join(description.split()).replace(" or None ", " or unset ")


def _without_nulls(schema: Any) -> Any:  # noqa: ANN401 - any JSON
    """Drop null, which a spec never contains, and titles, which only repeat the key."""
    if isinstance(schema, list):
        return [_without_nulls(item) for item in schema if item != _NULL]
    if not isinstance(schema, dict):
        return schema
    kept = {key: _without_nulls(value) for key, value in schema.items() if not _is_noise(key, value)}
    match kept.get("anyOf"):
        case [only]:
            del kept["anyOf"]
            return {**only, **kept}
    return kept


def _is_noise(key: str, value: object) -> bool:
    return (key == "title" and isinstance(value, str)) or (key == "default" and value is None)
