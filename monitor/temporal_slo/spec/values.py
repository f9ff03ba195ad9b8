"""The scalars of a spec: each is read from the text that was written, or refused in plain words."""

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

REFUSED: Final = "refused"
"""The type of the errors that already say what is wrong and what to do."""
_NAME: Final = re.compile(r"[a-z][a-z0-9-]{0,62}")
# Nine digits after the point say more than any period can hold events.
_DECIMAL: Final = re.compile(r"\d{1,9}(\.\d{1,9})?")
_RATE: Final = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)/([smhd])")
EXACT: Final = Context(prec=60)
"""More digits than a spec can hold: what callers round to is no business of ours."""
WHOLE: Final = 100
"""The whole of a percentage."""
_WHOLE: Final = re.compile(r"\d{1,9}")
EXPRESSION_MAX: Final = 200
"""JMESPath parses and evaluates by recursion: no expression this short exhausts Python's stack."""
_SHOWN_MAX: Final = 60


def refusal(what: str, remedy: str) -> PydanticCustomError:
    """Return the error for a value that is not what it must be."""
    return PydanticCustomError(REFUSED, "{what}; {remedy}", {"what": what, "remedy": remedy})


def show(value: object) -> str:
    """Return *value* as a message quotes it: on one line, and not at full length if that is long."""
    text = repr(value)
    return text if len(text) <= _SHOWN_MAX else f"{text[:_SHOWN_MAX]}…"


def one_of(words: Sequence[str], joint: str = "or") -> str:
    """Return *words* as a sentence lists them."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} {joint} {words[-1]}"


class Fixed(Mapping[K, V]):
    """A mapping that cannot be changed, so that a spec has a hash."""

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


def distinct(items: tuple[str, ...]) -> tuple[str, ...]:
    """Refuse a list that holds something twice."""
    for index, item in enumerate(items):
        if item in items[:index]:
            raise refusal(f"holds {show(item)} twice", "remove one of them")
    return items


def filled(items: tuple[Any, ...]) -> tuple[Any, ...]:
    """Refuse an empty list."""
    if not items:
        raise refusal("is an empty list", "write at least one item")
    return items


def _written(value: object) -> str:
    # A float has lost the digits that were written, and True is a number to Python alone.
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, str | int) and not isinstance(value, bool):
        return str(value)
    raise PydanticKnownError("string_type")


def name(text: str) -> str:
    """Refuse what is not a name."""
    if not _NAME.fullmatch(text):
        raise refusal(
            f"{show(text)} is not a name", "write at most 63 lower-case letters, digits and hyphens, a letter first"
        )
    return text


def line(text: str) -> str:
    """Refuse what is not one line of text."""
    if not text.strip():
        raise refusal("is empty", "write a text")
    if text != text.strip():
        raise refusal(f"{show(text)} begins or ends with a blank", "remove it")
    if any(unicodedata.category(char) in {"Cc", "Cs", "Zl", "Zp"} for char in text):
        raise refusal(f"{show(text)} holds a line break or a control character", "remove it")
    return text


def paragraph(text: str) -> str:
    """Refuse control characters."""
    if any(unicodedata.category(char) in {"Cc", "Cs"} for char in text if char not in "\n\t"):
        raise refusal(f"{show(text)} holds a control character", "remove it")
    return text.strip()


def _decimal(value: object, form: str) -> Decimal:
    text = _written(value)
    if not _DECIMAL.fullmatch(text):
        raise refusal(f"{show(text)} is not a decimal number", form)
    return Decimal(text)


def objective(value: object) -> Decimal:
    """Read percent of good events, or refuse it."""
    number = _decimal(value, "write percent without a sign, for example 99.5")
    if number == WHOLE:
        raise refusal("an objective of 100 leaves no error budget", "write less, for example 99.9")
    if not 0 < number < WHOLE:
        raise refusal(f"{number:f} is not between 0 and 100", "write percent, for example 99.5")
    return number


def percent(value: object) -> Decimal:
    """Read a percentage, or refuse it."""
    number = _decimal(value, "write percent without a sign, for example 2.5")
    if not 0 < number <= WHOLE:
        raise refusal(f"{number:f} is not above 0 and at most 100", "write percent, for example 2.5")
    return number


def confidence(value: object) -> Decimal:
    """Read how sure something is to be, or refuse it."""
    number = _decimal(value, "write for example 0.95")
    if not Decimal("0.5") < number < 1:
        raise refusal(f"{number:f} is not between 0.5 and 1", "write for example 0.95")
    return number


def rate(value: object) -> Fraction:
    """Read events per second, or refuse it."""
    if isinstance(value, Fraction):
        return value
    text = _written(value)
    found = _RATE.fullmatch(text)
    if not found:
        raise refusal(
            f"{show(text)} is not a rate", "write a number of events a second, minute, hour or day, for example 20/h"
        )
    number = Fraction(found[1])
    if not number:
        raise refusal(f"{show(text)} is no event at all", "write a rate above 0, or remove it")
    return number / (parse_duration(f"1{found[2]}") // timedelta(seconds=1))


def span(value: object) -> timedelta:
    """Read a duration, or refuse it."""
    if isinstance(value, timedelta):
        return value
    text = _written(value)
    try:
        return parse_duration(text)
    except ValueError as error:
        what = str(error).replace(repr(text), show(text))
        raise refusal(what, "write whole numbers, each with a unit of ms, s, m, h, d or w") from error


def count(value: object) -> int:
    """Read a whole number, or refuse it."""
    text = _written(value)
    if not _WHOLE.fullmatch(text):
        raise refusal(f"{show(text)} is not a whole number from 0 to 999999999", "write digits, for example 2")
    return int(text)


def at_least_one(number: int) -> int:
    """Refuse 0."""
    if not number:
        raise refusal("0 is not enough", "write 1 or more")
    return number


def switch(value: object) -> bool:
    """Read true or false, or refuse it."""
    if isinstance(value, bool):
        return value
    text = _written(value)
    if text not in {"true", "false"}:
        raise refusal(f"{show(text)} is neither true nor false", "write true or false")
    return text == "true"


def zone(text: str) -> str:
    """Refuse a time zone that is not known."""
    try:
        ZoneInfo(text)
    except (OSError, ValueError, LookupError) as error:
        raise refusal(
            f"{show(text)} is no time zone that this machine knows",
            "write one as in Africa/Accra or UTC, or install the time zone database (tzdata)",
        ) from error
    return text


def expression(text: str) -> str:
    """Refuse what is not a JMESPath expression."""
    remedy = "write where in the workflow's result the outcome stands, for example status or booking.state"
    if len(text) > EXPRESSION_MAX:
        raise refusal(f"a JMESPath expression of {len(text)} characters is too long", f"write at most {EXPRESSION_MAX}")
    try:
        parsed = jmespath.compile(text).parsed
    except (JMESPathError, ValueError, RecursionError) as error:
        raise refusal(f"{show(text)} is not a JMESPath expression", remedy) from error
    for called in _functions(parsed):
        if called not in Functions.FUNCTION_TABLE:
            raise refusal(f"JMESPath has no function {show(called)}", remedy)
    return text


def _functions(node: Mapping[str, Any]) -> Iterator[str]:
    """Yield the names of the functions that a parsed expression calls: JMESPath itself finds out when it runs."""
    if node["type"] == "function_expression":
        yield node["value"]
    for child in node["children"]:
        if isinstance(child, dict):
            yield from _functions(child)
