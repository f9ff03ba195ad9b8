"""Lints on expected traffic: with few events an error budget is small, windows are empty, and one failure alerts."""

from collections.abc import Iterator
from datetime import timedelta
from fractions import Fraction
from typing import Final

from temporal_slo.spec.burn import burn_rate_threshold, period_length
from temporal_slo.spec.formatting import duration_text, number_text, percent_text
from temporal_slo.spec.model import Calendar, Overdue, Period, Slo, Tier
from temporal_slo.spec.tree import KeyPath

BAD_EVENTS_MIN: Final = 5
"""An error budget of fewer bad events loses a fifth or more to each of them, which makes burn rates useless."""
WINDOW_EVENTS_MIN: Final = 3
"""A window with fewer expected events is empty more than once in twenty times."""
ONE_PER_MINUTE: Final = Fraction(1, 60)

TrafficLint = tuple[KeyPath, str, bool]
"""Key path below the SLO, message with remedy, and whether it is a warning."""


def lint(slo: Slo, tiers: tuple[Tier, ...], period: Period) -> Iterator[TrafficLint]:
    """Yield what will not work with the expected number of events; nothing if that is unknown."""
    rate = ONE_PER_MINUTE if isinstance(slo.sli, Overdue) else slo.expected_rate
    if rate is None:
        return
    yield from _error_budget(slo, rate, period)
    if Fraction(slo.error_budget) * _events(rate, period_length(period)) < 1:
        # No choice of windows helps such a budget.
        return
    for tier in tiers:
        yield from _empty_window(slo, tier, rate)
        yield from _min_failures(slo, tier, rate)
    if slo.expected_rate:
        yield from _one_failure(slo, tiers, rate, period)


def _events(rate: Fraction, window: timedelta) -> Fraction:
    return rate * (window // timedelta(milliseconds=1)) / 1000


def _error_budget(slo: Slo, rate: Fraction, period: Period) -> Iterator[TrafficLint]:
    events = _events(rate, period_length(period))
    allowed = Fraction(slo.error_budget) * events
    if allowed >= BAD_EVENTS_MIN:
        return
    noun, expected = ("minutes", "") if isinstance(slo.sli, Overdue) else ("events", "expected ")
    length = "a month" if isinstance(period, Calendar) else duration_text(period)
    allows = f"allows only {number_text(allowed)} bad {noun} out of {number_text(events)} {expected}in {length}"
    remedy = "write a lower objective or a longer period, or combine several workflows in one SLO"
    if allowed < 1:
        yield ("objective",), f"{allows}, so the first one breaks the SLO; {remedy}", False
    else:
        share = percent_text(1 / allowed)
        yield ("objective",), f"{allows}, so a single one spends {share} of the budget; {remedy}", True


def _empty_window(slo: Slo, tier: Tier, rate: Fraction) -> Iterator[TrafficLint]:
    events = _events(rate, tier.short)
    if events < WINDOW_EVENTS_MIN:
        long_enough = timedelta(minutes=-(-WINDOW_EVENTS_MIN // (rate * 60)))
        key: KeyPath = ("expected_rate",) if slo.expected_rate else ("sli",)
        text = (
            f"tier {tier.name} expects {number_text(events)} events in its short window of "
            f"{duration_text(tier.short)}, which is often empty, so its alert flaps; write a short window of "
            f"{duration_text(long_enough)} or longer, or {_disable(tier)}"
        )
        yield key, text, True


def _min_failures(slo: Slo, tier: Tier, rate: Fraction) -> Iterator[TrafficLint]:
    low_traffic = slo.low_traffic
    events = _events(rate, tier.long)
    if low_traffic.mode != "none" and events < low_traffic.min_failures:
        text = (
            f"requires {low_traffic.min_failures} failures, but tier {tier.name} expects {number_text(events)} events "
            f"in {duration_text(tier.long)}; write fewer, or {_disable(tier)}"
        )
        yield ("alerting", "low_traffic"), text, True


def _one_failure(slo: Slo, tiers: tuple[Tier, ...], rate: Fraction, period: Period) -> Iterator[TrafficLint]:
    if slo.low_traffic.mode != "none":
        return
    for tier in tiers:
        events = _events(rate, tier.long)
        needed = events * Fraction(burn_rate_threshold(tier, period)) * Fraction(slo.error_budget)
        if tier.severity == "page" and needed < 1:
            text = (
                f"a single failure among the {number_text(events)} events of {duration_text(tier.long)} "
                f"triggers tier {tier.name}; write alerting: {{low_traffic: {{mode: confidence}}}}"
            )
            yield ("expected_rate",), text, True


def _disable(tier: Tier) -> str:
    return f"alerting: {{tiers: {{{tier.name}: {{enabled: false}}}}}}"
