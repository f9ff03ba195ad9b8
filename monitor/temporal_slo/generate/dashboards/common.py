"""Shared by all dashboards: colors, thresholds, variables, query builders and links."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Final, Self

from temporal_slo import names
from temporal_slo.generate.kit import Link, Query, Threshold, ValueMapping, Variable
from temporal_slo.generate.links import Links
from temporal_slo.names import Family
from temporal_slo.names.sdk import WHOLE, Profile
from temporal_slo.promql import REPLICA_LABELS, Matcher, selector
from temporal_slo.spec.bound import BoundSlo
from temporal_slo.spec.burn import BASE_WINDOW, DEFAULT_TIERS, burn_rate_threshold
from temporal_slo.spec.model import Period, Tier

RATE_INTERVAL: Final = "$__rate_interval"
RANGE: Final = "$__range"
PER_SECOND: Final = "suffix:/s"
"""Unit of rates of runs, tasks and events; Grafana's `reqps` is for requests only."""

MATCH_JOB: Final = Matcher("job", "=~", "$job")
MATCH_NAMESPACE: Final = Matcher(names.NAMESPACE, "=~", f"${names.NAMESPACE}")
MATCH_WORKFLOW_TYPE: Final = Matcher(names.WORKFLOW_TYPE, "=~", f"${names.WORKFLOW_TYPE}")
MATCH_TASK_QUEUE: Final = Matcher(names.TASK_QUEUE, "=~", f"${names.TASK_QUEUE}")

GREEN: Final = "green"
YELLOW: Final = "yellow"
ORANGE: Final = "orange"
RED: Final = "red"
BLUE: Final = "blue"
PURPLE: Final = "purple"
TEXT: Final = "text"
"""Grafana's text color: no highlight."""

BUDGET_THRESHOLDS: Final = (Threshold(RED), Threshold(ORANGE, 0), Threshold(YELLOW, 0.25), Threshold(GREEN, 0.5))
UP_THRESHOLDS: Final = (Threshold(RED), Threshold(GREEN, 1))
YELLOW_FROM_1: Final = (Threshold(GREEN), Threshold(YELLOW, 1))
RED_FROM_1: Final = (Threshold(GREEN), Threshold(RED, 1))
YES_IS_GREEN: Final = (ValueMapping(0, 0, "no", RED), ValueMapping(1, 1, "yes", GREEN))
YES_IS_RED: Final = (ValueMapping(0, 0, "no", GREEN), ValueMapping(1, 1, "yes", RED))


@dataclass(frozen=True, slots=True)
class DashboardConfig:
    """The parts of the specs and of the installation that dashboards depend on.

    Attributes:
        windows: Windows for which every SLO records burn rates, ascending.
        tiers: Severity and burn rate factor of every alerting tier, highest factor first.
        periods: Compliance periods of the SLOs.
        links: Base URLs of links.
        profile: Naming of the SDK metrics of workers.
    """

    windows: tuple[timedelta, ...]
    tiers: tuple[tuple[str, Decimal], ...]
    periods: tuple[Period, ...]
    links: Links
    profile: Profile = WHOLE

    @classmethod
    def of(cls, slos: Sequence[BoundSlo], links: Links, profile: Profile = WHOLE) -> Self:
        """Return the configuration for *slos*: the windows and factors of all their tiers."""
        tiers = {(tier, burn_rate_threshold(tier, slo.period)) for slo in slos for tier in slo.tiers}
        windows = {BASE_WINDOW, *_windows(tier for tier, _ in tiers)}
        factors = {(tier.severity, times) for tier, times in tiers}
        periods = {str(slo.period): slo.period for slo in slos}
        ordered = tuple(sorted(factors, key=lambda pair: -pair[1]))
        return cls(tuple(sorted(windows)), ordered, tuple(periods[key] for key in sorted(periods)), links, profile)

    def burn_rate_thresholds(self) -> tuple[Threshold, ...]:
        """Return the thresholds of burn rates: the factor of each tier."""
        colors = {float(times): RED if severity == "page" else ORANGE for severity, times in reversed(self.tiers)}
        return (Threshold(GREEN), *(Threshold(color, value) for value, color in sorted(colors.items())))


def _windows(tiers: Iterable[Tier]) -> set[timedelta]:
    return {window for tier in tiers for window in (tier.long, tier.short)}


def table_windows(config: DashboardConfig) -> tuple[timedelta, ...]:
    """Return the windows shown in a table: the shortest, and the long window of each default tier in use."""
    long = {tier.long for tier in DEFAULT_TIERS} & set(config.windows)
    return (BASE_WINDOW, *sorted(long)) if long else config.windows[:4]


def select(family: Family, *matchers: Matcher, suffix: str = "") -> str:
    """Return the selector of a family of the exporter or of workers, filtered by the dashboard's variables."""
    namespace = (MATCH_NAMESPACE,) if names.NAMESPACE in family.labels else ()
    return selector(f"{family.sample}{suffix}", MATCH_JOB, *namespace, *matchers)


def exporter_target(metric: str) -> str:
    """Return a metric that Prometheus records for every scrape target, restricted to exporters."""
    return f"{selector(metric, MATCH_JOB)} and on (job, instance) {select(names.EXPORTER_BUILD_INFO)}"


def max_by(family: Family, *by: str, matchers: tuple[Matcher, ...] = ()) -> str:
    """Return the maximum of a gauge by labels; replicas of the exporter expose the same values."""
    return f"max by ({', '.join(by)}) ({select(family, *matchers)})" if by else f"max({select(family, *matchers)})"


def sum_by(family: Family, *by: str, matchers: tuple[Matcher, ...] = ()) -> str:
    """Return the sum of a gauge of the exporter by labels, counting replicas once."""
    return _sum(by, f"max without ({REPLICA_LABELS}) ({select(family, *matchers)})")


def increase(
    family: Family, *by: str, matchers: tuple[Matcher, ...] = (), window: str = RATE_INTERVAL, suffix: str = ""
) -> str:
    """Return the increase of a counter of the exporter by labels, counting replicas once."""
    selected = select(family, *matchers, suffix=suffix)
    if window == RANGE:
        # The exporter's instance label may change within a long range; its counters continue from the ledger.
        return _sum(by, f"increase(max without ({REPLICA_LABELS}) ({selected})[{window}:$__interval])")
    return _sum(by, f"max without ({REPLICA_LABELS}) (increase({selected}[{window}]))")


def rate(family: Family, *by: str, matchers: tuple[Matcher, ...] = (), suffix: str = "") -> str:
    """Return the per-second rate of a counter of the exporter by labels, counting replicas once."""
    per_replica = f"rate({select(family, *matchers, suffix=suffix)}[{RATE_INTERVAL}])"
    return _sum(by, f"max without ({REPLICA_LABELS}) ({per_replica})")


def _sum(by: tuple[str, ...], expr: str) -> str:
    return f"sum by ({', '.join(by)}) ({expr})" if by else f"sum({expr})"


def label_legend(*labels: str) -> str:
    """Return a legend of the values of *labels*."""
    return " · ".join(f"{{{{{label}}}}}" for label in labels)


def table_query(expr: str) -> Query:
    """Return the query of a table column."""
    return Query(expr, instant=True, format="table")


def instant(expr: str, legend: str = "") -> Query:
    """Return an instant query at the end of the time range."""
    return Query(expr, legend, instant=True)


DATASOURCE: Final = Variable("datasource", "Data source", "prometheus", kind="datasource")


def job_variable(metric: str) -> Variable:
    """Return the variable of the scrape jobs that have *metric*."""
    return Variable("job", "job", f"label_values({metric}, job)")


def namespace_variable(family: Family, *, multi: bool = True) -> Variable:
    """Return the variable of the Temporal namespaces that *family* has series of."""
    query = f"label_values({selector(family.sample, MATCH_JOB)}, {names.NAMESPACE})"
    return Variable(names.NAMESPACE, "Temporal namespace", query, multi=multi)


def dashboard_link(title: str, uid: str, **variables: str) -> Link:
    """Return a link to another dashboard that keeps the data source and time range.

    Args:
        title: Title of the link.
        uid: Of the linked dashboard.
        variables: Values of its variables, such as `slo="$slo"`.
    """
    parameters = "".join(f"&var-{name}={value}" for name, value in variables.items())
    return Link(title, f"/d/{uid}?${{datasource:queryparam}}&${{__url_time_range}}{parameters}")


def cell_value(title: str) -> str:
    """Return the variable that holds, in a data link of a table, the row's value in the column *title*."""
    # By heading: the field's name before the renaming differs between versions of Grafana.
    return f'${{__data.fields["{title}"]:percentencode}}'
