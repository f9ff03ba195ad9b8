"""Recording rules: what an SLO's events and errors were, and what they mean for its budget."""

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any, Final

from temporal_slo import names
from temporal_slo.promql import REPLICA_LABELS, one_of, selector, sli
from temporal_slo.spec.burn import BASE, EVERY, length, tiers_of
from temporal_slo.spec.figures import lasting, plain
from temporal_slo.spec.model import Calendar, Slo, Spec

Rule = dict[str, Any]
Group = dict[str, Any]

INTERVAL: Final = lasting(EVERY)

DAY: Final = timedelta(days=1)


def groups(spec: Spec, slo: Slo) -> list[Group]:
    """Return the groups of recording rules of *slo*."""
    name = group_name(spec, slo)
    return [
        {"name": f"{name}/sli", "interval": INTERVAL, "rules": [*_sli_rules(spec, slo)]},
        {"name": f"{name}/budget", "interval": INTERVAL, "rules": [*_budget_rules(spec, slo)]},
    ]


def group_name(spec: Spec, slo: Slo) -> str:
    """Return what the names of the groups of *slo* begin with: parts that no other SLO has, however they are put."""
    return f"temporal-slo/{spec.service}/{spec.temporal_namespace}/{slo.name}"


def labels(spec: Spec, slo: Slo) -> dict[str, str]:
    """Return what all series and alerts of *slo* are labelled with."""
    return {
        names.SLO: slo.name,
        names.SERVICE: spec.service,
        names.NAMESPACE: spec.temporal_namespace,
    }


def recorded(spec: Spec, slo: Slo, series: str) -> str:
    """Return the selector of a recorded series of *slo*."""
    return selector(series, *(one_of(label, (value,)) for label, value in labels(spec, slo).items()))


def over(series: str, window: timedelta) -> str:
    """Return the name of *series* for one window."""
    return f"{series}{lasting(window)}"


def period_ratio(spec: Spec) -> str:
    """Return the name of the series that holds the ratio of the whole period."""
    return names.MONTH_ERROR_RATIO if isinstance(spec.period, Calendar) else over(names.ERROR_RATIO, spec.period)


def windows(spec: Spec, slo: Slo) -> list[timedelta]:
    """Return every window that rates are recorded for, ascending."""
    return sorted({BASE, *(window for tier in tiers_of(spec, slo) for window in (tier.long, tier.short))})


def number(value: Decimal) -> str:
    """Return *value* as PromQL has it, with the digits that it has and no others."""
    return f"{plain(value):f}"


def _sli_rules(spec: Spec, slo: Slo) -> Iterator[Rule]:
    for window in windows(spec, slo):
        rates = sli(slo, spec.temporal_namespace, window)
        events = recorded(spec, slo, over(names.EVENTS_RATE, window))
        yield _rule(spec, slo, over(names.EVENTS_RATE, window), rates.events)
        # What the rule before has just recorded; its labels are of no metric, and go.
        yield _rule(spec, slo, over(names.ERRORS_RATE, window), rates.errors(f"sum({events})"))
        # A window as long as the period has its ratio below.
        if window != spec.period:
            yield _rule(spec, slo, over(names.ERROR_RATIO, window), _ratio(spec, slo, window))
    if isinstance(spec.period, Calendar):
        yield _rule(spec, slo, names.MONTH_ERROR_RATIO, _month(spec, slo))
    else:
        yield _rule(spec, slo, over(names.ERROR_RATIO, spec.period), _period(spec, slo, spec.period))


def _ratio(spec: Spec, slo: Slo, window: timedelta) -> str:
    # Nothing for an idle window, and not 0 / 0, which would poison every sum over it.
    errors, events = (recorded(spec, slo, over(rate, window)) for rate in (names.ERRORS_RATE, names.EVENTS_RATE))
    return f"{errors} / ({events} > 0)"


def _period(spec: Spec, slo: Slo, period: timedelta) -> str:
    """Return the ratio over the period, each event weighing the same: sums of rates, not a mean of ratios."""
    sums = [
        f"sum_over_time({recorded(spec, slo, over(rate, BASE))}[{lasting(period)}])"
        for rate in (names.ERRORS_RATE, names.EVENTS_RATE)
    ]
    return f"{sums[0]} / ({sums[1]} > 0)"


def _month(spec: Spec, slo: Slo) -> str:
    """Return the ratio of the calendar month, which no range of PromQL is: the exporter tells what it was so far."""
    good, bad = (
        f"sum(max without ({REPLICA_LABELS}) ({selected}))"
        for selected in (
            selector(family.sample, *(one_of(label, (labels(spec, slo)[label],)) for label in family.labels))
            for family in (names.PERIOD_GOOD, names.PERIOD_BAD)
        )
    )
    return f"{bad} / ({good} + {bad} > 0)"


def _budget_rules(spec: Spec, slo: Slo) -> Iterator[Rule]:
    budget = number(slo.budget)
    yield _rule(spec, slo, names.OBJECTIVE, f"vector({number(1 - slo.budget)})")
    yield _rule(spec, slo, names.ERROR_BUDGET, f"vector({budget})")
    yield _rule(spec, slo, names.PERIOD_DAYS, f"vector({number(Decimal(length(spec.period) / DAY))})")
    current = recorded(spec, slo, over(names.ERROR_RATIO, BASE))
    yield _rule(spec, slo, names.CURRENT_BURN, f"{current} / {budget}")
    whole = recorded(spec, slo, period_ratio(spec))
    yield _rule(spec, slo, names.PERIOD_BURN, f"{whole} / {budget}")
    yield _rule(spec, slo, names.BUDGET_REMAINING, f"1 - {recorded(spec, slo, names.PERIOD_BURN)}")
    about = {
        names.OWNER: spec.owner,
        names.OBJECTIVE_LABEL: number(slo.objective),
        names.SLI_LABEL: slo.sli.kind,
    }
    yield _rule(spec, slo, names.SLO_INFO, "vector(1)", about)


def _rule(spec: Spec, slo: Slo, record: str, expression: str, more: dict[str, str] | None = None) -> Rule:
    return {"record": record, "expr": expression, "labels": {**labels(spec, slo), **(more or {})}}
