"""Alerts on a budget that burns: one for each tier, each with what somebody who is woken needs."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from math import exp, lgamma, log
from statistics import NormalDist
from typing import Final
from zoneinfo import ZoneInfo

from temporal_slo import names
from temporal_slo.generate.links import Links, literal
from temporal_slo.generate.recording_rules import INTERVAL, Group, Rule, group_name, labels, number, over, recorded
from temporal_slo.spec.bound import BoundSlo
from temporal_slo.spec.burn import burn_rate_threshold, period_length
from temporal_slo.spec.formatting import duration_text, normalized
from temporal_slo.spec.model import Calendar, LowTraffic, Period, Tier

HALF: Final = Decimal("0.5")
"""Rates are extrapolated: a window with two failures may tell of 1.9."""

DIGITS: Final = 4

ONE_IN: Final = 1e-6
MOST: Final = 300

SOME_YEAR: Final = 2024


def groups(slo: BoundSlo, links: Links) -> list[Group]:
    """Return the group of alerts of *slo*; none if all are switched off."""
    rules = [*(_burning(slo, tier, links) for tier in slo.tiers), *_exhausted(slo, links)]
    name = f"{group_name(slo)}/alerts"
    return [{"name": name, "interval": INTERVAL, "rules": rules}] if rules else []


def _burning(slo: BoundSlo, tier: Tier, links: Links) -> Rule:
    threshold = normalized(burn_rate_threshold(tier, slo.period) * slo.error_budget)
    both = [_exceeded(slo, window, threshold) for window in (tier.short, tier.long)]
    guard = _guard(slo, tier, threshold)
    changed = slo.alerting.tiers.get(tier.name)
    about = {
        **_labels(slo),
        names.SEVERITY: tier.severity,
        names.TIER: tier.name,
        names.LONG: duration_text(tier.long),
        names.SHORT: duration_text(tier.short),
    }
    return {
        "alert": names.ALERT_BURN,
        "expr": " and ".join([*both, *guard]),
        **({"for": duration_text(changed.for_)} if changed and changed.for_ else {}),
        "labels": about,
        "annotations": {
            "summary": f"{slo.service} {slo.name}: its error budget burns {_times(slo, tier)} too fast or faster",
            "description": _burn_text(slo, tier),
            **links.of(slo, names.ALERT_BURN),
        },
    }


def _labels(slo: BoundSlo) -> dict[str, str]:
    # Labels of alerts are templates, too.
    about = {**labels(slo), names.OWNER: slo.owner, names.SLI_LABEL: slo.sli.kind}
    return {name: literal(value) for name, value in about.items()}


def _burn_text(slo: BoundSlo, tier: Tier) -> str:
    gone = period_length(slo.period) / float(burn_rate_threshold(tier, slo.period))
    return (
        f"{literal(slo.description or slo.name)} The objective is {number(slo.objective)} %. "
        f"Over {duration_text(tier.short)}, "
        "{{ $value | humanizePercentage }} of events were bad. Going on like this for "
        f"{duration_text(tier.long)} spends {number(tier.budget)} % of the budget of {_period(slo.period)}; "
        f"all of it is gone within {_rough(gone)}, or sooner."
    )


def _exceeded(slo: BoundSlo, window: timedelta, threshold: Decimal) -> str:
    return f"{recorded(slo, over(names.ERROR_RATIO, window))} > {number(threshold)}"


def _guard(slo: BoundSlo, tier: Tier, threshold: Decimal) -> Iterator[str]:
    """Yield what keeps few failures among few events from being taken for a burning budget."""
    low = slo.low_traffic
    if low.mode == "none":
        return
    seconds = tier.long // timedelta(seconds=1)
    errors = f"({recorded(slo, over(names.ERRORS_RATE, tier.long))} * {seconds})"
    yield f"{errors} >= {number(Decimal(low.min_failures) - HALF)}"
    if low.mode == "confidence":
        events = f"({recorded(slo, over(names.EVENTS_RATE, tier.long))} * {seconds})"
        surely = f"{_surely(errors, low)} > {number(threshold)} * {events}"
        enough = plenty(burn_rate_threshold(tier, slo.period))
        yield f"({errors} >= {number(enough - HALF)} or {surely})" if enough else surely


@lru_cache
def plenty(times: Decimal) -> int | None:
    """Return how many failures need no guard in a tier that alerts when the budget burns so many *times* too fast.

    So many, where the raw rate exceeds the tier's, come once in a million windows by chance if the budget burns just as
    fast as it may (a Poisson tail). Where traffic is high the guard would only be late.

    Returns:
        None where no number of failures is sure: a budget that burns once is what that tier alerts on.
    """
    for failures in range(1, MOST):
        expected = failures / float(times)
        below = sum(exp(count * log(expected) - expected - lgamma(count + 1)) for count in range(failures))
        if 1 - below < ONE_IN:
            return failures
    return None


def _surely(errors: str, low: LowTraffic) -> str:
    """Return the number of failures that *errors* observed ones mean with that confidence, at least.

    Byar's approximation of the exact lower bound of a Poisson mean, by Wilson and Hilferty's cube root (Breslow and
    Day, Statistical Methods in Cancer Research II, 1987, chapter 2), which needs no table; for one failure it is 0.04
    and not 0.05.
    """
    z = round(Decimal(NormalDist().inv_cdf(float(low.confidence))), DIGITS)
    return f"{errors} * (1 - 1 / (9 * {errors}) - {number(z)} / (3 * sqrt({errors}))) ^ 3"


def _exhausted(slo: BoundSlo, links: Links) -> Iterator[Rule]:
    if not slo.alerting.ticket:
        return
    yield {
        "alert": names.ALERT_EXHAUSTED,
        # Spent to the last event is not broken, and its last digits are no events.
        "expr": f"round({_left(slo)}, 0.000001) < 0",
        "for": "5m",
        "labels": {**_labels(slo), names.SEVERITY: "ticket"},
        "annotations": {
            "summary": f"{slo.service} {slo.name}: the error budget of {_period(slo.period)} is overspent",
            "description": f"{literal(slo.description or slo.name)} The objective is {number(slo.objective)} %. "
            "Of the budget, {{ $value | humanizePercentage }} is left.",
            **links.of(slo, names.ALERT_EXHAUSTED),
        },
    }


def _left(slo: BoundSlo) -> str:
    if not isinstance(slo.period, Calendar):
        return recorded(slo, names.BUDGET_REMAINING)
    # Of a month that has just begun, a few bad events are all that happened, and yet little of what it may bear.
    local = f"vector(time() + {_ahead(slo.period.timezone)})"
    gone = f"(day_of_month({local}) - 1 + hour({local}) / 24) / days_in_month({local})"
    return f"1 - {recorded(slo, names.PERIOD_BURN)} * scalar({gone})"


def _ahead(timezone: str) -> int:
    """Return by how many seconds a time zone is ahead of UTC, in summer if it has one: months never begin too late."""
    zone = ZoneInfo(timezone)
    offsets = (datetime(SOME_YEAR, month, 1, tzinfo=zone).utcoffset() for month in (1, 7))
    return max(offset // timedelta(seconds=1) for offset in offsets if offset is not None)


def _times(slo: BoundSlo, tier: Tier) -> str:
    return f"{number(burn_rate_threshold(tier, slo.period))} times"


def _period(period: Period) -> str:
    return "the month" if isinstance(period, Calendar) else duration_text(period)


def _rough(span: timedelta) -> str:
    hours = span / timedelta(hours=1)
    return f"{hours:.0f} hours" if hours < 100 else f"{hours / 24:.0f} days"  # noqa: PLR2004 four days and more
