"""What workflows do: how many start, how they end, how long they take, and which do not end at all."""

from collections.abc import Mapping
from typing import Final

from temporal_slo import names
from temporal_slo.generate.dashboards.common import (
    A_SECOND,
    BAD,
    DATASOURCE,
    GOOD,
    HIGH,
    NONE_WANTED,
    OF_NAMESPACE,
    OF_TYPE,
    RANGE,
    TRUE_IS_BAD,
    WARN,
    Setting,
    by_legend,
    column,
    field,
    increase,
    job_of,
    namespace_of,
    now,
    of,
    peak,
    rate,
    to_board,
    total,
)
from temporal_slo.generate.dashboards.schedules import schedules, skipped
from temporal_slo.generate.dashboards.state import firing
from temporal_slo.generate.kit import (
    Board,
    Column,
    Link,
    Query,
    Row,
    Step,
    Variable,
    bar_gauge,
    heatmap,
    stat,
    table,
    timeseries,
)
from temporal_slo.generate.kit.parts import Json, Panel, by_name
from temporal_slo.names import Family
from temporal_slo.promql import Matcher, one_of, selector

TYPED: Final = (OF_TYPE,)
BAD_ENDS: Final = one_of(names.STATUS, ("failed", "timed_out"))
COLORS: Final = {
    "completed": GOOD,
    "failed": BAD,
    "timed_out": HIGH,
    "canceled": "blue",
    "terminated": "purple",
    "retried": WARN,
}
OUTCOMES: Final = {"good": GOOD, "bad": BAD, "excluded": "blue", "unknown": WARN, "none": "purple"}
QUANTILES: Final = ((0.5, "half"), (0.9, "9 of 10"), (0.99, "99 of 100"))


def board(setting: Setting) -> Board:
    """Return the dashboard."""
    types = selector(names.WORKFLOWS_STARTED.sample, Matcher("job", "=~", "$job"), OF_NAMESPACE)
    rows = (
        Row("Now", _now()),
        Row("Started and closed", (_started(), _closed(), _outcomes(), _failures())),
        Row("Durations", (_durations(), _quantiles())),
        Row("Open", (_running(), _oldest(), _overdue(), _stuck())),
        Row("By type", (_types(setting), _reasons())),
        Row("Schedules", (schedules(), skipped())),
    )
    return Board(
        names.DASHBOARD_WORKFLOWS,
        "Temporal SLO / Workflows",
        "What Temporal itself says of workflow runs: starts, ends and why, durations, and what is stuck.",
        rows,
        (
            DATASOURCE,
            job_of(names.EXPORTER_UP.sample),
            namespace_of(names.EXPORTER_UP),
            Variable(names.WORKFLOW_TYPE, "Workflow type", f"label_values({types}, {names.WORKFLOW_TYPE})"),
        ),
        (firing(),),
    )


def _now() -> tuple[Panel, ...]:
    failed = increase(names.WORKFLOWS_CLOSED, matchers=(*TYPED, BAD_ENDS), window=RANGE)
    return (
        stat(
            "Started",
            "Runs that started in the time range.",
            now(increase(names.WORKFLOWS_STARTED, matchers=TYPED, window=RANGE)),
            unit="locale",
            decimals=0,
        ),
        stat(
            "Closed",
            "Runs that closed in the time range, however they ended.",
            now(increase(names.WORKFLOWS_CLOSED, matchers=TYPED, window=RANGE)),
            unit="locale",
            decimals=0,
        ),
        stat(
            "Failed or timed out",
            "Runs that failed for good or timed out in the time range.",
            now(failed),
            unit="locale",
            decimals=0,
            steps=(Step(GOOD), Step(HIGH, 1)),
        ),
        stat(
            "Open",
            "Runs that were open at the last poll.",
            now(total(names.WORKFLOWS_RUNNING, matchers=TYPED)),
            unit="locale",
            decimals=0,
        ),
        stat(
            "Overdue",
            "Runs that are open for longer than an SLO allows.",
            now(total(names.WORKFLOWS_OVERDUE, matchers=TYPED)),
            unit="locale",
            decimals=0,
            steps=NONE_WANTED,
            empty="no such SLO",
        ),
        stat(
            "Stuck",
            "Runs whose workflow tasks fail over and over.",
            now(_stuck_now()),
            unit="locale",
            decimals=0,
            steps=TRUE_IS_BAD,
        ),
    )


def _stuck_now() -> str:
    # Its series exist only where a run is stuck: none is 0 only while the source was read whole.
    known = f"0 * max({of(names.EXPORTER_SOURCE_UP, Matcher(names.SOURCE, '=', 'task_problems'))} == 1)"
    return f"{total(names.WORKFLOWS_WITH_TASK_PROBLEMS, matchers=TYPED)} or {known}"


def _started() -> Panel:
    return _over_time("Started", "Runs that started, a second, by type.", names.WORKFLOWS_STARTED, names.WORKFLOW_TYPE)


def _over_time(title: str, text: str, family: Family, *by: str) -> Panel:
    return timeseries(
        title, text, Query(rate(family, *by, matchers=TYPED), by_legend(*by)), unit=A_SECOND, size=(12, 7)
    )


def _closed() -> Panel:
    expr = rate(names.WORKFLOWS_CLOSED, names.STATUS, matchers=TYPED)
    return timeseries(
        "Closed by status",
        "Runs that closed, a second. Retried: a further attempt followed, so no customer saw it fail.",
        Query(expr, by_legend(names.STATUS)),
        unit=A_SECOND,
        stacked=True,
        size=(12, 7),
        overrides=_colored(COLORS),
    )


def _colored(colors: Mapping[str, str]) -> list[Json]:
    return [by_name(series, {"color": {"mode": "fixed", "fixedColor": color}}) for series, color in colors.items()]


def _outcomes() -> Panel:
    expr = rate(names.WORKFLOWS_CLOSED, names.OUTCOME, matchers=(*TYPED, one_of(names.STATUS, ("completed",))))
    return timeseries(
        "Completed by outcome",
        "What completed runs came to, a second, by their results. None: the specs name no outcome for the type.",
        Query(expr, by_legend(names.OUTCOME)),
        unit=A_SECOND,
        stacked=True,
        size=(12, 7),
        overrides=_colored(OUTCOMES),
    )


def _failures() -> Panel:
    expr = increase(names.WORKFLOW_FAILURES, names.STATUS, names.FAILURE_TYPE, matchers=TYPED)
    return timeseries(
        "Failures by reason",
        "Runs that failed, timed out, or were retried, terminated or reset, by the type of the innermost cause.",
        Query(expr, by_legend(names.STATUS, names.FAILURE_TYPE)),
        unit="short",
        stacked=True,
        bars=True,
        size=(12, 7),
    )


def _durations() -> Panel:
    expr = increase(names.WORKFLOW_DURATION, "le", matchers=TYPED, suffix="_bucket")
    text = "How long the runs that closed took. Edges of the buckets are where the specs have their thresholds."
    return heatmap("Durations", text, Query(expr, "{{le}}", format="heatmap"), unit="s")


def _quantiles() -> Panel:
    buckets = rate(names.WORKFLOW_DURATION, "le", matchers=TYPED, suffix="_bucket")
    queries = (
        Query(f"histogram_quantile({part:g}, {buckets})", f"{word} within", exemplars=part == QUANTILES[-1][0])
        for part, word in QUANTILES
    )
    return timeseries(
        "Duration within",
        "Within what time half of the runs closed, 9 of 10, and 99 of 100; no exacter than the buckets are.",
        *queries,
        unit="s",
    )


def _running() -> Panel:
    return timeseries(
        "Open runs",
        "Runs that are open, by type.",
        Query(total(names.WORKFLOWS_RUNNING, names.WORKFLOW_TYPE, matchers=TYPED), by_legend(names.WORKFLOW_TYPE)),
        unit="short",
    )


def _oldest() -> Panel:
    expr = peak(names.WORKFLOW_OLDEST_RUNNING_AGE, names.WORKFLOW_TYPE, matchers=TYPED)
    return timeseries(
        "Oldest open run",
        "Age of the run that is open the longest, by type.",
        Query(expr, by_legend(names.WORKFLOW_TYPE)),
        unit="s",
    )


def _overdue() -> Panel:
    by = names.SLO, names.WORKFLOW_TYPE, names.NAMESPACE
    return timeseries(
        "Overdue runs",
        "Runs that are open for longer than an SLO allows.",
        Query(peak(names.WORKFLOWS_OVERDUE, *by, matchers=TYPED), by_legend(*by)),
        unit="short",
        steps=NONE_WANTED,
    )


def _stuck() -> Panel:
    by = names.WORKFLOW_TYPE, names.CATEGORY, names.CAUSE, names.NAMESPACE
    activity = names.WORKFLOW_TYPE, names.ACTIVITY_TYPE, names.NAMESPACE
    stuck = peak(names.WORKFLOWS_WITH_TASK_PROBLEMS, *by, matchers=TYPED)
    retrying = peak(names.ACTIVITIES_RETRYING, *activity, matchers=TYPED)
    return timeseries(
        "Stuck runs and activities",
        "Runs whose workflow tasks fail over and over, by cause, and activities that are retried over and over.",
        Query(stuck, f"{by_legend(*by)}"),
        Query(retrying, f"{by_legend(*activity)} retried"),
        unit="short",
        steps=NONE_WANTED,
    )


def _types(setting: Setting) -> Panel:
    key = names.WORKFLOW_TYPE, names.NAMESPACE
    here = to_board(
        "Only ${__value.text}",
        names.DASHBOARD_WORKFLOWS,
        **{names.NAMESPACE: field("Temporal namespace"), names.WORKFLOW_TYPE: field("Workflow type")},
    )
    where, what = field("Temporal namespace"), field("Workflow type")
    runs = f"{setting.links.web}/namespaces/{where}/workflows?query=WorkflowType%3D%22{what}%22"
    links = (here, Link("Executions in the Temporal Web UI", runs, new_tab=True))
    closed = increase(names.WORKFLOWS_CLOSED, *key, matchers=TYPED, window=RANGE)
    bad = increase(names.WORKFLOWS_CLOSED, *key, matchers=(*TYPED, BAD_ENDS), window=RANGE)
    seconds = increase(names.WORKFLOW_DURATION, *key, matchers=TYPED, window=RANGE, suffix="_sum")
    count = increase(names.WORKFLOW_DURATION, *key, matchers=TYPED, window=RANGE, suffix="_count")
    exprs = (
        increase(names.WORKFLOWS_STARTED, *key, matchers=TYPED, window=RANGE),
        closed,
        bad,
        f"{bad} / ({closed} > 0)",
        f"{seconds} / ({count} > 0)",
        total(names.WORKFLOWS_RUNNING, *key, matchers=TYPED),
        peak(names.WORKFLOW_OLDEST_RUNNING_AGE, *key, matchers=TYPED),
    )
    columns = (
        Column(names.WORKFLOW_TYPE, "Workflow type", links=links),
        Column(names.NAMESPACE, "Temporal namespace"),
        Column("A", "Started", "locale", 0),
        Column("B", "Closed", "locale", 0),
        Column("C", "Failed or timed out", "locale", 0, (Step("text"), Step(HIGH, 1))),
        Column("D", "Share of them", "percentunit", 1, (Step("text"), Step(HIGH, 0.01), Step(BAD, 0.1))),
        Column("E", "Mean duration", "s", 1),
        Column("F", "Open", "locale", 0),
        Column("G", "Oldest", "s", 0),
    )
    return table(
        "Workflow types",
        "What each type did in the time range. Click a type to see it alone, or its executions.",
        *map(column, exprs),
        columns=columns,
        size=(24, 9),
        sorted_by=("C", True),
    )


def _reasons() -> Panel:
    expr = increase(names.WORKFLOW_FAILURES, names.FAILURE_TYPE, matchers=TYPED, window=RANGE)
    return bar_gauge(
        "Reasons",
        "Failures in the time range by the type of the innermost cause, the ten most frequent.",
        now(f"topk(10, {expr} > 0)", by_legend(names.FAILURE_TYPE)),
        unit="locale",
        decimals=0,
        size=(24, 7),
        steps=(Step(HIGH),),
    )
