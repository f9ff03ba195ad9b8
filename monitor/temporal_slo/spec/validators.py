"""Validators of the scalars in a spec: each parses the text as written, or raises an error that says what to write."""

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from decimal import Context, Decimal
from fractions import Fraction
from typing import Any, Final, TypeVar
from zoneinfo import ZoneInfo

import jmespath
from jmespath.exceptions import JMESPathError
from jmespath.functions import Functions
from pydantic_core import PydanticCustomError, PydanticKnownError

from temporal_slo.durations import parse_duration

K = TypeVar("K")
V = TypeVar("V")

EXPLAINED: Final = "explained"
"""Type of the pydantic errors whose message already has the reason and the remedy."""
_NAME: Final = re.compile(r"[a-z][a-z0-9-]{0,62}")
# Nine decimal places resolve more events than any period can have.
_DECIMAL: Final = re.compile(r"\d{1,9}(\.\d{1,9})?")
_RATE: Final = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)/([smhd])")
EXACT: Final = Context(prec=60)
"""More digits than a spec can hold, so that results do not depend on the caller's decimal context."""
HUNDRED_PERCENT: Final = 100
_INTEGER: Final = re.compile(r"\d{1,9}")
EXPRESSION_MAX: Final = 200
"""JMESPath parses and evaluates by recursion: no expression of this length exhausts Python's stack."""
_QUOTED_MAX: Final = 60


def invalid(reason: str, remedy: str) -> PydanticCustomError:
    """Return the error of an invalid value."""
    return PydanticCustomError(EXPLAINED, "{reason}; {remedy}", {"reason": reason, "remedy": remedy})


def quoted(value: object) -> str:
    """Return *value* as messages quote it: on one line, truncated if long."""
    text = repr(value)
    return text if len(text) <= _QUOTED_MAX else f"{text[:_QUOTED_MAX]}…"


def join_words(words: Sequence[str], conjunction: str = "or") -> str:
    """Return *words* as an enumeration: `a, b or c`."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} {conjunction} {words[-1]}"


class FrozenMapping(Mapping[K, V]):
    """An immutable, hashable mapping, so that a spec is hashable."""

    def __init__(self, items: Mapping[K, V]) -> None:
        self._items = dict(items)

    def __getitem__(self, key: K) -> V:
        return self._items[key]

    def __iter__(self) -> Iterator[K]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __hash__(self) -> int:
        return hash(frozenset(self._items.items()))

    def __repr__(self) -> str:
        return repr(self._items)


def unique(items: tuple[str, ...]) -> tuple[str, ...]:
    """Reject a list with duplicates."""
    for index, item in enumerate(items):
        if item in items[:index]:
            raise invalid(f"lists {quoted(item)} twice", "remove one of them")
    return items


def not_empty(items: tuple[Any, ...]) -> tuple[Any, ...]:
    """Reject an empty list."""
    if not items:
        raise invalid("is an empty list", "write at least one item")
    return items


def _as_text(value: object) -> str:
    # A float has lost the digits that were written, and True is an integer only to Python.
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, str | int) and not isinstance(value, bool):
        return str(value)
    raise PydanticKnownError("string_type")


def name(text: str) -> str:
    """Reject an invalid name."""
    if not _NAME.fullmatch(text):
        raise invalid(
            f"{quoted(text)} is not a valid name",
            "write up to 63 lower-case letters, digits and hyphens, starting with a letter",
        )
    return text


def line(text: str) -> str:
    """Reject what is not one line of text."""
    if not text.strip():
        raise invalid("is empty", "set it or remove it")
    if text != text.strip():
        raise invalid(f"{quoted(text)} has leading or trailing white space", "remove it")
    if any(unicodedata.category(char) in {"Cc", "Cs", "Zl", "Zp"} for char in text):
        raise invalid(f"{quoted(text)} contains a line break or a control character", "remove it")
    return text


def paragraph(text: str) -> str:
    """Reject control characters other than line breaks and tabs."""
    if any(unicodedata.category(char) in {"Cc", "Cs"} for char in text if char not in "\n\t"):
        raise invalid(f"{quoted(text)} contains a control character", "remove it")
    return text.strip()


def _decimal(value: object, remedy: str) -> Decimal:
    text = _as_text(value)
    if not _DECIMAL.fullmatch(text):
        raise invalid(f"{quoted(text)} is not a decimal number", remedy)
    return Decimal(text)


def objective(value: object) -> Decimal:
    """Parse an objective, in percent of good events."""
    number = _decimal(value, "write percent without the sign, for example 99.5")
    if number == HUNDRED_PERCENT:
        raise invalid("an objective of 100 leaves no error budget", "write less, for example 99.9")
    if not 0 < number < HUNDRED_PERCENT:
        raise invalid(f"{number:f} is not between 0 and 100", "write percent, for example 99.5")
    return number


def percent(value: object) -> Decimal:
    """Parse a percentage above 0."""
    number = _decimal(value, "write percent without the sign, for example 2.5")
    if not 0 < number <= HUNDRED_PERCENT:
        raise invalid(f"{number:f} is not above 0 and at most 100", "write percent, for example 2.5")
    return number


def confidence(value: object) -> Decimal:
    """Parse a confidence level between 0.5 and 1."""
    number = _decimal(value, "write for example 0.95")
    if not Decimal("0.5") < number < 1:
        raise invalid(f"{number:f} is not between 0.5 and 1", "write for example 0.95")
    return number


def rate(value: object) -> Fraction:
    """Parse a rate such as `20/h`, in events per second."""
    if isinstance(value, Fraction):
        return value
    text = _as_text(value)
    found = _RATE.fullmatch(text)
    if not found:
        raise invalid(f"{quoted(text)} is not a rate", "write events per second, minute, hour or day, for example 20/h")
    number = Fraction(found[1])
    if not number:
        raise invalid(f"{quoted(text)} is a rate of zero", "write a rate above 0, or remove it")
    return number / (parse_duration(f"1{found[2]}") // timedelta(seconds=1))


def duration(value: object) -> timedelta:
    """Parse a duration."""
    if isinstance(value, timedelta):
        return value
    text = _as_text(value)
    try:
        return parse_duration(text)
    except ValueError as error:
        reason = str(error).replace(repr(text), quoted(text))
        raise invalid(reason, "write whole numbers, each with a unit of ms, s, m, h, d or w") from error


def integer(value: object) -> int:
    """Parse a whole number of at most nine digits."""
    text = _as_text(value)
    if not _INTEGER.fullmatch(text):
        raise invalid(f"{quoted(text)} is not a whole number from 0 to 999999999", "write digits, for example 2")
    return int(text)


def positive(number: int) -> int:
    """Reject 0."""
    if not number:
        raise invalid("0 is too low", "write 1 or more")
    return number


def boolean(value: object) -> bool:
    """Parse true or false."""
    if isinstance(value, bool):
        return value
    text = _as_text(value)
    if text not in {"true", "false"}:
        raise invalid(f"{quoted(text)} is neither true nor false", "write true or false")
    return text == "true"


def time_zone(text: str) -> str:
    """Reject an unknown time zone."""
    try:
        ZoneInfo(text)
    except (OSError, ValueError, LookupError) as error:
        raise invalid(
            f"{quoted(text)} is not a time zone known on this machine",
            "write an IANA name such as Africa/Accra or UTC, or install the time zone database (tzdata)",
        ) from error
    return text


def expression(text: str) -> str:
    """Reject an invalid JMESPath expression."""
    remedy = "write the path of the outcome in the workflow result, for example status or booking.state"
    if len(text) > EXPRESSION_MAX:
        raise invalid(f"a JMESPath expression of {len(text)} characters is too long", f"write at most {EXPRESSION_MAX}")
    try:
        parsed = jmespath.compile(text).parsed
    except (JMESPathError, ValueError, RecursionError) as error:
        raise invalid(f"{quoted(text)} is not a JMESPath expression", remedy) from error
    for called in _functions(parsed):
        if called not in Functions.FUNCTION_TABLE:
            raise invalid(f"JMESPath has no function {quoted(called)}", remedy)
    return text


def _functions(node: Mapping[str, Any]) -> Iterator[str]:
    """Yield the functions that a parsed expression calls: JMESPath itself checks them only when it evaluates them."""
    if node["type"] == "function_expression":
        yield node["value"]
    for child in node["children"]:
        if isinstance(child, dict):
            yield from _functions(child)
