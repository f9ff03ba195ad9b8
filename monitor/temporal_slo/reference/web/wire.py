"""JSON on the wire: camelCase names, strict types, bounded values."""

from datetime import UTC, date, datetime
from typing import Annotated, Any

from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer
from pydantic.alias_generators import to_camel

AMOUNT_MAX = 10**12
COUNT_MAX = 10**9
ID_MAX = 300


class Wire(BaseModel):
    """Base of all requests and responses. Unknown fields are refused: they are mistakes of the caller."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        validate_by_alias=True,
        validate_by_name=True,
        extra="forbid",
        frozen=True,
        strict=True,
    )

    def json_text(self) -> str:
        """Return the JSON text, without the fields that are None."""
        return self.model_dump_json(by_alias=True, exclude_none=True)


class Request(Wire):
    """Base of requests: fields are accepted only under their names on the wire."""

    model_config = ConfigDict(validate_by_name=False)


class Empty(Wire):
    """A response without content."""


def _real_date(text: str) -> str:
    date.fromisoformat(text)
    return text


def _in_text(value: Any) -> Any:  # noqa: ANN401 whatever the JSON holds
    # pydantic would also accept numbers, as Unix timestamps.
    if not isinstance(value, str | datetime):
        raise ValueError("must be a string")  # noqa: TRY004 pydantic reports only a ValueError
    return value


def whole(value: Any) -> Any:  # noqa: ANN401 whatever the JSON holds
    """Return an integral float as an int, and anything else as it is."""
    # In JSON 5.0 is an integer, too.
    return int(value) if isinstance(value, float) and value.is_integer() else value


def rfc3339(moment: datetime) -> str:
    """Return a time as RFC 3339 in UTC, in seconds."""
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


# Ids are parts of URLs, so none of them holds a slash or starts with a dot.
Id = Annotated[str, Field(min_length=1, max_length=ID_MAX, pattern=r"^[A-Za-z0-9][A-Za-z0-9._:@-]*$")]
Text = Annotated[str, Field(max_length=1000, pattern=r"^[^\x00-\x1f\x7f]*$")]
# The bounds come first, or else they are missing in the OpenAPI document.
Amount = Annotated[int, Field(ge=1, le=AMOUNT_MAX, description="in minor units (kobo)"), BeforeValidator(whole)]
Count = Annotated[int, Field(ge=0, le=COUNT_MAX), BeforeValidator(whole)]
ServiceDate = Annotated[
    str,
    Field(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$", json_schema_extra={"format": "date"}),
    AfterValidator(_real_date),
]
Moment = Annotated[AwareDatetime, Field(strict=False), BeforeValidator(_in_text), PlainSerializer(rfc3339)]
