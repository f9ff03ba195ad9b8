"""One SLO: what is left of its budget, how fast it burns, and because of what."""

from datetime import timedelta
from typing import Final
from urllib.parse import quote

from temporal_slo import names
from temporal_slo.generate.dashboards.common import (
    A_SECOND,
    BAD,
    BUDGET_STEPS,
    DATASOURCE,
    GOOD,
    HIGH,
    OF_JOB,
    OF_NAMESPACE,
    WARN,
    Setting,
    by_legend,
    increase,
    job_of,
    namespace_of,
    now,
    of,
    to_board,
)
from temporal_slo.generate.dashboards.state import KEYS, STEPS, WORDS, chosen, firing, state
from temporal_slo.generate.kit import (
    Annotation,
    Board,
    Query,
    Row,
    Step,
    Variable,
    Words,
    gauge,
    stat,
    text,
    timeseries,
)
from temporal_slo.generate.kit.parts import Link, Panel, by_name
from temporal_slo.generate.recording_rules import over
from temporal_slo.names.sdk import SDK_WORKER_STARTS
from temporal_slo.promql import Matcher, none_of, selector
from temporal_slo.spec.burn import BASE, EVERY
from temporal_slo.spec.figures import lasting
from temporal_slo.spec.model import Calendar

THIS: Final = Matcher(names.SLO, "=~", f"${names.SLO}")
DAY: Final = 86400
NEVER: Final = 1_000_000_000_000
"""Seconds that stand for a budget that is not spent at all."""
SECOND: Final = timedelta(seconds=1)


def _this(series: str) -> str:
    return chosen(series, THIS)


def board(setting: Setting) -> Board:
    """Return the dashboard."""
    slos = selector(names.SLO_INFO, OF_NAMESPACE)
    rows = (
        Row("Now", _now(setting)),
        Row("Budget", (_budget(), _burn(setting))),
        Row("Events", (_sli(), _events(), _bad(setting))),
        Row("Causes", (_next(setting), _ends(), _changed(setting))),
    )
    return Board(
        names.DASHBOARD_DETAIL,
        "Temporal SLO / Detail",
        "One SLO: what is left of its budget and for how long, how fast it burns, which events were bad, what changed.",
        rows,
        (
            DATASOURCE,
            job_of(names.EXPORTER_UP.sample),
            namespace_of(names.EXPORTER_UP, several=False),
            Variable(names.SLO, "SLO", f"label_values({slos}, {names.SLO})", several=False),
        ),
        _annotations(),
        since="now-24h",
    )


def _annotations() -> tuple[Annotation, ...]:
    reloaded = f"changes({of(names.EXPORTER_RELOAD_TIMESTAMP)}[2m]) > 0"
    return (
        firing(THIS),
        Annotation("Specs read anew", reloaded, "the exporter read the SLO specs anew", "blue"),
    )


def _now(setting: Setting) -> tuple[Panel, ...]:
    left, burn = _this(names.BUDGET_REMAINING), _this(names.PERIOD_BURN)
    # What is left, at the pace of the last hour, in parts of the period.
    runs_out = (
        f"clamp_min({left}, 0) / ({_hourly()} > 0) * {_this(names.PERIOD_DAYS)} * {DAY} or "
        f"({_hourly()} == 0) * 0 + {NEVER}"
    )
    return (
        stat(
            "State",
            "No data: nothing is known. Insufficient: nothing happened that counts.",
            now(state(THIS)),
            unit="none",
            steps=STEPS,
            words=WORDS,
            filled=True,
        ),
        stat(
            "Objective",
            "The share of events that is to be good.",
            now(_this(names.OBJECTIVE)),
            unit="percentunit",
            decimals=3,
        ),
        stat(
            "SLI of the period",
            "The share of events that was good, over the whole period.",
            now(f"1 - {burn} * {_this(names.ERROR_BUDGET)}"),
            unit="percentunit",
            decimals=3,
        ),
        gauge(
            "Budget left",
            "What is left of the error budget of the period. Below 0 the objective is missed.",
            now(left),
            unit="percentunit",
            steps=BUDGET_STEPS,
        ),
        stat(
            "Runs out in",
            "When the budget is spent if it goes on as in the last hour; never, if nothing was bad in it.",
            now(runs_out),
            unit="s",
            decimals=1,
            steps=(Step(BAD), Step(HIGH, DAY), Step(WARN, 3 * DAY), Step(GOOD, 14 * DAY)),
            words=(Words(NEVER, NEVER, "never at this pace", GOOD),),
        ),
        stat(
            "Bad events left",
            "How many more bad events the budget of the period bears, given the events of the period so far.",
            now(left_over(setting)),
            unit="locale",
            decimals=0,
            steps=(Step(BAD), Step(WARN, 1), Step(GOOD, 5)),
        ),
    )


def _hourly() -> str:
    """Return the burn rate of the last hour, made from what every SLO records whatever its tiers are."""
    errors, events = (
        f"sum_over_time({selector(f'{rate}5m', OF_NAMESPACE, THIS)}[1h])"
        for rate in (names.ERRORS_RATE, names.EVENTS_RATE)
    )
    return f"(max by ({KEYS}) ({errors}) / (max by ({KEYS}) ({events}) > 0) / {_this(names.ERROR_BUDGET)})"


def left_over(setting: Setting) -> str:
    """Return how many bad events the budget still bears: PromQL has a range for each period, and none for months."""
    days = _this(names.PERIOD_DAYS)
    counted = []
    # Months first: what records them has days, too.
    for period in sorted(setting.periods, key=lambda period: not isinstance(period, Calendar)):
        if isinstance(period, Calendar):
            month = (
                f"max by ({KEYS}) ({of(family, THIS)})"
                for family in (names.PERIOD_GOOD_EVENTS, names.PERIOD_BAD_EVENTS)
            )
            counted.append(" + ".join(month))
        else:
            rates = selector(over(names.EVENTS_RATE, BASE), OF_NAMESPACE, THIS)
            events = f"max by ({KEYS}) (sum_over_time({rates}[{lasting(period)}])) * {EVERY // SECOND}"
            counted.append(f"({events} and {days} == {period / timedelta(days=1):g})")
    return f"floor(({' or '.join(counted)}) * {_this(names.ERROR_BUDGET)} * {_this(names.BUDGET_REMAINING)})"


def _budget() -> Panel:
    return timeseries(
        "Budget left over time",
        "What is left of the error budget. It falls with every bad event, and rises as old ones leave the period.",
        Query(_this(names.BUDGET_REMAINING), "left"),
        Query(f"{_this(names.OBJECTIVE)} * 0", "spent"),
        unit="percentunit",
        low=None,
        high=1,
        overrides=(by_name("spent", {"custom.lineStyle": {"fill": "dash", "dash": [10, 10]}, "color": _fixed(BAD)}),),
    )


def _fixed(color: str) -> dict[str, str]:
    return {"mode": "fixed", "fixedColor": color}


def _burn(setting: Setting) -> Panel:
    budget = _this(names.ERROR_BUDGET)
    queries = (
        Query(f"{_this(f'{names.ERROR_RATIO}{lasting(window)}')} / {budget}", lasting(window))
        for window in setting.windows
    )
    factors = ", ".join(f"{float(times):g} ({severity})" for severity, times in setting.tiers)
    text = (
        "How many times faster than it may the budget burns, over each window. An alert fires where a long and a short "
        f"window are both above its line: {factors}."
    )
    return timeseries(
        "Burn rate by window",
        text,
        *queries,
        unit="none",
        steps=setting.burn_steps(),
        decimals=2,
        calcs=("lastNotNull", "max"),
    )


def _sli() -> Panel:
    return timeseries(
        "SLI against objective",
        "The share of good events over five minutes and an hour. The dashed line is the objective.",
        Query(f"1 - {_this(f'{names.ERROR_RATIO}5m')}", "5m"),
        Query(f"1 - {_hourly()} * {_this(names.ERROR_BUDGET)}", "1h"),
        Query(_this(names.OBJECTIVE), "objective"),
        unit="percentunit",
        low=None,
        high=1,
        decimals=2,
        size=(8, 8),
        overrides=(
            by_name("objective", {"custom.lineStyle": {"fill": "dash", "dash": [10, 10]}, "color": _fixed(HIGH)}),
        ),
    )


def _events() -> Panel:
    events, errors = _this(f"{names.EVENTS_RATE}5m"), _this(f"{names.ERRORS_RATE}5m")
    return timeseries(
        "Events",
        "Events that count, and which of them were good and bad, a second over five minutes.",
        Query(f"clamp_min({events} - {errors}, 0)", "good"),
        Query(errors, "bad"),
        Query(events, "total"),
        unit=A_SECOND,
        size=(8, 8),
        overrides=(
            by_name("good", {"color": _fixed(GOOD)}),
            by_name("bad", {"color": _fixed(BAD)}),
            by_name("total", {"color": _fixed("blue")}),
        ),
    )


def _bad(setting: Setting) -> Panel:
    query = quote("ExecutionStatus IN ('Failed', 'TimedOut')")
    failing = f"{setting.links.web}/namespaces/${names.NAMESPACE}/workflows?query={query}"
    links = [Link("Failed and timed-out executions in the Temporal Web UI", failing, new_tab=True)]
    if setting.links.status:
        page = f"{setting.links.status}/slos/${names.NAMESPACE}/${names.SLO}"
        links.insert(0, Link("Executions that spent the budget, on the status page", page, new_tab=True))
    return timeseries(
        "Bad events",
        "About how many bad events there were, by what is recorded for five minutes. The links lead to the executions.",
        Query(f"{_this(f'{names.ERRORS_RATE}5m')} * 300", "bad in 5 minutes"),
        unit="short",
        bars=True,
        size=(8, 8),
        overrides=(by_name("bad in 5 minutes", {"color": _fixed(BAD)}),),
        links=links,
        panel_links=links,
    )


def _next(setting: Setting) -> Panel:
    page = f"{setting.links.status}/slos/${names.NAMESPACE}/${names.SLO}"
    status = f"- [Executions that spent the budget]({page}) (status page)\n" if setting.links.status else ""
    web = f"{setting.links.web}/namespaces/${names.NAMESPACE}/workflows"
    workflows = to_board("", names.DASHBOARD_WORKFLOWS, **{names.NAMESPACE: f"${names.NAMESPACE}"}).url
    workers = to_board("", names.DASHBOARD_WORKERS).url
    exporter = to_board("", names.DASHBOARD_EXPORTER, **{names.NAMESPACE: f"${names.NAMESPACE}"}).url
    markdown = (
        f"{status}"
        f"- [Failed executions]({web}?query=ExecutionStatus%3D%27Failed%27) (Temporal Web UI)\n"
        f"- [Timed-out executions]({web}?query=ExecutionStatus%3D%27TimedOut%27) (Temporal Web UI)\n"
        f"- [Workflows of this namespace]({workflows})\n"
        f"- [Workers]({workers})\n"
        f"- [Is the monitor itself well?]({exporter})\n"
    )
    return text("Where to look next", "Links to what failed, and to what may be why.", markdown, size=(6, 8))


def _ends() -> Panel:
    expr = increase(
        names.WORKFLOW_FAILURES, names.FAILURE_TYPE, matchers=(none_of(names.STATUS, ("retried", "reset")),)
    )
    return timeseries(
        "Failures in this namespace by type",
        "Failed, timed out and terminated runs of all workflow types of the namespace, by their innermost cause.",
        Query(expr, by_legend(names.FAILURE_TYPE)),
        unit="short",
        stacked=True,
        bars=True,
        size=(9, 8),
    )


def _changed(setting: Setting) -> Panel:
    started = selector(
        setting.profile.sample(SDK_WORKER_STARTS), Matcher(setting.profile.namespace, "=~", f"${names.NAMESPACE}")
    )
    versions = selector(names.WORKER_INFO.sample, OF_NAMESPACE)
    exporter = selector(names.EXPORTER_BUILD_INFO.sample, OF_JOB)
    return timeseries(
        "What changed",
        "Workers by version of the worker library, workers that started, exporters by version: steps are deployments.",
        Query(f"count by ({names.VERSION}) ({versions})", f"workers with library {by_legend(names.VERSION)}"),
        Query(f"sum by ({names.TASK_QUEUE}) ({started})", f"worker starts {by_legend(names.TASK_QUEUE)}"),
        Query(f"count by ({names.VERSION}) ({exporter})", f"exporters {by_legend(names.VERSION)}"),
        unit="none",
        decimals=0,
        size=(9, 8),
    )
