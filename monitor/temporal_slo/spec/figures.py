"""Numbers as people read them."""

from decimal import Context, Decimal
from fractions import Fraction
from typing import Final

_SHORT: Final = Context(prec=3)
_WHOLE_FROM: Final = 100
"""From here on digits behind the point tell nothing."""


def plain(number: Decimal) -> Decimal:
    """Return *number* without trailing zeros, and without an exponent if it is large."""
    short = number.normalize()
    return short.quantize(Decimal(1)) if short == short.to_integral_value() else short


def figure(number: Fraction) -> str:
    """Return *number* to three digits, or whole where it is large."""
    if number >= _WHOLE_FROM:
        return str(round(number))
    return f"{plain(_SHORT.divide(Decimal(number.numerator), Decimal(number.denominator))):f}"
