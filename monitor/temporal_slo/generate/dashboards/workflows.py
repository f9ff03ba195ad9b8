"""The dashboard of workflow runs: starts, closes, failures, durations, open and stuck runs, schedules."""

from collections.abc import Mapping
from typing import Final

from temporal_slo import names
from temporal_slo.generate.dashboards.common import (
    BLUE,
    DATASOURCE,
    GREEN,
    MATCH_WORKFLOW_TYPE,
    ORANGE,
    PER_SECOND,
    PURPLE,
    RANGE,
    RED,
    RED_FROM_1,
    TEXT,
    YELLOW,
    YELLOW_FROM_1,
    DashboardConfig,
    cell_value,
    dashboard_link,
    increase,
    instant,
    job_variable,
    label_legend,
    max_by,
    namespace_variable,
    rate,
    select,
    sum_by,
    table_query,
)
from temporal_slo.generate.dashboards.schedules import actions_not_taken, schedules
from temporal_slo.generate.dashboards.slo_state import alert_annotation
from temporal_slo.generate.kit import (
    Column,
    Dashboard,
    Link,
    Panel,
    Query,
    Row,
    Threshold,
    Variable,
    bar_gauge,
    heatmap,
    stat,
    table,
    timeseries,
)
from temporal_slo.generate.kit.model import Json, override_by_name
from temporal_slo.names import values
from temporal_slo.promql import Matcher, one_of

TYPED: Final = (MATCH_WORKFLOW_TYPE,)
MATCH_FAILED: Final = one_of(names.STATUS, (values.FAILED, values.TIMED_OUT))
MATCH_COMPLETED: Final = one_of(names.STATUS, (values.COMPLETED,))
STATUS_COLORS: Final = {
    values.COMPLETED: GREEN,
    values.FAILED: RED,
    values.TIMED_OUT: ORANGE,
    values.CANCELED: BLUE,
    values.TERMINATED: PURPLE,
    values.RETRIED: YELLOW,
}
OUTCOME_COLORS: Final = {
    values.GOOD: GREEN,
    values.BAD: RED,
    values.EXCLUDED: BLUE,
    values.UNKNOWN: YELLOW,
    values.NONE: PURPLE,
}
QUANTILES: Final = ((0.5, "p50"), (0.9, "p90"), (0.99, "p99"))


def dashboard(config: DashboardConfig) -> Dashboard:
    """Return the dashboard."""
    types = select(names.WORKFLOWS_STARTED)
    rows = (
        Row("Now", _now()),
        Row("Started and closed runs", (_started(), _closed(), _outcomes(), _failures())),
        Row("Durations", (_duration_heatmap(), _duration_quantiles())),
        Row("Open runs", (_open(), _oldest(), _overdue(), _stuck())),
        Row("By workflow type", (_types(config), _failure_types())),
        Row("Schedules", (schedules(), actions_not_taken())),
    )
    return Dashboard(
        names.DASHBOARD_WORKFLOWS,
        "Temporal SLO / Workflows",
        "Workflow runs from Temporal visibility: starts, closes, failures by type, durations, open, overdue and stuck "
        "runs, schedules.",
        rows,
        (
            DATASOURCE,
            job_variable(names.EXPORTER_UP.sample),
            namespace_variable(names.EXPORTER_UP),
            Variable(names.WORKFLOW_TYPE, "Workflow type", f"label_values({types}, {names.WORKFLOW_TYPE})"),
        ),
        (alert_annotation(),),
    )


def _now() -> tuple[Panel, ...]:
    failed = increase(names.WORKFLOWS_CLOSED, matchers=(*TYPED, MATCH_FAILED), window=RANGE)
    return (
        stat(
            "Started",
            "Runs started in the time range.",
            instant(increase(names.WORKFLOWS_STARTED, matchers=TYPED, window=RANGE)),
            unit="locale",
            decimals=0,
        ),
        stat(
            "Closed",
            "Runs closed in the time range, whatever their status.",
            instant(increase(names.WORKFLOWS_CLOSED, matchers=TYPED, window=RANGE)),
            unit="locale",
            decimals=0,
        ),
        stat(
            "Failed or timed out",
            "Runs that failed or timed out and were not followed by another run, in the time range.",
            instant(failed),
            unit="locale",
            decimals=0,
            thresholds=(Threshold(GREEN), Threshold(ORANGE, 1)),
        ),
        stat(
            "Open",
            "Runs open at the last poll.",
            instant(sum_by(names.WORKFLOWS_RUNNING, matchers=TYPED)),
            unit="locale",
            decimals=0,
        ),
        stat(
            "Overdue",
            "Runs open for longer than an SLO allows.",
            instant(sum_by(names.WORKFLOWS_OVERDUE, matchers=TYPED)),
            unit="locale",
            decimals=0,
            thresholds=YELLOW_FROM_1,
            no_value="no such SLO",
        ),
        stat(
            "Stuck",
            "Runs whose workflow tasks fail repeatedly.",
            instant(_stuck_runs()),
            unit="locale",
            decimals=0,
            thresholds=RED_FROM_1,
        ),
    )


def _stuck_runs() -> str:
    # There are series of stuck runs only; without any, the number is 0 only if the source was read.
    zero = f"0 * max({select(names.EXPORTER_SOURCE_UP, Matcher(names.SOURCE, '=', 'task_problems'))} == 1)"
    return f"{sum_by(names.WORKFLOWS_WITH_TASK_PROBLEMS, matchers=TYPED)} or {zero}"


def _started() -> Panel:
    return timeseries(
        "Start rate",
        "Runs started per second by workflow type.",
        Query(rate(names.WORKFLOWS_STARTED, names.WORKFLOW_TYPE, matchers=TYPED), label_legend(names.WORKFLOW_TYPE)),
        unit=PER_SECOND,
        size=(12, 7),
    )


def _closed() -> Panel:
    return timeseries(
        "Close rate by status",
        "Runs closed per second by status. Retried: failed or timed out, and retried by its workflow retry policy.",
        Query(rate(names.WORKFLOWS_CLOSED, names.STATUS, matchers=TYPED), label_legend(names.STATUS)),
        unit=PER_SECOND,
        stacked=True,
        size=(12, 7),
        overrides=_color_overrides(STATUS_COLORS),
    )


def _color_overrides(colors: Mapping[str, str]) -> list[Json]:
    return [
        override_by_name(series, {"color": {"mode": "fixed", "fixedColor": color}}) for series, color in colors.items()
    ]


def _outcomes() -> Panel:
    expr = rate(names.WORKFLOWS_CLOSED, names.OUTCOME, matchers=(*TYPED, MATCH_COMPLETED))
    return timeseries(
        "Completed by business outcome",
        "Completed runs per second by outcome of their result. None: no outcome is configured for the workflow type.",
        Query(expr, label_legend(names.OUTCOME)),
        unit=PER_SECOND,
        stacked=True,
        size=(12, 7),
        overrides=_color_overrides(OUTCOME_COLORS),
    )


def _failures() -> Panel:
    expr = increase(names.WORKFLOW_FAILURES, names.STATUS, names.FAILURE_TYPE, matchers=TYPED)
    return timeseries(
        "Failures by status and type",
        "Failed, timed-out, retried, terminated and reset runs by type of the innermost cause.",
        Query(expr, label_legend(names.STATUS, names.FAILURE_TYPE)),
        unit="short",
        stacked=True,
        bars=True,
        size=(12, 7),
    )


def _duration_heatmap() -> Panel:
    expr = increase(names.WORKFLOW_DURATION, "le", matchers=TYPED, suffix="_bucket")
    return heatmap(
        "Workflow duration",
        "Durations of closed executions. The bucket bounds include the latency thresholds of the specs.",
        Query(expr, "{{le}}", format="heatmap"),
        unit="s",
    )


def _duration_quantiles() -> Panel:
    buckets = rate(names.WORKFLOW_DURATION, "le", matchers=TYPED, suffix="_bucket")
    queries = (
        Query(f"histogram_quantile({quantile:g}, {buckets})", name, exemplars=name == "p99")
        for quantile, name in QUANTILES
    )
    return timeseries(
        "Workflow duration quantiles",
        "Duration of closed executions: p50, p90 and p99, interpolated within the histogram's buckets.",
        *queries,
        unit="s",
    )


def _open() -> Panel:
    return timeseries(
        "Open runs",
        "Open runs by workflow type.",
        Query(sum_by(names.WORKFLOWS_RUNNING, names.WORKFLOW_TYPE, matchers=TYPED), label_legend(names.WORKFLOW_TYPE)),
        unit="short",
    )


def _oldest() -> Panel:
    expr = max_by(names.WORKFLOW_OLDEST_RUNNING_AGE, names.WORKFLOW_TYPE, matchers=TYPED)
    return timeseries(
        "Oldest open run",
        "Age of the oldest open run by workflow type.",
        Query(expr, label_legend(names.WORKFLOW_TYPE)),
        unit="s",
    )


def _overdue() -> Panel:
    by = names.SLO, names.WORKFLOW_TYPE, names.NAMESPACE
    return timeseries(
        "Overdue runs",
        "Runs open for longer than an SLO allows.",
        Query(max_by(names.WORKFLOWS_OVERDUE, *by, matchers=TYPED), label_legend(*by)),
        unit="short",
        thresholds=YELLOW_FROM_1,
    )


def _stuck() -> Panel:
    by = names.WORKFLOW_TYPE, names.CATEGORY, names.CAUSE, names.NAMESPACE
    activity = names.WORKFLOW_TYPE, names.ACTIVITY_TYPE, names.NAMESPACE
    stuck = max_by(names.WORKFLOWS_WITH_TASK_PROBLEMS, *by, matchers=TYPED)
    retrying = max_by(names.ACTIVITIES_RETRYING, *activity, matchers=TYPED)
    return timeseries(
        "Stuck runs and retrying activities",
        "Runs whose workflow tasks fail repeatedly, by cause; and pending activities with many attempts.",
        Query(stuck, label_legend(*by)),
        Query(retrying, f"{label_legend(*activity)} retrying"),
        unit="short",
        thresholds=YELLOW_FROM_1,
    )


def _types(config: DashboardConfig) -> Panel:
    columns = (
        Column(names.WORKFLOW_TYPE, "Workflow type", data_links=_type_links(config)),
        Column(names.NAMESPACE, "Temporal namespace"),
        Column("A", "Started", "locale", 0),
        Column("B", "Closed", "locale", 0),
        Column("C", "Failed or timed out", "locale", 0, (Threshold(TEXT), Threshold(ORANGE, 1))),
        Column("D", "Failure rate", "percentunit", 1, (Threshold(TEXT), Threshold(ORANGE, 0.01), Threshold(RED, 0.1))),
        Column("E", "Mean duration", "s", 1),
        Column("F", "Open", "locale", 0),
        Column("G", "Oldest open run", "s", 0),
    )
    return table(
        "Workflow types",
        "Runs of each workflow type in the time range. Click a type to filter by it or to list its executions.",
        *map(table_query, _type_exprs()),
        columns=columns,
        size=(24, 9),
        sort_by=("C", True),
    )


def _type_exprs() -> tuple[str, ...]:
    key = names.WORKFLOW_TYPE, names.NAMESPACE
    closed = increase(names.WORKFLOWS_CLOSED, *key, matchers=TYPED, window=RANGE)
    failed = increase(names.WORKFLOWS_CLOSED, *key, matchers=(*TYPED, MATCH_FAILED), window=RANGE)
    duration_sum = increase(names.WORKFLOW_DURATION, *key, matchers=TYPED, window=RANGE, suffix="_sum")
    duration_count = increase(names.WORKFLOW_DURATION, *key, matchers=TYPED, window=RANGE, suffix="_count")
    return (
        increase(names.WORKFLOWS_STARTED, *key, matchers=TYPED, window=RANGE),
        closed,
        failed,
        f"{failed} / ({closed} > 0)",
        f"{duration_sum} / ({duration_count} > 0)",
        sum_by(names.WORKFLOWS_RUNNING, *key, matchers=TYPED),
        max_by(names.WORKFLOW_OLDEST_RUNNING_AGE, *key, matchers=TYPED),
    )


def _type_links(config: DashboardConfig) -> tuple[Link, Link]:
    namespace, workflow_type = cell_value("Temporal namespace"), cell_value("Workflow type")
    variables = {names.NAMESPACE: namespace, names.WORKFLOW_TYPE: workflow_type}
    query = f"WorkflowType%3D%22{workflow_type}%22"
    executions = f"{config.links.web}/namespaces/{namespace}/workflows?query={query}"
    return (
        dashboard_link("Filter by ${__value.text}", names.DASHBOARD_WORKFLOWS, **variables),
        Link("Executions in the Temporal Web UI", executions, new_tab=True),
    )


def _failure_types() -> Panel:
    expr = increase(names.WORKFLOW_FAILURES, names.FAILURE_TYPE, matchers=TYPED, window=RANGE)
    return bar_gauge(
        "Failures by type (including retried and reset)",
        "Failures in the time range by type of the innermost cause, the ten most frequent.",
        instant(f"topk(10, {expr} > 0)", label_legend(names.FAILURE_TYPE)),
        unit="locale",
        decimals=0,
        size=(24, 7),
        thresholds=(Threshold(ORANGE),),
    )
