"""Numbers as people read them."""

from datetime import timedelta
from decimal import Context, Decimal
from fractions import Fraction
from typing import Final

from temporal_slo.durations import format_duration
from temporal_slo.spec.values import EXACT

_SHORT: Final = Context(prec=3)
_WHOLE_FROM: Final = 100
"""From here on digits behind the point tell nothing."""


def lasting(span: timedelta) -> str:
    """Return *span* as specs have it: 30 days are 30d to people, not four weeks and two days."""
    days = span // timedelta(days=1)
    return f"{days}d" if span == timedelta(days=days) else format_duration(span)


def seconds(span: timedelta) -> str:
    """Return the seconds of *span* to the last digit, and without an exponent."""
    text = f"{span.total_seconds():f}"
    return text.rstrip("0").rstrip(".")


def plain(number: Decimal) -> Decimal:
    """Return *number* without trailing zeros, and without an exponent if it is large."""
    short = EXACT.normalize(number)
    return short.quantize(Decimal(1), context=EXACT) if short == short.to_integral_value() else short


def figure(number: Fraction) -> str:
    """Return *number* to three digits, or whole where it is large."""
    if number >= _WHOLE_FROM:
        return str(round(number))
    return f"{plain(_SHORT.divide(Decimal(number.numerator), Decimal(number.denominator))):f}"
