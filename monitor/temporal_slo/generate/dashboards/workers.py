"""The dashboard of workers: task queue backlogs, activities, workflow tasks, and worker resources."""

from typing import Final

from temporal_slo import names
from temporal_slo.generate.dashboards import sdk_panels
from temporal_slo.generate.dashboards.common import (
    DATASOURCE,
    GREEN,
    MATCH_JOB,
    MATCH_NAMESPACE,
    MATCH_TASK_QUEUE,
    ORANGE,
    PER_SECOND,
    RANGE,
    RATE_INTERVAL,
    RED,
    RED_FROM_1,
    TEXT,
    YELLOW,
    YELLOW_FROM_1,
    DashboardConfig,
    instant,
    job_variable,
    label_legend,
    table_query,
)
from temporal_slo.generate.dashboards.sdk_panels import SdkQueries, worker_increase
from temporal_slo.generate.dashboards.slo_state import alert_annotation
from temporal_slo.generate.kit import (
    Column,
    Dashboard,
    Panel,
    Query,
    Row,
    Threshold,
    Variable,
    stat,
    table,
    timeseries,
)
from temporal_slo.names import Family, sdk, values
from temporal_slo.promql import one_of, selector

SCHEDULE_TO_START_THRESHOLDS: Final = (Threshold(GREEN), Threshold(YELLOW, 1), Threshold(RED, 10))
SLOTS_THRESHOLDS: Final = (Threshold(RED), Threshold(GREEN, 1))
MATCH_WORKER_TYPE: Final = one_of(sdk.WORKER_TYPE, ("WorkflowWorker", "ActivityWorker"))
MATCH_FAILED: Final = one_of(names.OUTCOME, (values.FAILED,))
QUEUE_LABELS: Final = names.TASK_QUEUE, names.TASK_TYPE, names.NAMESPACE


def dashboard(config: DashboardConfig) -> Dashboard:
    """Return the dashboard."""
    queries = SdkQueries(config)
    rows = (
        Row("Now", _now(queries)),
        Row("Task queues", (_task_queues(), _backlog(), _task_rates())),
        Row("Activities", (_attempts(), _retries(), _outcomes(), _schedule_to_start())),
        Row(
            "Workflow tasks",
            (
                sdk_panels.workflow_task_failures(queries),
                sdk_panels.workflow_task_schedule_to_start(queries),
                sdk_panels.workflow_task_execution(queries),
                sdk_panels.workflow_replay(queries),
            ),
        ),
        Row(
            "Workers",
            (
                sdk_panels.task_slots(queries),
                sdk_panels.pollers(queries),
                sdk_panels.sticky_cache_size(queries),
                sdk_panels.sticky_cache_rates(queries),
                sdk_panels.requests(queries),
                _versions(),
            ),
        ),
    )
    return Dashboard(
        names.DASHBOARD_WORKERS,
        "Temporal SLO / Workers",
        "Worker library and SDK metrics: activity attempts, schedule-to-start latency, task slots, pollers, sticky "
        "cache; and task queue backlogs from the server.",
        rows,
        (
            DATASOURCE,
            job_variable(config.profile.sample(sdk.SDK_POLLERS)),
            _namespace_variable(),
            _task_queue_variable(),
        ),
        (alert_annotation(),),
        time_from="now-3h",
    )


def _namespace_variable() -> Variable:
    query = f"label_values({names.EXPORTER_UP.sample}, {names.NAMESPACE})"
    return Variable(names.NAMESPACE, "Temporal namespace", query)


def _task_queue_variable() -> Variable:
    query = f"label_values({selector(names.TASK_QUEUE_POLLERS.sample, MATCH_NAMESPACE)}, {names.TASK_QUEUE})"
    return Variable(names.TASK_QUEUE, "Task queue", query)


def _max_by_queue(family: Family) -> str:
    # A metric of the exporter: it has another job than the workers, which `$job` selects.
    return f"max by ({', '.join(QUEUE_LABELS)}) ({selector(family.sample, MATCH_NAMESPACE, MATCH_TASK_QUEUE)})"


def _worker_info() -> str:
    return selector(names.WORKER_INFO.sample, MATCH_JOB, MATCH_NAMESPACE, MATCH_TASK_QUEUE)


def _now(queries: SdkQueries) -> tuple[Panel, ...]:
    attempts = worker_increase(names.ACTIVITY_ATTEMPTS, window=RANGE)
    failed = worker_increase(names.ACTIVITY_ATTEMPTS, window=RANGE, matchers=(MATCH_FAILED,))
    task_failures = f"{worker_increase(names.WORKFLOW_TASK_FAILURES, window=RANGE)} or 0 * sum({_worker_info()})"
    oldest = f"max({selector(names.TASK_QUEUE_BACKLOG_AGE.sample, MATCH_NAMESPACE, MATCH_TASK_QUEUE)})"
    errors = selector(names.WORKER_ERRORS.sample, MATCH_JOB, MATCH_NAMESPACE)
    slots = f"min({queries.select(sdk.SDK_SLOTS_FREE, MATCH_WORKER_TYPE)})"
    return (
        stat(
            "Workers",
            "Workers that use the worker library.",
            instant(f"count({_worker_info()})"),
            unit="none",
            decimals=0,
        ),
        stat(
            "Attempt failure rate",
            "Share of activity attempts that failed in the time range; a retry may have succeeded.",
            instant(f"({failed} or 0 * {attempts}) / ({attempts} > 0)"),
            unit="percentunit",
            decimals=1,
            thresholds=(Threshold(GREEN), Threshold(YELLOW, 0.05), Threshold(RED, 0.25)),
            no_value="no attempts",
        ),
        stat(
            "Workflow task failures",
            "Workflow tasks that failed in the time range: bugs, non-determinism, deadlocks.",
            instant(task_failures),
            unit="locale",
            decimals=0,
            thresholds=RED_FROM_1,
        ),
        stat(
            "Oldest backlog task",
            "Age of the oldest task in the backlog of any task queue.",
            instant(oldest),
            unit="s",
            decimals=0,
            thresholds=(Threshold(GREEN), Threshold(YELLOW, 10), Threshold(RED, 60)),
        ),
        stat(
            "Fewest available slots",
            "Available task slots of the busiest worker; at 0 tasks wait.",
            instant(slots),
            unit="none",
            decimals=0,
            thresholds=SLOTS_THRESHOLDS,
        ),
        stat(
            "Worker library errors",
            "Internal errors of the worker library in the time range; they never affect workflows.",
            instant(f"sum(increase({errors}[{RANGE}])) or 0 * sum({_worker_info()})"),
            unit="locale",
            decimals=0,
            thresholds=YELLOW_FROM_1,
        ),
    )


def _task_queues() -> Panel:
    exprs = (
        _max_by_queue(names.TASK_QUEUE_BACKLOG),
        _max_by_queue(names.TASK_QUEUE_BACKLOG_AGE),
        _max_by_queue(names.TASK_QUEUE_POLLERS),
        f"time() - {_max_by_queue(names.TASK_QUEUE_LAST_POLL)}",
    )
    columns = (
        Column(names.TASK_QUEUE, "Task queue"),
        Column(names.TASK_TYPE, "Task type"),
        Column(names.NAMESPACE, "Temporal namespace"),
        Column("A", "Backlog", "locale", 0, (Threshold(TEXT), Threshold(YELLOW, 1), Threshold(RED, 100))),
        Column("B", "Backlog age", "s", 0, (Threshold(TEXT), Threshold(YELLOW, 10), Threshold(RED, 60))),
        Column("C", "Pollers", "locale", 0, (Threshold(RED), Threshold(TEXT, 1))),
        Column("D", "Last poll", "s", 0, (Threshold(TEXT), Threshold(ORANGE, 120))),
    )
    return table(
        "Task queues",
        "Estimated backlog of each task queue, pollers of the last 5 minutes, and time since the last poll.",
        *map(table_query, exprs),
        columns=columns,
        size=(24, 8),
        sort_by=("B", True),
    )


def _backlog() -> Panel:
    return timeseries(
        "Task queue backlog",
        "Tasks in the backlog of each task queue.",
        Query(_max_by_queue(names.TASK_QUEUE_BACKLOG), label_legend(*QUEUE_LABELS)),
        unit="short",
        size=(12, 8),
    )


def _task_rates() -> Panel:
    return timeseries(
        "Task add and dispatch rate",
        "Tasks added to each task queue and dispatched to workers. The backlog grows if more are added.",
        Query(_max_by_queue(names.TASK_QUEUE_ADDED), f"{label_legend(*QUEUE_LABELS)} added"),
        Query(_max_by_queue(names.TASK_QUEUE_DISPATCHED), f"{label_legend(*QUEUE_LABELS)} dispatched"),
        unit=PER_SECOND,
        size=(12, 8),
    )


def _attempts() -> Panel:
    by = names.ACTIVITY_TYPE, names.OUTCOME
    return timeseries(
        "Activity attempts by outcome",
        "Activity attempts by their outcome in the worker.",
        Query(worker_increase(names.ACTIVITY_ATTEMPTS, *by), label_legend(*by)),
        unit="short",
        size=(12, 7),
    )


def _retries() -> Panel:
    attempts = worker_increase(names.ACTIVITY_ATTEMPTS, names.ACTIVITY_TYPE)
    activities = worker_increase(names.ACTIVITY_ENDS, names.ACTIVITY_TYPE)
    failed = worker_increase(names.ACTIVITY_ATTEMPTS, names.ACTIVITY_TYPE, names.FAILURE_TYPE, matchers=(MATCH_FAILED,))
    return timeseries(
        "Attempts per activity",
        "Mean number of attempts per activity, 1 without retries; and failed attempts by failure type.",
        Query(f"{attempts} / ({activities} > 0)", label_legend(names.ACTIVITY_TYPE)),
        Query(failed, f"failed {label_legend(names.ACTIVITY_TYPE, names.FAILURE_TYPE)}"),
        unit="short",
        decimals=1,
        size=(12, 7),
    )


def _outcomes() -> Panel:
    by = names.ACTIVITY_TYPE, names.OUTCOME
    return timeseries(
        "Activities by final outcome",
        "Activities by their outcome after all retries, as seen by the workflow.",
        Query(worker_increase(names.ACTIVITY_ENDS, *by), label_legend(*by)),
        unit="short",
        size=(12, 7),
    )


def _schedule_to_start() -> Panel:
    buckets = selector(f"{names.ACTIVITY_SCHEDULE_TO_START.name}_bucket", MATCH_JOB, MATCH_NAMESPACE, MATCH_TASK_QUEUE)
    queries = (
        Query(
            f"histogram_quantile({quantile}, sum by (le, {names.ACTIVITY_TYPE}) (rate({buckets}[{RATE_INTERVAL}])))",
            f"{label_legend(names.ACTIVITY_TYPE)} {name}",
        )
        for quantile, name in (("0.5", "p50"), ("0.95", "p95"))
    )
    return timeseries(
        "Activity schedule-to-start latency",
        "Time from scheduling an activity to the start of its first attempt by a worker, p50 and p95.",
        *queries,
        unit="s",
        size=(12, 7),
        thresholds=SCHEDULE_TO_START_THRESHOLDS,
    )


def _versions() -> Panel:
    by = names.TASK_QUEUE, names.VERSION, names.COUNTING
    return timeseries(
        "Workers by version",
        f"Workers by task queue, version of the worker library, and mode of counting (`{names.COUNTING}`).",
        Query(f"count by ({', '.join(by)}) ({_worker_info()})", label_legend(*by)),
        unit="none",
        decimals=0,
        size=(8, 7),
    )
