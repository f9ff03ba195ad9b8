"""Durations and numbers as text for people."""

from datetime import timedelta
from decimal import Context, Decimal
from fractions import Fraction
from typing import Final

from temporal_slo.durations import format_duration
from temporal_slo.spec.validators import EXACT

_THREE_DIGITS: Final = Context(prec=3)
_INTEGER_FROM: Final = 100
"""From this number on decimal places carry no information."""


def duration_text(duration: timedelta) -> str:
    """Return *duration* in Prometheus notation; whole days stay days: `30d`, not `4w2d`."""
    days = duration // timedelta(days=1)
    return f"{days}d" if duration == timedelta(days=days) else format_duration(duration)


def seconds_text(duration: timedelta) -> str:
    """Return the seconds of *duration*, exact and without an exponent."""
    text = f"{duration.total_seconds():f}"
    return text.rstrip("0").rstrip(".")


def normalized(number: Decimal) -> Decimal:
    """Return *number* without trailing zeros, and without an exponent if it is large."""
    short = EXACT.normalize(number)
    return short.quantize(Decimal(1), context=EXACT) if short == short.to_integral_value() else short


def number_text(number: Fraction) -> str:
    """Return *number* with three significant digits, or as an integer from 100 on."""
    if number >= _INTEGER_FROM:
        return str(round(number))
    return f"{normalized(_THREE_DIGITS.divide(Decimal(number.numerator), Decimal(number.denominator))):f}"


def percent_text(ratio: Fraction) -> str:
    """Return *ratio* in percent: `2 %`."""
    return f"{number_text(ratio * 100)} %"
