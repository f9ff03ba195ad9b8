"""Burn tiers: how fast the budget must burn for an alert."""

from datetime import timedelta
from decimal import Context, Decimal
from fractions import Fraction
from typing import Final

from temporal_slo.spec.formatting import normalized
from temporal_slo.spec.model import Calendar, Period, Slo, Spec, Tier
from temporal_slo.spec.validators import HUNDRED_PERCENT

MONTH_LENGTH: Final = timedelta(days=30)
"""What a calendar month counts as: a factor that changed with the month would change every alert with it."""
BASE_WINDOW: Final = timedelta(minutes=5)
"""The window that current figures, and through them the period's, are made of."""
EVALUATION_INTERVAL: Final = timedelta(seconds=30)
"""Time between two evaluations of rules: Prometheus' usual scrape interval, more often would see nothing new."""
_DIGITS: Final = Context(prec=9)
"""Enough for every factor that comes out even, and short enough to read for the others."""

DEFAULT_TIERS: Final = (
    Tier(name="page-quick", severity="page", long=timedelta(hours=1), short=timedelta(minutes=5), budget=Decimal(2)),
    Tier(name="page-slow", severity="page", long=timedelta(hours=6), short=timedelta(minutes=30), budget=Decimal(5)),
    Tier(name="ticket-quick", severity="ticket", long=timedelta(days=1), short=timedelta(hours=2), budget=Decimal(10)),
    Tier(name="ticket-slow", severity="ticket", long=timedelta(days=3), short=timedelta(hours=6), budget=Decimal(10)),
)
"""The table of the SRE Workbook, chapter 5, and a tier of one day between its last two."""


def period_length(period: Period) -> timedelta:
    """Return how long *period* is; a calendar month counts as 30 days."""
    return MONTH_LENGTH if isinstance(period, Calendar) else period


def burn_rate_threshold(tier: Tier, period: Period) -> Decimal:
    """Return how many times faster than it may the budget burns when *tier* alerts.

    Returns:
        Exact, or to nine digits where it does not come out even: 14.4 for 2 % of 30 days' budget in an hour.
    """
    millisecond = timedelta(milliseconds=1)
    true = Fraction(tier.budget) / HUNDRED_PERCENT * (period_length(period) // millisecond) / (tier.long // millisecond)
    return normalized(_DIGITS.divide(Decimal(true.numerator), Decimal(true.denominator)))


def tiers_of(spec: Spec, slo: Slo) -> tuple[Tier, ...]:
    """Return the tiers that alert for *slo*, in the order of the spec."""
    return enabled_tiers(spec.windows or DEFAULT_TIERS, slo)


def enabled_tiers(tiers: tuple[Tier, ...], slo: Slo) -> tuple[Tier, ...]:
    """Return those of *tiers* that *slo* has not switched off."""
    wanted = {"page": slo.alerting.page, "ticket": slo.alerting.ticket}
    off = {name for name, alert in slo.alerting.tiers.items() if not alert.enabled}
    return tuple(tier for tier in tiers if wanted[tier.severity] and tier.name not in off)
