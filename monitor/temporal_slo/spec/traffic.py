"""What an SLO's traffic has against it: few events make small budgets, empty windows and alerts on one failure."""

from collections.abc import Iterator
from datetime import timedelta
from fractions import Fraction
from typing import Final

from temporal_slo.spec.burn import factor, length
from temporal_slo.spec.figures import figure, lasting
from temporal_slo.spec.model import Calendar, Overdue, Period, Slo, Tier
from temporal_slo.spec.tree import Place

FAILURES_MIN: Final = 5
"""Of a budget with fewer failures each is a fifth of it or more, so that burn rates tell little."""
EVENTS_MIN: Final = 3
"""With fewer expected a window is empty more often than once in twenty times."""
MINUTE: Final = Fraction(1, 60)

Found = tuple[Place, str, bool]
"""Where below the SLO, what and the remedy, and whether it is a warning."""


def lint(slo: Slo, tiers: tuple[Tier, ...], period: Period) -> Iterator[Found]:
    """Yield what will not work with the events that are expected; nothing if nobody knows how many."""
    rate = MINUTE if isinstance(slo.sli, Overdue) else slo.expected_rate
    if rate is None:
        return
    yield from _budget(slo, rate, period)
    if Fraction(slo.error_budget) * _events(rate, length(period)) < 1:
        # No window helps that one.
        return
    for tier in tiers:
        yield from _starves(slo, tier, rate)
        yield from _needs_too_many(slo, tier, rate)
    if slo.expected_rate:
        yield from _one_failure(slo, tiers, rate, period)


def _events(rate: Fraction, window: timedelta) -> Fraction:
    return rate * (window // timedelta(milliseconds=1)) / 1000


def _budget(slo: Slo, rate: Fraction, period: Period) -> Iterator[Found]:
    events = _events(rate, length(period))
    allowed = Fraction(slo.error_budget) * events
    if allowed >= FAILURES_MIN:
        return
    kind = "minutes" if isinstance(slo.sli, Overdue) else "expected events"
    span = "a month" if isinstance(period, Calendar) else lasting(period)
    leaves = f"leaves {figure(allowed)} bad ones of the {figure(events)} {kind} in {span}"
    remedy = "write a lower objective or a longer period, or promise for several workflows together"
    if allowed < 1:
        yield ("objective",), f"{leaves}, so the first one breaks the promise; {remedy}", False
    else:
        yield ("objective",), f"{leaves}, so each one is much of the budget; {remedy}", True


def _starves(slo: Slo, tier: Tier, rate: Fraction) -> Iterator[Found]:
    events = _events(rate, tier.short)
    if events < EVENTS_MIN:
        fed = timedelta(minutes=-(-EVENTS_MIN // (rate * 60)))
        key: Place = ("expected_rate",) if slo.expected_rate else ("sli",)
        text = (
            f"the tier {tier.name} has {figure(events)} events in its short window of {lasting(tier.short)}, "
            f"and is often empty, so alerts come and go; write windows whose short one is {lasting(fed)} "
            f"or longer, or alerting: {{tiers: {{{tier.name}: {{enabled: false}}}}}}"
        )
        yield key, text, True


def _needs_too_many(slo: Slo, tier: Tier, rate: Fraction) -> Iterator[Found]:
    guard = slo.low_traffic
    events = _events(rate, tier.long)
    if guard.mode != "none" and events < guard.min_failures:
        text = (
            f"wants {guard.min_failures} failures, and the tier {tier.name} has {figure(events)} events in "
            f"{lasting(tier.long)}; write fewer, or alerting: {{tiers: {{{tier.name}: {{enabled: false}}}}}}"
        )
        yield ("alerting", "low_traffic"), text, True


def _one_failure(slo: Slo, tiers: tuple[Tier, ...], rate: Fraction, period: Period) -> Iterator[Found]:
    if slo.low_traffic.mode != "none":
        return
    for tier in tiers:
        needed = _events(rate, tier.long) * Fraction(factor(tier, period)) * Fraction(slo.error_budget)
        if tier.severity == "page" and needed < 1:
            text = (
                f"one failure among the {figure(_events(rate, tier.long))} events of {lasting(tier.long)} "
                f"sets off the tier {tier.name}; write alerting: {{low_traffic: {{mode: confidence}}}}"
            )
            yield ("expected_rate",), text, True
