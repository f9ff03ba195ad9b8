"""What dashboards have in common: how they choose series, sum them up, and lead to one another."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Final, Self

from temporal_slo import names
from temporal_slo.generate.kit import Link, Query, Step, Variable, Words
from temporal_slo.generate.links import Links
from temporal_slo.names import Family
from temporal_slo.names.sdk import WHOLE, Profile
from temporal_slo.promql import REPLICA_LABELS, Matcher, selector
from temporal_slo.spec.bound import BoundSlo
from temporal_slo.spec.burn import BASE, DEFAULT_TIERS, factor
from temporal_slo.spec.model import Period, Tier

INTERVAL: Final = "$__rate_interval"
RANGE: Final = "$__range"
A_SECOND: Final = "suffix:/s"
"""Unit of runs, tasks and events a second, none of which is a request."""

OF_JOB: Final = Matcher("job", "=~", "$job")
OF_NAMESPACE: Final = Matcher(names.NAMESPACE, "=~", f"${names.NAMESPACE}")
OF_TYPE: Final = Matcher(names.WORKFLOW_TYPE, "=~", f"${names.WORKFLOW_TYPE}")
OF_QUEUE: Final = Matcher(names.TASK_QUEUE, "=~", f"${names.TASK_QUEUE}")

GOOD: Final = "green"
WARN: Final = "yellow"
HIGH: Final = "orange"
BAD: Final = "red"

BUDGET_STEPS: Final = (Step(BAD), Step(HIGH, 0), Step(WARN, 0.25), Step(GOOD, 0.5))
NONE_WANTED: Final = (Step(GOOD), Step(WARN, 1))
YES_NO: Final = (Words(0, 0, "no", BAD), Words(1, 1, "yes", GOOD))
NO_YES: Final = (Words(0, 0, "no", GOOD), Words(1, 1, "yes", BAD))
UP_STEPS: Final = (Step(BAD), Step(GOOD, 1))
TRUE_IS_BAD: Final = (Step(GOOD), Step(BAD, 1))


@dataclass(frozen=True, slots=True)
class Setting:
    """What dashboards are made for.

    Attributes:
        windows: That burn rates are recorded for by all SLOs, ascending.
        tiers: Severity and factor of every tier, the fastest first.
        periods: That SLOs have.
        links: Where the reader looks next.
        profile: How workers' own metrics are named.
    """

    windows: tuple[timedelta, ...]
    tiers: tuple[tuple[str, Decimal], ...]
    periods: tuple[Period, ...]
    links: Links
    profile: Profile = WHOLE

    @classmethod
    def of(cls, slos: Sequence[BoundSlo], links: Links, profile: Profile = WHOLE) -> Self:
        """Return the setting of *slos*: windows and factors of all their tiers."""
        tiers = {(tier, factor(tier, slo.period)) for slo in slos for tier in slo.tiers}
        windows = {BASE, *_windows(tier for tier, _ in tiers)}
        factors = {(tier.severity, times) for tier, times in tiers}
        periods = {str(slo.period): slo.period for slo in slos}
        ordered = tuple(sorted(factors, key=lambda pair: -pair[1]))
        return cls(tuple(sorted(windows)), ordered, tuple(periods[key] for key in sorted(periods)), links, profile)

    def burn_steps(self) -> tuple[Step, ...]:
        """Return the colours of burn rates: each tier's factor is a line."""
        lines = {float(times): BAD if severity == "page" else HIGH for severity, times in reversed(self.tiers)}
        return (Step(GOOD), *(Step(color, value) for value, color in sorted(lines.items())))


def _windows(tiers: Iterable[Tier]) -> set[timedelta]:
    return {window for tier in tiers for window in (tier.long, tier.short)}


def shown_windows(setting: Setting) -> tuple[timedelta, ...]:
    """Return the windows of a table: the current one, and the long one of each tier that the specs have."""
    long = {tier.long for tier in DEFAULT_TIERS} & set(setting.windows)
    return (BASE, *sorted(long)) if long else setting.windows[:4]


def of(family: Family, *matchers: Matcher, suffix: str = "") -> str:
    """Return the selector of a family of the exporter, or of workers, as far as the reader has chosen."""
    chosen = (OF_NAMESPACE,) if names.NAMESPACE in family.labels else ()
    return selector(f"{family.sample}{suffix}", OF_JOB, *chosen, *matchers)


def of_target(metric: str) -> str:
    """Return what Prometheus tells of every target, of those that are exporters."""
    return f"{selector(metric, OF_JOB)} and on (job, instance) {of(names.EXPORTER_BUILD_INFO)}"


def peak(family: Family, *by: str, matchers: tuple[Matcher, ...] = ()) -> str:
    """Return the highest value of each set of labels: replicas of the exporter tell the same."""
    return f"max by ({', '.join(by)}) ({of(family, *matchers)})" if by else f"max({of(family, *matchers)})"


def total(family: Family, *by: str, matchers: tuple[Matcher, ...] = ()) -> str:
    """Return the sum of a gauge of the exporter by labels, counting replicas once."""
    return _summed(by, f"max without ({REPLICA_LABELS}) ({of(family, *matchers)})")


def increase(
    family: Family, *by: str, matchers: tuple[Matcher, ...] = (), window: str = INTERVAL, suffix: str = ""
) -> str:
    """Return by how much a counter of the exporter grew, by labels, counting replicas once."""
    selected = of(family, *matchers, suffix=suffix)
    if window == RANGE:
        # In so long a time an exporter may become another instance, which goes on from where the one before was.
        return _summed(by, f"increase(max without ({REPLICA_LABELS}) ({selected})[{window}:$__interval])")
    return _summed(by, f"max without ({REPLICA_LABELS}) (increase({selected}[{window}]))")


def rate(family: Family, *by: str, matchers: tuple[Matcher, ...] = (), suffix: str = "") -> str:
    """Return the rate of a counter of the exporter by labels, counting replicas once."""
    grown = f"rate({of(family, *matchers, suffix=suffix)}[{INTERVAL}])"
    return _summed(by, f"max without ({REPLICA_LABELS}) ({grown})")


def _summed(by: tuple[str, ...], inner: str) -> str:
    return f"sum by ({', '.join(by)}) ({inner})" if by else f"sum({inner})"


def by_legend(*labels: str) -> str:
    """Return a legend of these labels."""
    return " · ".join(f"{{{{{label}}}}}" for label in labels)


def column(expr: str) -> Query:
    """Return the query of a table's column."""
    return Query(expr, instant=True, format="table")


def now(expr: str, legend: str = "") -> Query:
    """Return a query for the end of the time range."""
    return Query(expr, legend, instant=True)


DATASOURCE: Final = Variable("datasource", "Data source", "prometheus", kind="datasource")


def job_of(metric: str) -> Variable:
    """Return the choice of scrape jobs, of those that have *metric*."""
    return Variable("job", "job", f"label_values({metric}, job)")


def namespace_of(family: Family, *, several: bool = True) -> Variable:
    """Return the choice of Temporal namespaces, of those that *family* tells of."""
    query = f"label_values({selector(family.sample, OF_JOB)}, {names.NAMESPACE})"
    return Variable(names.NAMESPACE, "Temporal namespace", query, several=several)


def to_board(title: str, uid: str, **variables: str) -> Link:
    """Return a link to another dashboard, with the time range and data source of this one.

    Args:
        title: Of the link.
        uid: Of the dashboard.
        variables: Its variables, such as `slo="$slo"`.
    """
    given = "".join(f"&var-{name}={value}" for name, value in variables.items())
    return Link(title, f"/d/{uid}?${{datasource:queryparam}}&${{__url_time_range}}{given}")


def field(title: str) -> str:
    """Return what stands for the value in the column *title* of the row, in a link of a table's cell."""
    # By its heading: what Grafana calls a field before it is renamed has changed with its versions.
    return f'${{__data.fields["{title}"]:percentencode}}'
