"""Recording rules of an SLO: event and error rates per window, error ratios, burn rates, error budget."""

from collections.abc import Iterator, Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any, Final

from temporal_slo import names
from temporal_slo.promql import REPLICA_LABELS, closed_runs, labels, one_of, over, recorded, selector, sli_rates
from temporal_slo.spec.bound import BoundSlo
from temporal_slo.spec.burn import BASE_WINDOW, EVALUATION_INTERVAL, period_length
from temporal_slo.spec.formatting import duration_text, normalized
from temporal_slo.spec.model import Calendar, Period

Rule = dict[str, Any]
Group = dict[str, Any]

INTERVAL: Final = duration_text(EVALUATION_INTERVAL)

DAY: Final = timedelta(days=1)


MAX_RULES: Final = 20
"""Rules of a group: the limit of Mimir and Grafana Cloud."""


def groups(slo: BoundSlo) -> list[Group]:
    """Return the recording rule groups of *slo*."""
    name = group_name(slo)
    of_windows = [_window_rules(slo, window, longer) for window, longer in _with_longer(windows(slo))]
    parts = list(_chunks(of_windows))
    sli = [(f"{name}/sli" if index == 0 else f"{name}/sli-{index + 1}", rules) for index, rules in enumerate(parts)]
    budget = (f"{name}/budget", [*_default_rules(slo), _period_rule(slo), *_budget_rules(slo)])
    return [{"name": title, "interval": INTERVAL, "rules": rules} for title, rules in (*sli, budget)]


def _with_longer(ascending: Sequence[timedelta]) -> Iterator[tuple[timedelta, timedelta | None]]:
    """Yield each window with the next longer one, the longest first: shorter ones read what longer ones record."""
    yield from zip(reversed(ascending), (None, *reversed(ascending)), strict=False)


def _chunks(of_windows: Sequence[list[Rule]]) -> Iterator[list[Rule]]:
    """Yield groups of rules; those of one window, which read each other's results, stay together."""
    rules: list[Rule] = []
    for own in of_windows:
        if len(rules) + len(own) > MAX_RULES:
            yield rules
            rules = []
        rules = [*rules, *own]
    yield rules


def group_name(slo: BoundSlo) -> str:
    """Return the prefix of the group names of *slo*; slashes separate its parts, which keeps it unique."""
    return f"temporal-slo/{slo.service}/{slo.temporal_namespace}/{slo.name}"


def period_ratio(period: Period) -> str:
    """Return the name of the recorded error ratio of the compliance period."""
    return names.MONTH_ERROR_RATIO if isinstance(period, Calendar) else over(names.ERROR_RATIO, period)


def windows(slo: BoundSlo) -> list[timedelta]:
    """Return all windows for which rates are recorded, ascending."""
    return sorted({BASE_WINDOW, *(window for tier in slo.tiers for window in (tier.long, tier.short))})


def number(value: Decimal) -> str:
    """Return *value* as a PromQL number, exact and without an exponent."""
    return f"{normalized(value):f}"


def _window_rules(slo: BoundSlo, window: timedelta, longer: timedelta | None) -> list[Rule]:
    rules = []
    if runs := closed_runs(slo, window, longer):
        rules.append(_rule(slo, over(names.CLASSIFIED_RATE, window), runs.classified))
        rules.append(_rule(slo, over(names.CLOSED_RATE, window), runs.closed))
    rates, events = sli_rates(slo, window), over(names.EVENTS_RATE, window)
    rules.append(_rule(slo, events, rates.events))
    # From the series recorded by the rule before; sum() drops its labels.
    rules.append(_rule(slo, over(names.ERRORS_RATE, window), rates.errors(f"sum({recorded(slo, events)})")))
    # The ratio over the period is recorded with the budget.
    if window != slo.period:
        rules.append(_rule(slo, over(names.ERROR_RATIO, window), _window_ratio(slo, window)))
    return rules


def _default_rules(slo: BoundSlo) -> Iterator[Rule]:
    if runs := closed_runs(slo, BASE_WINDOW, None):
        for group, (status, outcome) in runs.defaults.items():
            own = {names.STATUS_GROUP: group, names.STATUS: status, names.OUTCOME: outcome}
            yield _rule(slo, names.DEFAULT_SHARE, "vector(1)", own)


def _period_rule(slo: BoundSlo) -> Rule:
    if isinstance(slo.period, Calendar):
        return _rule(slo, names.MONTH_ERROR_RATIO, _month_ratio(slo))
    return _rule(slo, over(names.ERROR_RATIO, slo.period), _rolling_ratio(slo, slo.period))


def _window_ratio(slo: BoundSlo, window: timedelta) -> str:
    # No result for an idle window: 0 / 0 is NaN, and so is every sum over it.
    errors, events = (recorded(slo, over(rate, window)) for rate in (names.ERRORS_RATE, names.EVENTS_RATE))
    return f"{errors} / ({events} > 0)"


def _rolling_ratio(slo: BoundSlo, period: timedelta) -> str:
    """Return the error ratio over a rolling period, weighted by events: sums of rates, not a mean of ratios."""
    sums = [
        f"sum_over_time({recorded(slo, over(rate, BASE_WINDOW))}[{duration_text(period)}])"
        for rate in (names.ERRORS_RATE, names.EVENTS_RATE)
    ]
    return f"{sums[0]} / ({sums[1]} > 0)"


def _month_ratio(slo: BoundSlo) -> str:
    """Return the error ratio of the calendar month so far, from the exporter's counts: PromQL has no such range."""
    good, bad = (
        f"sum(max without ({REPLICA_LABELS}) ({selected}))"
        for selected in (
            selector(family.sample, *(one_of(label, (labels(slo)[label],)) for label in family.labels))
            for family in (names.PERIOD_GOOD_EVENTS, names.PERIOD_BAD_EVENTS)
        )
    )
    return f"{bad} / ({good} + {bad} > 0)"


def _budget_rules(slo: BoundSlo) -> Iterator[Rule]:
    budget = number(slo.error_budget)
    yield _rule(slo, names.OBJECTIVE, f"vector({number(1 - slo.error_budget)})")
    yield _rule(slo, names.ERROR_BUDGET, f"vector({budget})")
    yield _rule(slo, names.PERIOD_DAYS, f"vector({number(Decimal(period_length(slo.period) / DAY))})")
    current_ratio = recorded(slo, over(names.ERROR_RATIO, BASE_WINDOW))
    yield _rule(slo, names.CURRENT_BURN, f"{current_ratio} / {budget}")
    of_period = recorded(slo, period_ratio(slo.period))
    yield _rule(slo, names.PERIOD_BURN, f"{of_period} / {budget}")
    yield _rule(slo, names.BUDGET_REMAINING, f"1 - {recorded(slo, names.PERIOD_BURN)}")
    info_labels = {
        names.OWNER: slo.owner,
        names.OBJECTIVE_LABEL: number(slo.objective),
        names.SLI_LABEL: slo.sli.kind,
    }
    yield _rule(slo, names.SLO_INFO, "vector(1)", info_labels)


def _rule(slo: BoundSlo, record: str, expression: str, more: dict[str, str] | None = None) -> Rule:
    return {"record": record, "expr": expression, "labels": {**labels(slo), **(more or {})}}
