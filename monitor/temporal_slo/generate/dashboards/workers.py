"""Workers: do they keep up, do their activities work, is their code at odds with running workflows."""

from typing import Final

from temporal_slo import names
from temporal_slo.generate.dashboards import sdk_panels
from temporal_slo.generate.dashboards.common import (
    A_SECOND,
    BAD,
    DATASOURCE,
    GOOD,
    HIGH,
    INTERVAL,
    NONE_WANTED,
    OF_JOB,
    OF_NAMESPACE,
    OF_QUEUE,
    RANGE,
    TRUE_IS_BAD,
    WARN,
    Setting,
    by_legend,
    column,
    now,
)
from temporal_slo.generate.dashboards.sdk_panels import Sdk, work
from temporal_slo.generate.dashboards.state import firing
from temporal_slo.generate.kit import Board, Column, Query, Row, Step, Variable, stat, table, timeseries
from temporal_slo.generate.kit.parts import Panel
from temporal_slo.names import Family, sdk
from temporal_slo.promql import one_of, selector

WAITS: Final = (Step(GOOD), Step(WARN, 1), Step(BAD, 10))
FEW_FREE: Final = (Step(BAD), Step(GOOD, 1))
TASKS: Final = one_of(sdk.WORKER_TYPE, ("WorkflowWorker", "ActivityWorker"))


def board(setting: Setting) -> Board:
    """Return the dashboard."""
    sdks = Sdk(setting)
    rows = (
        Row("Now", _now(sdks)),
        Row("Task queues", (_queues(), _backlog(), _flow())),
        Row("Activities", (_attempts(), _retries(), _ends(), _waits())),
        Row(
            "Workflow tasks",
            (
                sdk_panels.task_failures(sdks),
                sdk_panels.task_waits(sdks),
                sdk_panels.execution(sdks),
                sdk_panels.replay(sdks),
            ),
        ),
        Row(
            "Workers",
            (
                sdk_panels.slots(sdks),
                sdk_panels.pollers(sdks),
                sdk_panels.cache(sdks),
                sdk_panels.misses(sdks),
                sdk_panels.requests(sdks),
                _versions(),
            ),
        ),
    )
    return Board(
        names.DASHBOARD_WORKERS,
        "Temporal SLO / Workers",
        "What workers and their SDK say: activities and their attempts, waiting times, slots, pollers, cache; and the "
        "backlog of task queues as the server sees it.",
        rows,
        (DATASOURCE, _job(setting), _namespaces(), _task_queues()),
        (firing(),),
        since="now-3h",
    )


def _job(setting: Setting) -> Variable:
    return Variable("job", "job", f"label_values({setting.profile.sample(sdk.SDK_POLLERS)}, job)")


def _namespaces() -> Variable:
    query = f"label_values({names.EXPORTER_UP.sample}, {names.NAMESPACE})"
    return Variable(names.NAMESPACE, "Temporal namespace", query)


def _task_queues() -> Variable:
    query = f"label_values({selector(names.TASK_QUEUE_POLLERS.sample, OF_NAMESPACE)}, {names.TASK_QUEUE})"
    return Variable(names.TASK_QUEUE, "Task queue", query)


def _queue(family: Family, *by: str) -> str:
    # Of the exporter, whose job is another than the workers'.
    return f"max by ({', '.join(by)}) ({selector(family.sample, OF_NAMESPACE, OF_QUEUE)})"


def _now(sdks: Sdk) -> tuple[Panel, ...]:
    attempts = work(names.ACTIVITY_ATTEMPTS, window=RANGE)
    failed = work(names.ACTIVITY_ATTEMPTS, window=RANGE, matchers=(one_of(names.OUTCOME, ("failed",)),))
    tasks = f"{work(names.WORKFLOW_TASK_FAILURES, window=RANGE)} or 0 * sum({_info()})"
    oldest = f"max({selector(names.TASK_QUEUE_BACKLOG_AGE.sample, OF_NAMESPACE, OF_QUEUE)})"
    errors = selector(names.WORKER_ERRORS.sample, OF_JOB, OF_NAMESPACE)
    slots = f"min({sdks.of(sdk.SDK_SLOTS_FREE, TASKS)})"
    return (
        stat("Workers", "Workers that use the worker library.", now(f"count({_info()})"), unit="none", decimals=0),
        stat(
            "Failed attempts",
            "Share of the activity attempts in the time range that failed; retries may have mended it.",
            now(f"({failed} or 0 * {attempts}) / ({attempts} > 0)"),
            unit="percentunit",
            decimals=1,
            steps=(Step(GOOD), Step(WARN, 0.05), Step(BAD, 0.25)),
            empty="no attempts",
        ),
        stat(
            "Failed workflow tasks",
            "Workflow tasks that failed in the time range, by a bug, non-determinism or a deadlock.",
            now(tasks),
            unit="locale",
            decimals=0,
            steps=TRUE_IS_BAD,
        ),
        stat(
            "Oldest waiting task",
            "How long the oldest task of any queue has waited for a worker.",
            now(oldest),
            unit="s",
            decimals=0,
            steps=(Step(GOOD), Step(WARN, 10), Step(BAD, 60)),
        ),
        stat(
            "Fewest free slots",
            "Free slots of the busiest worker: with none left, work waits.",
            now(slots),
            unit="none",
            decimals=0,
            steps=FEW_FREE,
        ),
        stat(
            "Errors of the library",
            "Errors of the worker library itself in the time range; they never reach a workflow.",
            now(f"sum(increase({errors}[{RANGE}])) or 0 * sum({_info()})"),
            unit="locale",
            decimals=0,
            steps=NONE_WANTED,
        ),
    )


def _info() -> str:
    return selector(names.WORKER_INFO.sample, OF_JOB, OF_NAMESPACE, OF_QUEUE)


def _queues() -> Panel:
    key = names.TASK_QUEUE, names.TASK_TYPE, names.NAMESPACE
    exprs = (
        _queue(names.TASK_QUEUE_BACKLOG, *key),
        _queue(names.TASK_QUEUE_BACKLOG_AGE, *key),
        _queue(names.TASK_QUEUE_POLLERS, *key),
        f"time() - {_queue(names.TASK_QUEUE_LAST_POLL, *key)}",
    )
    columns = (
        Column(names.TASK_QUEUE, "Task queue"),
        Column(names.TASK_TYPE, "Kind"),
        Column(names.NAMESPACE, "Temporal namespace"),
        Column("A", "Backlog", "locale", 0, (Step("text"), Step(WARN, 1), Step(BAD, 100))),
        Column("B", "Oldest waits for", "s", 0, (Step("text"), Step(WARN, 10), Step(BAD, 60))),
        Column("C", "Workers asking", "locale", 0, (Step(BAD), Step("text", 1))),
        Column("D", "Asked last ago", "s", 0, (Step("text"), Step(HIGH, 120))),
    )
    return table(
        "Task queues",
        "What waits in each queue as the server estimates it, and who asked for it in five minutes.",
        *map(column, exprs),
        columns=columns,
        size=(24, 8),
        sorted_by=("B", True),
    )


def _backlog() -> Panel:
    by = names.TASK_QUEUE, names.TASK_TYPE, names.NAMESPACE
    return timeseries(
        "Backlog",
        "Tasks that wait in each queue.",
        Query(_queue(names.TASK_QUEUE_BACKLOG, *by), by_legend(*by)),
        unit="short",
        size=(12, 8),
    )


def _flow() -> Panel:
    by = names.TASK_QUEUE, names.TASK_TYPE, names.NAMESPACE
    return timeseries(
        "Added and taken",
        "Tasks a second that came to each queue, and that workers took: where more come, the backlog grows.",
        Query(_queue(names.TASK_QUEUE_ADDED, *by), f"{by_legend(*by)} added"),
        Query(_queue(names.TASK_QUEUE_DISPATCHED, *by), f"{by_legend(*by)} taken"),
        unit=A_SECOND,
        size=(12, 8),
    )


def _attempts() -> Panel:
    by = names.ACTIVITY_TYPE, names.OUTCOME
    return timeseries(
        "Attempts",
        "Attempts of activities by how they ended in the worker.",
        Query(work(names.ACTIVITY_ATTEMPTS, *by), by_legend(*by)),
        unit="short",
        size=(12, 7),
    )


def _retries() -> Panel:
    attempts, ends = (
        work(names.ACTIVITY_ATTEMPTS, names.ACTIVITY_TYPE),
        work(names.ACTIVITY_ENDS, names.ACTIVITY_TYPE),
    )
    failed = work(
        names.ACTIVITY_ATTEMPTS, names.ACTIVITY_TYPE, names.FAILURE_TYPE, matchers=(one_of(names.OUTCOME, ("failed",)),)
    )
    return timeseries(
        "Attempts per activity",
        "How many attempts an activity took; 1 is none retried. Beside it the failed attempts by type of failure.",
        Query(f"{attempts} / ({ends} > 0)", by_legend(names.ACTIVITY_TYPE)),
        Query(failed, f"failed {by_legend(names.ACTIVITY_TYPE, names.FAILURE_TYPE)}"),
        unit="short",
        decimals=1,
        size=(12, 7),
    )


def _ends() -> Panel:
    by = names.ACTIVITY_TYPE, names.OUTCOME
    return timeseries(
        "Activities that ended",
        "Activities by how they ended for good, after all retries, as their workflow saw it.",
        Query(work(names.ACTIVITY_ENDS, *by), by_legend(*by)),
        unit="short",
        size=(12, 7),
    )


def _waits() -> Panel:
    buckets = selector(f"{names.ACTIVITY_SCHEDULE_TO_START.name}_bucket", OF_JOB, OF_NAMESPACE, OF_QUEUE)
    queries = (
        Query(
            f"histogram_quantile({part}, sum by (le, {names.ACTIVITY_TYPE}) (rate({buckets}[{INTERVAL}])))",
            f"{by_legend(names.ACTIVITY_TYPE)} {word}",
        )
        for part, word in (("0.5", "half"), ("0.95", "95 %"))
    )
    return timeseries(
        "Activities wait to start",
        "Within what time half, and 95 %, of first attempts were taken by a worker.",
        *queries,
        unit="s",
        size=(12, 7),
        steps=WAITS,
    )


def _versions() -> Panel:
    by = names.TASK_QUEUE, names.VERSION, names.COUNTING
    return timeseries(
        "Workers by version",
        "Workers by task queue, version of the worker library, and how they count.",
        Query(f"count by ({', '.join(by)}) ({_info()})", by_legend(*by)),
        unit="none",
        decimals=0,
        size=(8, 7),
    )
