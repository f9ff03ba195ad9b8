"""The dashboard of one SLO: remaining error budget, burn rates, bad events and possible causes."""

from datetime import timedelta
from typing import Final
from urllib.parse import quote

from temporal_slo import names
from temporal_slo.generate.dashboards.common import (
    BLUE,
    BUDGET_THRESHOLDS,
    DATASOURCE,
    GREEN,
    MATCH_JOB,
    MATCH_NAMESPACE,
    ORANGE,
    PER_SECOND,
    RED,
    YELLOW,
    DashboardConfig,
    dashboard_link,
    increase,
    instant,
    job_variable,
    label_legend,
    namespace_variable,
    select,
)
from temporal_slo.generate.dashboards.slo_state import (
    SLO_LABELS,
    STATE_MAPPINGS,
    STATE_THRESHOLDS,
    alert_annotation,
    recorded,
    slo_state,
)
from temporal_slo.generate.kit import (
    Annotation,
    Dashboard,
    Link,
    Panel,
    Query,
    Row,
    Threshold,
    ValueMapping,
    Variable,
    gauge,
    stat,
    text,
    timeseries,
)
from temporal_slo.generate.kit.model import Json, override_by_name
from temporal_slo.names import values
from temporal_slo.names.sdk import SDK_WORKER_STARTS
from temporal_slo.promql import Matcher, none_of, over, selector
from temporal_slo.spec.burn import BASE_WINDOW, EVALUATION_INTERVAL
from temporal_slo.spec.formatting import duration_text
from temporal_slo.spec.model import Calendar

MATCH_SLO: Final = Matcher(names.SLO, "=~", f"${names.SLO}")
DAY: Final = 86400
NEVER: Final = 1_000_000_000_000
"""Seconds that stand for a burn rate of 0."""
SECOND: Final = timedelta(seconds=1)
FINAL_STATUS: Final = none_of(names.STATUS, (values.RETRIED, values.RESET))


def _slo(series: str) -> str:
    return recorded(series, MATCH_SLO)


def dashboard(config: DashboardConfig) -> Dashboard:
    """Return the dashboard."""
    slos = selector(names.SLO_INFO, MATCH_NAMESPACE)
    rows = (
        Row("Now", _now(config)),
        Row("Error budget", (_budget(), _burn_rates(config))),
        Row("Events", (_sli(), _events(), _bad_events(config))),
        Row("Causes", (_links(config), _failures(), _deployments(config))),
    )
    return Dashboard(
        names.DASHBOARD_DETAIL,
        "Temporal SLO / Detail",
        "One SLO: remaining error budget and time to exhaustion, burn rates, bad events, deployments.",
        rows,
        (
            DATASOURCE,
            job_variable(names.EXPORTER_UP.sample),
            namespace_variable(names.EXPORTER_UP, multi=False),
            Variable(names.SLO, "SLO", f"label_values({slos}, {names.SLO})", multi=False),
        ),
        _annotations(),
        time_from="now-24h",
    )


def _annotations() -> tuple[Annotation, ...]:
    reloaded = f"changes({select(names.EXPORTER_RELOAD_TIMESTAMP)}[2m]) > 0"
    return (
        alert_annotation(MATCH_SLO),
        Annotation("Spec reloads", reloaded, "the exporter reloaded the SLO specs", BLUE),
    )


def _now(config: DashboardConfig) -> tuple[Panel, ...]:
    remaining, burn_rate = _slo(names.BUDGET_REMAINING), _slo(names.PERIOD_BURN)
    return (
        stat(
            "State",
            "No data: the exporter is down or cannot read Temporal, or no worker reports. Insufficient: no events.",
            instant(slo_state(MATCH_SLO)),
            unit="none",
            thresholds=STATE_THRESHOLDS,
            mappings=STATE_MAPPINGS,
            background=True,
        ),
        stat(
            "Objective",
            "Target share of good events.",
            instant(_slo(names.OBJECTIVE)),
            unit="percentunit",
            decimals=3,
        ),
        stat(
            "SLI over the period",
            "Share of good events over the compliance period.",
            instant(f"1 - {burn_rate} * {_slo(names.ERROR_BUDGET)}"),
            unit="percentunit",
            decimals=3,
        ),
        gauge(
            "Error budget remaining",
            "Remaining share of the period's error budget. Below 0 the objective is missed.",
            instant(remaining),
            unit="percentunit",
            thresholds=BUDGET_THRESHOLDS,
        ),
        stat(
            "Budget exhausted in",
            "Time until the error budget is exhausted at the burn rate of the last hour.",
            instant(_seconds_to_exhaustion()),
            unit="s",
            decimals=1,
            thresholds=(
                Threshold(RED),
                Threshold(ORANGE, DAY),
                Threshold(YELLOW, 3 * DAY),
                Threshold(GREEN, 14 * DAY),
            ),
            mappings=(ValueMapping(NEVER, NEVER, "never at this rate", GREEN),),
        ),
        stat(
            "Bad events remaining",
            "Number of further bad events that the error budget allows, given the events of the period so far.",
            instant(bad_events_remaining(config)),
            unit="locale",
            decimals=0,
            thresholds=(Threshold(RED), Threshold(YELLOW, 1), Threshold(GREEN, 5)),
        ),
    )


def _seconds_to_exhaustion() -> str:
    remaining, burn_rate = f"clamp_min({_slo(names.BUDGET_REMAINING)}, 0)", _hourly_burn_rate()
    finite = f"{remaining} / ({burn_rate} > 0) * {_slo(names.PERIOD_DAYS)} * {DAY}"
    return f"{finite} or ({burn_rate} == 0) * 0 + {NEVER}"


def _hourly_burn_rate() -> str:
    """Return the burn rate of the last hour, from the 5m series that every SLO records whatever its tiers are."""
    errors, events = (
        f"sum_over_time({selector(f'{rate}5m', MATCH_NAMESPACE, MATCH_SLO)}[1h])"
        for rate in (names.ERRORS_RATE, names.EVENTS_RATE)
    )
    return f"(max by ({SLO_LABELS}) ({errors}) / (max by ({SLO_LABELS}) ({events}) > 0) / {_slo(names.ERROR_BUDGET)})"


def bad_events_remaining(config: DashboardConfig) -> str:
    """Return the number of bad events that the error budget still allows.

    One alternative per compliance period, since PromQL needs a literal range and has none for calendar months.
    """
    days = _slo(names.PERIOD_DAYS)
    alternatives = []
    # Calendar months first: their SLOs record a number of days, too.
    for period in sorted(config.periods, key=lambda period: not isinstance(period, Calendar)):
        if isinstance(period, Calendar):
            good_bad = (
                f"max by ({SLO_LABELS}) ({select(family, MATCH_SLO)})"
                for family in (names.PERIOD_GOOD_EVENTS, names.PERIOD_BAD_EVENTS)
            )
            alternatives.append(" + ".join(good_bad))
        else:
            rates = selector(over(names.EVENTS_RATE, BASE_WINDOW), MATCH_NAMESPACE, MATCH_SLO)
            total = f"max by ({SLO_LABELS}) (sum_over_time({rates}[{duration_text(period)}]))"
            events = f"{total} * {EVALUATION_INTERVAL // SECOND}"
            alternatives.append(f"({events} and {days} == {period / timedelta(days=1):g})")
    return f"floor(({' or '.join(alternatives)}) * {_slo(names.ERROR_BUDGET)} * {_slo(names.BUDGET_REMAINING)})"


def _budget() -> Panel:
    return timeseries(
        "Error budget remaining over time",
        "Remaining share of the error budget. It falls with bad events and rises as old ones leave the period.",
        Query(_slo(names.BUDGET_REMAINING), "remaining"),
        Query(f"{_slo(names.OBJECTIVE)} * 0", "exhausted"),
        unit="percentunit",
        minimum=None,
        maximum=1,
        overrides=(_dashed("exhausted", RED),),
    )


def _dashed(series: str, color: str) -> Json:
    return override_by_name(series, {"custom.lineStyle": {"fill": "dash", "dash": [10, 10]}, "color": _fixed(color)})


def _fixed(color: str) -> dict[str, str]:
    return {"mode": "fixed", "fixedColor": color}


def _burn_rates(config: DashboardConfig) -> Panel:
    budget = _slo(names.ERROR_BUDGET)
    queries = (
        Query(f"{_slo(f'{names.ERROR_RATIO}{duration_text(window)}')} / {budget}", duration_text(window))
        for window in config.windows
    )
    factors = ", ".join(f"{float(times):g} ({severity})" for severity, times in config.tiers)
    return timeseries(
        "Burn rate by window",
        "Burn rate over each window; 1 consumes the budget exactly over the period. An alert fires if the long and "
        f"the short window of a tier exceed its threshold: {factors}.",
        *queries,
        unit="none",
        thresholds=config.burn_rate_thresholds(),
        decimals=2,
        legend_calcs=("lastNotNull", "max"),
    )


def _sli() -> Panel:
    return timeseries(
        "SLI and objective",
        "Share of good events over 5 minutes and 1 hour. Dashed: the objective.",
        Query(f"1 - {_slo(f'{names.ERROR_RATIO}5m')}", "5m"),
        Query(f"1 - {_hourly_burn_rate()} * {_slo(names.ERROR_BUDGET)}", "1h"),
        Query(_slo(names.OBJECTIVE), "objective"),
        unit="percentunit",
        minimum=None,
        maximum=1,
        decimals=2,
        size=(8, 8),
        overrides=(_dashed("objective", ORANGE),),
    )


def _events() -> Panel:
    events, errors = _slo(f"{names.EVENTS_RATE}5m"), _slo(f"{names.ERRORS_RATE}5m")
    return timeseries(
        "Event rate",
        "Good, bad and total events per second, averaged over 5 minutes.",
        Query(f"clamp_min({events} - {errors}, 0)", "good"),
        Query(errors, "bad"),
        Query(events, "total"),
        unit=PER_SECOND,
        size=(8, 8),
        overrides=(
            override_by_name("good", {"color": _fixed(GREEN)}),
            override_by_name("bad", {"color": _fixed(RED)}),
            override_by_name("total", {"color": _fixed(BLUE)}),
        ),
    )


def _bad_events(config: DashboardConfig) -> Panel:
    query = quote("ExecutionStatus IN ('Failed', 'TimedOut')")
    failing = f"{config.links.web}/namespaces/${names.NAMESPACE}/workflows?query={query}"
    links = [Link("Failed and timed-out executions in the Temporal Web UI", failing, new_tab=True)]
    if config.links.status:
        links.insert(0, Link("Executions that consumed the budget, on the status page", _status(config), new_tab=True))
    return timeseries(
        "Bad events",
        "Approximate number of bad events in 5 minutes, from the recorded rate. The links list the executions.",
        Query(f"{_slo(f'{names.ERRORS_RATE}5m')} * 300", "bad in 5m"),
        unit="short",
        bars=True,
        size=(8, 8),
        overrides=(override_by_name("bad in 5m", {"color": _fixed(RED)}),),
        data_links=links,
        panel_links=links,
    )


def _status(config: DashboardConfig) -> str:
    return f"{config.links.status}/slos/${names.NAMESPACE}/${names.SLO}"


def _links(config: DashboardConfig) -> Panel:
    page = f"- [Executions that consumed the budget]({_status(config)}) (status page)\n" if config.links.status else ""
    web = f"{config.links.web}/namespaces/${names.NAMESPACE}/workflows"
    workflows = dashboard_link("", names.DASHBOARD_WORKFLOWS, **{names.NAMESPACE: f"${names.NAMESPACE}"}).url
    workers = dashboard_link("", names.DASHBOARD_WORKERS).url
    exporter = dashboard_link("", names.DASHBOARD_EXPORTER, **{names.NAMESPACE: f"${names.NAMESPACE}"}).url
    markdown = (
        f"{page}"
        f"- [Failed executions]({web}?query=ExecutionStatus%3D%27Failed%27) (Temporal Web UI)\n"
        f"- [Timed-out executions]({web}?query=ExecutionStatus%3D%27TimedOut%27) (Temporal Web UI)\n"
        f"- [Workflows of this namespace]({workflows})\n"
        f"- [Workers]({workers})\n"
        f"- [Exporter health]({exporter})\n"
    )
    return text("Links", "Failed executions and dashboards of possible causes.", markdown, size=(6, 8))


def _failures() -> Panel:
    return timeseries(
        "Final failures by type",
        "Failed, timed-out and terminated runs of all workflow types of the namespace, by type of the innermost cause.",
        Query(
            increase(names.WORKFLOW_FAILURES, names.FAILURE_TYPE, matchers=(FINAL_STATUS,)),
            label_legend(names.FAILURE_TYPE),
        ),
        unit="short",
        stacked=True,
        bars=True,
        size=(9, 8),
    )


def _deployments(config: DashboardConfig) -> Panel:
    started = selector(
        config.profile.sample(SDK_WORKER_STARTS), Matcher(config.profile.namespace, "=~", f"${names.NAMESPACE}")
    )
    versions = selector(names.WORKER_INFO.sample, MATCH_NAMESPACE)
    exporter = selector(names.EXPORTER_BUILD_INFO.sample, MATCH_JOB)
    return timeseries(
        "Deployments",
        "Workers by version of the worker library, worker starts, and exporters by version: steps are deployments.",
        Query(f"count by ({names.VERSION}) ({versions})", f"workers with library {label_legend(names.VERSION)}"),
        Query(f"sum by ({names.TASK_QUEUE}) ({started})", f"worker starts {label_legend(names.TASK_QUEUE)}"),
        Query(f"count by ({names.VERSION}) ({exporter})", f"exporters {label_legend(names.VERSION)}"),
        unit="none",
        decimals=0,
        size=(9, 8),
    )
