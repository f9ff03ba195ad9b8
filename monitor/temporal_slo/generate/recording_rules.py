"""Recording rules of an SLO: event and error rates per window, error ratios, burn rates, error budget."""

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final

from temporal_slo import names
from temporal_slo.promql import REPLICA_LABELS, one_of, selector, sli_rates
from temporal_slo.spec.bound import BoundSlo
from temporal_slo.spec.burn import BASE_WINDOW, EVALUATION_INTERVAL, period_length
from temporal_slo.spec.formatting import duration_text, normalized
from temporal_slo.spec.model import Calendar, Period

Rule = dict[str, Any]
Group = dict[str, Any]

INTERVAL: Final = duration_text(EVALUATION_INTERVAL)

DAY: Final = timedelta(days=1)


def groups(slo: BoundSlo) -> list[Group]:
    """Return the recording rule groups of *slo*."""
    name = group_name(slo)
    return [
        {"name": f"{name}/sli", "interval": INTERVAL, "rules": [*_sli_rules(slo)]},
        {"name": f"{name}/budget", "interval": INTERVAL, "rules": [*_budget_rules(slo)]},
    ]


def group_name(slo: BoundSlo) -> str:
    """Return the prefix of the group names of *slo*; slashes separate its parts, which keeps it unique."""
    return f"temporal-slo/{slo.service}/{slo.temporal_namespace}/{slo.name}"


def labels(slo: BoundSlo) -> dict[str, str]:
    """Return the labels of all recorded series and alerts of *slo*."""
    return {
        names.SLO: slo.name,
        names.SERVICE: slo.service,
        names.NAMESPACE: slo.temporal_namespace,
    }


def recorded(slo: BoundSlo, series: str) -> str:
    """Return the selector of the recorded series *series* of *slo*."""
    return selector(series, *(one_of(label, (value,)) for label, value in labels(slo).items()))


@lru_cache
def over(series: str, window: timedelta) -> str:
    """Return the name of the recorded series *series* over *window*."""
    return f"{series}{duration_text(window)}"


def period_ratio(period: Period) -> str:
    """Return the name of the recorded error ratio of the compliance period."""
    return names.MONTH_ERROR_RATIO if isinstance(period, Calendar) else over(names.ERROR_RATIO, period)


def windows(slo: BoundSlo) -> list[timedelta]:
    """Return all windows for which rates are recorded, ascending."""
    return sorted({BASE_WINDOW, *(window for tier in slo.tiers for window in (tier.long, tier.short))})


def number(value: Decimal) -> str:
    """Return *value* as a PromQL number, exact and without an exponent."""
    return f"{normalized(value):f}"


def _sli_rules(slo: BoundSlo) -> Iterator[Rule]:
    for window in windows(slo):
        rates = sli_rates(slo, window)
        events = recorded(slo, over(names.EVENTS_RATE, window))
        yield _rule(slo, over(names.EVENTS_RATE, window), rates.events)
        # From the series recorded by the rule before; sum() drops its labels.
        yield _rule(slo, over(names.ERRORS_RATE, window), rates.errors(f"sum({events})"))
        # The ratio over the period is recorded below.
        if window != slo.period:
            yield _rule(slo, over(names.ERROR_RATIO, window), _window_ratio(slo, window))
    if isinstance(slo.period, Calendar):
        yield _rule(slo, names.MONTH_ERROR_RATIO, _month_ratio(slo))
    else:
        yield _rule(slo, over(names.ERROR_RATIO, slo.period), _rolling_ratio(slo, slo.period))


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
