"""Burn-rate tiers, and the burn rate at which each of them alerts."""

from datetime import timedelta
from decimal import Context, Decimal
from fractions import Fraction
from typing import Final

from temporal_slo.spec.formatting import normalized
from temporal_slo.spec.model import Calendar, Period, Slo, Spec, Tier
from temporal_slo.spec.validators import HUNDRED_PERCENT

MONTH_LENGTH: Final = timedelta(days=30)
"""Length of every calendar month: a burn rate that changed with the month would change every alert with it."""
BASE_WINDOW: Final = timedelta(minutes=5)
"""Window of the current burn rate; the ratios over a period are computed from its rates."""
EVALUATION_INTERVAL: Final = timedelta(seconds=30)
"""Evaluation interval of the rules: the usual scrape interval of Prometheus; a shorter one would see no new samples."""
_NINE_DIGITS: Final = Context(prec=9)
"""Enough for every burn rate with a finite decimal expansion in practice, and short enough to read for the others."""

DEFAULT_TIERS: Final = (
    Tier(name="page-quick", severity="page", long=timedelta(hours=1), short=timedelta(minutes=5), budget=Decimal(2)),
    Tier(name="page-slow", severity="page", long=timedelta(hours=6), short=timedelta(minutes=30), budget=Decimal(5)),
    Tier(name="ticket-quick", severity="ticket", long=timedelta(days=1), short=timedelta(hours=2), budget=Decimal(10)),
    Tier(name="ticket-slow", severity="ticket", long=timedelta(days=3), short=timedelta(hours=6), budget=Decimal(10)),
)
"""The table of the SRE Workbook, chapter 5, with an additional tier of one day between its last two."""


def period_length(period: Period) -> timedelta:
    """Return the length of *period*; 30 days for a calendar month."""
    return MONTH_LENGTH if isinstance(period, Calendar) else period


def burn_rate_threshold(tier: Tier, period: Period) -> Decimal:
    """Return the burn rate at which *tier* alerts.

    Returns:
        Exact, or nine digits if it has no finite decimal expansion: 14.4 for 2 % of the budget of 30 days in an hour.
    """
    millisecond = timedelta(milliseconds=1)
    exact = (
        Fraction(tier.budget) / HUNDRED_PERCENT * (period_length(period) // millisecond) / (tier.long // millisecond)
    )
    return normalized(_NINE_DIGITS.divide(Decimal(exact.numerator), Decimal(exact.denominator)))


def tiers_of(spec: Spec, slo: Slo) -> tuple[Tier, ...]:
    """Return the tiers that alert for *slo*, in the order of the spec."""
    return enabled_tiers(spec.windows or DEFAULT_TIERS, slo)


def enabled_tiers(tiers: tuple[Tier, ...], slo: Slo) -> tuple[Tier, ...]:
    """Return those of *tiers* that *slo* has not disabled."""
    enabled = {"page": slo.alerting.page, "ticket": slo.alerting.ticket}
    disabled = {name for name, alert in slo.alerting.tiers.items() if not alert.enabled}
    return tuple(tier for tier in tiers if enabled[tier.severity] and tier.name not in disabled)
