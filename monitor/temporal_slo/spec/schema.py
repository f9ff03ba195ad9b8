"""The spec as JSON Schema, from which editors complete and check what is written."""

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
    """Return the schema of one spec file.

    It knows less than `load`: not what keys say together, nor what other files say.
    """
    found = TypeAdapter(Spec).json_schema(schema_generator=_Generator)
    parts = {part.__name__: part for part in Part.__subclasses__()}
    kinds = found["$defs"]["Slo"]["properties"]["sli"]
    # The SLO comes last: what it says of `sli` is more than what the kinds say of themselves.
    for name, schema in {"SliKinds": kinds, "Spec": found, **found["$defs"]}.items():
        _describe(schema, parts[name])
    return {"$schema": DIALECT, **_plain(found), "title": "temporal-slo spec"}


class _Generator(GenerateJsonSchema):
    """What pydantic knows, in the words of a spec: `5m` is a duration."""

    def encode_default(self, dft: Any) -> Any:  # noqa: ANN401 - any default
        match dft:
            case timedelta():
                return format_duration(dft)
            case Decimal():
                return float(dft)
            case Part() | FrozenMapping():
                # What stands beneath it has defaults of its own.
                return None
        return super().encode_default(dft)


def _describe(schema: dict[str, Any], part: type[Part]) -> None:
    """Put what the docstring says of each key where editors show it, and examples as YAML means them."""
    text = inspect.getdoc(part) or ""
    schema["description"] = text.partition("\n\n")[0]
    told = dict(_attributes(text))
    for name, field in part.model_fields.items():
        key = schema["properties"][field.alias or name]
        if name in told:
            key["description"] = told[name]
        key["examples"] = [yaml.safe_load(str(example)) for example in field.examples or ()]


def _attributes(text: str) -> Iterator[tuple[str, str]]:
    for name, told in re.findall(r"^ {4}(\w+): (.+(?:\n {8}.+)*)$", text, re.MULTILINE):
        yield name, " ".join(told.split()).replace(" or None ", " or nothing ")


def _plain(schema: Any) -> Any:  # noqa: ANN401 - any JSON
    """Drop null, which a spec never holds, and titles, which say what the key says."""
    if isinstance(schema, list):
        return [_plain(item) for item in schema if item != _NULL]
    if not isinstance(schema, dict):
        return schema
    kept = {key: _plain(value) for key, value in schema.items() if not _is_noise(key, value)}
    match kept.get("anyOf"):
        case [only]:
            del kept["anyOf"]
            return {**only, **kept}
    return kept


def _is_noise(key: str, value: object) -> bool:
    return (key == "title" and isinstance(value, str)) or (key == "default" and value is None)
