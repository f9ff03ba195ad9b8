"""Multiwindow, multi-burn-rate alerts of each SLO, and the alert on an exhausted error budget."""

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
from temporal_slo.generate.recording_rules import INTERVAL, Group, Rule, group_name, number
from temporal_slo.promql import labels, over, quoted, recorded
from temporal_slo.spec.bound import BoundSlo
from temporal_slo.spec.burn import burn_rate_threshold, period_length
from temporal_slo.spec.formatting import duration_text, normalized, seconds_text
from temporal_slo.spec.model import Calendar, LowTraffic, Period, Tier

EXTRAPOLATION_ERROR: Final = Decimal("0.5")
"""Rates are extrapolated: a window with two failures may show 1.9."""

DIGITS: Final = 4

FALSE_ALERT_PROBABILITY: Final = 1e-6
MAX_FAILURES: Final = 300

SOME_YEAR: Final = 2024

BURN_RATE: Final = 'printf "%.1f"'
"""Template pipeline for a burn rate: `14.4`."""
TWO_UNITS: Final = r'humanizeDuration | reReplaceAll "^(\\S+ \\S+).*" "$1"'
"""Template pipeline for a duration with its two largest units: `19h 12m` for `19h 12m 7s`."""


def groups(slo: BoundSlo, links: Links) -> list[Group]:
    """Return the rule group with the error budget alerts of *slo*; empty if all of them are disabled."""
    rules = [*(_burn_alert(slo, tier, links) for tier in slo.tiers), *_exhausted_alert(slo, links)]
    name = f"{group_name(slo)}/alerts"
    return [{"name": name, "interval": INTERVAL, "rules": rules}] if rules else []


def _burn_alert(slo: BoundSlo, tier: Tier, links: Links) -> Rule:
    threshold = normalized(burn_rate_threshold(tier, slo.period) * slo.error_budget)
    windows = [_exceeds(slo, window, threshold) for window in (tier.short, tier.long)]
    guard = _low_traffic_guard(slo, tier, threshold)
    override = slo.alerting.tiers.get(tier.name)
    tier_labels = {
        names.SEVERITY: tier.severity,
        names.TIER: tier.name,
        names.LONG: duration_text(tier.long),
        names.SHORT: duration_text(tier.short),
    }
    return {
        "alert": names.ALERT_BURN,
        # The value of the alert is the burn rate over the short window.
        "expr": f"({' and '.join([*windows, *guard])}) / {number(slo.error_budget)}",
        **({"for": duration_text(override.for_)} if override and override.for_ else {}),
        "labels": {**_labels(slo), **tier_labels},
        "annotations": {
            "summary": _burn_summary(slo, tier),
            "description": _burn_description(slo, tier),
            **links.of(slo, names.ALERT_BURN),
        },
    }


def _labels(slo: BoundSlo) -> dict[str, str]:
    # Prometheus expands labels of alerts as templates, too.
    alert_labels = {**labels(slo), names.OWNER: slo.owner, names.SLI_LABEL: slo.sli.kind}
    return {name: literal(value) for name, value in alert_labels.items()}


def _burn_summary(slo: BoundSlo, tier: Tier) -> str:
    short, long = (recorded(slo, over(names.ERROR_RATIO, window)) for window in (tier.short, tier.long))
    budget = number(slo.error_budget)
    # At a burn rate of 1 the whole error budget lasts for one period.
    until_empty = f"({_remaining(slo)}) * {seconds_text(period_length(slo.period))} * {budget} / {short}"
    return (
        f"{slo.name} ({slo.service}): burn rate {{{{ $value | {BURN_RATE} }}}}x over {duration_text(tier.short)}"
        f"{_queried(f'{long} / {budget}', f', {{{{ .Value | {BURN_RATE} }}}}x over {duration_text(tier.long)}')}"
        + _queried(
            until_empty,
            "{{ if gt .Value 0.0 }}, error budget exhausted in {{ .Value | " + TWO_UNITS + " }} at this rate"
            "{{ else }}, error budget exhausted{{ end }}",
        )
    )


def _burn_description(slo: BoundSlo, tier: Tier) -> str:
    short, long = duration_text(tier.short), duration_text(tier.long)
    ratio = recorded(slo, over(names.ERROR_RATIO, tier.short))
    return (
        f"{_about(slo)} The objective is {number(slo.objective)} % over {_period(slo.period)}."
        + _queried(ratio, f" Over {short}, {{{{ .Value | humanizePercentage }}}} of events were bad.")
        + f" Alert threshold: burn rate {number(burn_rate_threshold(tier, slo.period))}x over both windows, "
        f"which consumes {number(tier.budget)} % of the error budget in {long}."
        + _queried(_remaining(slo), " Error budget remaining: {{ .Value | humanizePercentage }}.")
    )


def _about(slo: BoundSlo) -> str:
    return literal(slo.description or f"SLO {slo.name}.")


def _queried(expression: str, text: str) -> str:
    """Return a template that shows *text* with the result of *expression* as `.Value`, or nothing without a result."""
    return f"{{{{ range query {quoted(expression)} }}}}{text}{{{{ end }}}}"


def _exceeds(slo: BoundSlo, window: timedelta, threshold: Decimal) -> str:
    return f"{recorded(slo, over(names.ERROR_RATIO, window))} > {number(threshold)}"


def _low_traffic_guard(slo: BoundSlo, tier: Tier, threshold: Decimal) -> Iterator[str]:
    """Yield the conditions that keep a few failures at low traffic from firing an alert."""
    low = slo.low_traffic
    if low.mode == "none":
        return
    window = tier.long // timedelta(seconds=1)
    errors = f"({recorded(slo, over(names.ERRORS_RATE, tier.long))} * {window})"
    yield f"{errors} >= {number(Decimal(low.min_failures) - EXTRAPOLATION_ERROR)}"
    if low.mode == "confidence":
        events = f"({recorded(slo, over(names.EVENTS_RATE, tier.long))} * {window})"
        confident = f"{_lower_bound(errors, low)} > {number(threshold)} * {events}"
        enough = conclusive_failures(burn_rate_threshold(tier, slo.period))
        yield f"({errors} >= {number(enough - EXTRAPOLATION_ERROR)} or {confident})" if enough else confident


@lru_cache
def conclusive_failures(burn_rate: Decimal) -> int | None:
    """Return from how many failures on a tier that alerts at *burn_rate* needs no confidence bound.

    With so many failures, and the error budget burning at a rate of 1, the measured burn rate exceeds the tier's by
    chance in one of a million windows (Poisson tail). At high traffic the bound would only delay the alert.

    Returns:
        None if no number of failures is conclusive, as for a tier that alerts at a burn rate of 1.
    """
    for failures in range(1, MAX_FAILURES):
        expected = failures / float(burn_rate)
        below = sum(exp(count * log(expected) - expected - lgamma(count + 1)) for count in range(failures))
        if 1 - below < FALSE_ALERT_PROBABILITY:
            return failures
    return None


def _lower_bound(errors: str, low: LowTraffic) -> str:
    """Return the lower confidence bound of the expected number of failures, given the observed number *errors*.

    Byar's approximation of the exact lower bound of a Poisson mean, by Wilson and Hilferty's cube root (Breslow and
    Day, Statistical Methods in Cancer Research II, 1987, chapter 2), which needs no table; for one failure it is 0.04
    instead of 0.05.
    """
    z = round(Decimal(NormalDist().inv_cdf(float(low.confidence))), DIGITS)
    return f"{errors} * (1 - 1 / (9 * {errors}) - {number(z)} / (3 * sqrt({errors}))) ^ 3"


def _exhausted_alert(slo: BoundSlo, links: Links) -> Iterator[Rule]:
    if not slo.alerting.ticket:
        return
    yield {
        "alert": names.ALERT_EXHAUSTED,
        # Exactly 0 is within the objective; rounding removes floating-point errors.
        "expr": f"round({_remaining(slo)}, 0.000001) < 0",
        "for": "5m",
        "labels": {**_labels(slo), names.SEVERITY: "ticket"},
        "annotations": {
            "summary": f"{slo.name} ({slo.service}): error budget exceeded, "
            "{{ $value | humanizePercentage }} remaining",
            "description": f"{_about(slo)} The objective is {number(slo.objective)} % over "
            f"{_period(slo.period)}. Error budget remaining: {{{{ $value | humanizePercentage }}}}.",
            **links.of(slo, names.ALERT_EXHAUSTED),
        },
    }


def _remaining(slo: BoundSlo) -> str:
    if not isinstance(slo.period, Calendar):
        return recorded(slo, names.BUDGET_REMAINING)
    # Early in a month a few bad events are a large share of the events so far, but a small share of the month's budget.
    local = f"vector(time() + {_utc_offset(slo.period.timezone)})"
    elapsed = f"(day_of_month({local}) - 1 + hour({local}) / 24) / days_in_month({local})"
    return f"1 - {recorded(slo, names.PERIOD_BURN)} * scalar({elapsed})"


def _utc_offset(timezone: str) -> int:
    """Return the UTC offset of a time zone in seconds, with daylight saving time: no month starts too late."""
    zone = ZoneInfo(timezone)
    offsets = (datetime(SOME_YEAR, month, 1, tzinfo=zone).utcoffset() for month in (1, 7))
    return max(offset // timedelta(seconds=1) for offset in offsets if offset is not None)


def _period(period: Period) -> str:
    return "the calendar month" if isinstance(period, Calendar) else duration_text(period)
