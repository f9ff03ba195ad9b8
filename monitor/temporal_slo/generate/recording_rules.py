"""Recording rules: what an SLO's events and errors were, and what they mean for its budget."""

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
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
    """Return the groups of recording rules of *slo*."""
    name = group_name(slo)
    return [
        {"name": f"{name}/sli", "interval": INTERVAL, "rules": [*_sli_rules(slo)]},
        {"name": f"{name}/budget", "interval": INTERVAL, "rules": [*_budget_rules(slo)]},
    ]


def group_name(slo: BoundSlo) -> str:
    """Return what the names of the groups of *slo* begin with: parts that no other SLO has, however they are put."""
    return f"temporal-slo/{slo.service}/{slo.temporal_namespace}/{slo.name}"


def labels(slo: BoundSlo) -> dict[str, str]:
    """Return what all series and alerts of *slo* are labelled with."""
    return {
        names.SLO: slo.name,
        names.SERVICE: slo.service,
        names.NAMESPACE: slo.temporal_namespace,
    }


def recorded(slo: BoundSlo, series: str) -> str:
    """Return the selector of a recorded series of *slo*."""
    return selector(series, *(one_of(label, (value,)) for label, value in labels(slo).items()))


def over(series: str, window: timedelta) -> str:
    """Return the name of *series* for one window."""
    return f"{series}{duration_text(window)}"


def period_ratio(period: Period) -> str:
    """Return the name of the series that holds the ratio of the whole period."""
    return names.MONTH_ERROR_RATIO if isinstance(period, Calendar) else over(names.ERROR_RATIO, period)


def windows(slo: BoundSlo) -> list[timedelta]:
    """Return every window that rates are recorded for, ascending."""
    return sorted({BASE_WINDOW, *(window for tier in slo.tiers for window in (tier.long, tier.short))})


def number(value: Decimal) -> str:
    """Return *value* as PromQL has it, with the digits that it has and no others."""
    return f"{normalized(value):f}"


def _sli_rules(slo: BoundSlo) -> Iterator[Rule]:
    for window in windows(slo):
        rates = sli_rates(slo, window)
        events = recorded(slo, over(names.EVENTS_RATE, window))
        yield _rule(slo, over(names.EVENTS_RATE, window), rates.events)
        # What the rule before has just recorded; its labels are of no metric, and go.
        yield _rule(slo, over(names.ERRORS_RATE, window), rates.errors(f"sum({events})"))
        # A window as long as the period has its ratio below.
        if window != slo.period:
            yield _rule(slo, over(names.ERROR_RATIO, window), _ratio(slo, window))
    if isinstance(slo.period, Calendar):
        yield _rule(slo, names.MONTH_ERROR_RATIO, _month(slo))
    else:
        yield _rule(slo, over(names.ERROR_RATIO, slo.period), _period(slo, slo.period))


def _ratio(slo: BoundSlo, window: timedelta) -> str:
    # Nothing for an idle window, and not 0 / 0, which would poison every sum over it.
    errors, events = (recorded(slo, over(rate, window)) for rate in (names.ERRORS_RATE, names.EVENTS_RATE))
    return f"{errors} / ({events} > 0)"


def _period(slo: BoundSlo, period: timedelta) -> str:
    """Return the ratio over the period, each event weighing the same: sums of rates, not a mean of ratios."""
    sums = [
        f"sum_over_time({recorded(slo, over(rate, BASE_WINDOW))}[{duration_text(period)}])"
        for rate in (names.ERRORS_RATE, names.EVENTS_RATE)
    ]
    return f"{sums[0]} / ({sums[1]} > 0)"


def _month(slo: BoundSlo) -> str:
    """Return the ratio of the calendar month, which no range of PromQL is: the exporter tells what it was so far."""
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
    current = recorded(slo, over(names.ERROR_RATIO, BASE_WINDOW))
    yield _rule(slo, names.CURRENT_BURN, f"{current} / {budget}")
    whole = recorded(slo, period_ratio(slo.period))
    yield _rule(slo, names.PERIOD_BURN, f"{whole} / {budget}")
    yield _rule(slo, names.BUDGET_REMAINING, f"1 - {recorded(slo, names.PERIOD_BURN)}")
    about = {
        names.OWNER: slo.owner,
        names.OBJECTIVE_LABEL: number(slo.objective),
        names.SLI_LABEL: slo.sli.kind,
    }
    yield _rule(slo, names.SLO_INFO, "vector(1)", about)


def _rule(slo: BoundSlo, record: str, expression: str, more: dict[str, str] | None = None) -> Rule:
    return {"record": record, "expr": expression, "labels": {**labels(slo), **(more or {})}}
