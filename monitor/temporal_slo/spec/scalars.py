"""Types of the scalars in a spec: validation and JSON Schema of each."""

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BeforeValidator, GetJsonSchemaHandler, PlainValidator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from temporal_slo.spec import validators

# Editors parse unquoted numbers and booleans, which the tree keeps as text.
_TEXT: Final = ["string", "number", "boolean"]
_NUMBER: Final = {"type": ["number", "string"], "pattern": r"^[0-9]{1,9}(\.[0-9]{1,9})?$"}
_COUNT: Final = {"type": ["integer", "string"], "pattern": "^[0-9]{1,9}$"}
LINE: Final[dict[str, Any]] = {"type": _TEXT, "pattern": r"^\S(.*\S)?$"}
NAME: Final[dict[str, Any]] = {"type": "string", "pattern": "^[a-z][a-z0-9-]{0,62}$"}
DURATION: Final[dict[str, Any]] = {"type": "string", "pattern": "^([0-9]+(ms|[wdhms]))+$"}


@dataclass(frozen=True, eq=False)
class ReplaceSchema:
    """Replaces the JSON Schema of the annotated type. Pydantic's own WithJsonSchema shares *schema* between uses."""

    schema: dict[str, Any]

    def __get_pydantic_json_schema__(self, _: CoreSchema, _handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return dict(self.schema)


@dataclass(frozen=True, eq=False)
class ExtendSchema:
    """ExtendSchema a keyword to the JSON Schema of the annotated type."""

    keyword: str
    value: object

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return handler(schema) | {self.keyword: self.value}


NOT_EMPTY: Final = ExtendSchema("minItems", 1)
UNIQUE_ITEMS: Final = ExtendSchema("uniqueItems", True)  # noqa: FBT003 the keyword's value

Name = Annotated[str, AfterValidator(validators.name), ReplaceSchema(NAME)]
Line = Annotated[str, AfterValidator(validators.line), ReplaceSchema(LINE)]
Lines = Annotated[tuple[Line, ...], AfterValidator(validators.unique), UNIQUE_ITEMS]
Paragraph = Annotated[str, AfterValidator(validators.paragraph), ReplaceSchema({"type": _TEXT})]
Objective = Annotated[
    Decimal,
    BeforeValidator(validators.objective),
    ReplaceSchema(_NUMBER | {"exclusiveMinimum": 0, "exclusiveMaximum": validators.HUNDRED_PERCENT}),
]
Percent = Annotated[
    Decimal,
    BeforeValidator(validators.percent),
    ReplaceSchema(_NUMBER | {"exclusiveMinimum": 0, "maximum": validators.HUNDRED_PERCENT}),
]
Confidence = Annotated[
    Decimal,
    BeforeValidator(validators.confidence),
    ReplaceSchema(_NUMBER | {"exclusiveMinimum": 0.5, "exclusiveMaximum": 1}),
]
Rate = Annotated[
    Fraction,
    PlainValidator(validators.rate),  # older versions of pydantic do not know fractions
    ReplaceSchema({"type": "string", "pattern": r"^[0-9]{1,9}(\.[0-9]{1,9})?/[smhd]$"}),
]
Duration = Annotated[timedelta, BeforeValidator(validators.duration), ReplaceSchema(DURATION)]
Count = Annotated[int, BeforeValidator(validators.integer), ReplaceSchema(_COUNT | {"minimum": 0})]
Positive = Annotated[
    int,
    BeforeValidator(validators.integer),
    AfterValidator(validators.positive),
    ReplaceSchema(_COUNT | {"minimum": 1}),
]
Boolean = Annotated[bool, BeforeValidator(validators.boolean), ReplaceSchema({"type": "boolean"})]
TimeZone = Annotated[str, AfterValidator(validators.time_zone), ReplaceSchema({"type": "string"})]
Expression = Annotated[
    str,
    AfterValidator(validators.expression),
    ReplaceSchema({"type": "string", "minLength": 1, "maxLength": validators.EXPRESSION_MAX}),
]
