"""The types of the scalars of a spec: how each is read, and how it stands in the JSON Schema."""

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BeforeValidator, GetJsonSchemaHandler, PlainValidator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from temporal_slo.spec import values

# An editor takes text for a number or a truth value where the tree keeps it as it was written.
_TEXT: Final = ["string", "number", "boolean"]
_NUMBER: Final = {"type": ["number", "string"], "pattern": r"^[0-9]{1,9}(\.[0-9]{1,9})?$"}
_COUNT: Final = {"type": ["integer", "string"], "pattern": "^[0-9]{1,9}$"}
LINE: Final[dict[str, Any]] = {"type": _TEXT, "pattern": r"^\S(.*\S)?$"}
NAME: Final[dict[str, Any]] = {"type": "string", "pattern": "^[a-z][a-z0-9-]{0,62}$"}
SPAN: Final[dict[str, Any]] = {"type": "string", "pattern": "^([0-9]+(ms|[wdhms]))+$"}


@dataclass(frozen=True, eq=False)
class Stands:
    """Stands in the JSON Schema for what it annotates. Pydantic's own would let older versions write into *schema*."""

    schema: dict[str, Any]

    def __get_pydantic_json_schema__(self, _: CoreSchema, _handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return dict(self.schema)


@dataclass(frozen=True, eq=False)
class Adds:
    """Adds a keyword to the JSON Schema of what it annotates."""

    keyword: str
    value: object

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return handler(schema) | {self.keyword: self.value}


FILLED: Final = Adds("minItems", 1)
DISTINCT: Final = Adds("uniqueItems", True)  # noqa: FBT003 the keyword's value

Name = Annotated[str, AfterValidator(values.name), Stands(NAME)]
Line = Annotated[str, AfterValidator(values.line), Stands(LINE)]
Lines = Annotated[tuple[Line, ...], AfterValidator(values.distinct), DISTINCT]
Paragraph = Annotated[str, AfterValidator(values.paragraph), Stands({"type": _TEXT})]
Objective = Annotated[
    Decimal,
    BeforeValidator(values.objective),
    Stands(_NUMBER | {"exclusiveMinimum": 0, "exclusiveMaximum": values.WHOLE}),
]
Percent = Annotated[
    Decimal,
    BeforeValidator(values.percent),
    Stands(_NUMBER | {"exclusiveMinimum": 0, "maximum": values.WHOLE}),
]
Confidence = Annotated[
    Decimal,
    BeforeValidator(values.confidence),
    Stands(_NUMBER | {"exclusiveMinimum": 0.5, "exclusiveMaximum": 1}),
]
Rate = Annotated[
    Fraction,
    PlainValidator(values.rate),  # older pydantic does not know fractions
    Stands({"type": "string", "pattern": r"^[0-9]{1,9}(\.[0-9]{1,9})?/[smhd]$"}),
]
Span = Annotated[timedelta, BeforeValidator(values.span), Stands(SPAN)]
Count = Annotated[int, BeforeValidator(values.count), Stands(_COUNT | {"minimum": 0})]
Positive = Annotated[
    int,
    BeforeValidator(values.count),
    AfterValidator(values.at_least_one),
    Stands(_COUNT | {"minimum": 1}),
]
Switch = Annotated[bool, BeforeValidator(values.switch), Stands({"type": "boolean"})]
Zone = Annotated[str, AfterValidator(values.zone), Stands({"type": "string"})]
Expression = Annotated[
    str,
    AfterValidator(values.expression),
    Stands({"type": "string", "minLength": 1, "maxLength": values.EXPRESSION_MAX}),
]
