"""Workers: do they keep up, do their activities work, is their code at odds with running workflows."""

from typing import Final

from temporal_slo import names
from temporal_slo.generate.dashboards.common import (
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
from temporal_slo.generate.dashboards.state import firing
from temporal_slo.generate.kit import Board, Column, Query, Row, Step, Variable, stat, table, timeseries
from temporal_slo.generate.kit.parts import Panel
from temporal_slo.names import Family, sdk
from temporal_slo.names.sdk import SdkMetric
from temporal_slo.promql import Matcher, one_of, selector

WAITS: Final = (Step(GOOD), Step(WARN, 1), Step(BAD, 10))
FEW_FREE: Final = (Step(BAD), Step(GOOD, 1))
TASKS: Final = one_of(sdk.WORKER_TYPE, ("WorkflowWorker", "ActivityWorker"))


def board(setting: Setting) -> Board:
    """Return the dashboard."""
    sdks = _Sdk(setting)
    rows = (
        Row("Now", _now(sdks)),
        Row("Task queues", (_queues(), _backlog(), _flow())),
        Row("Activities", (_attempts(), _retries(), _ends(), _waits())),
        Row("Workflow tasks", (_task_failures(sdks), _task_waits(sdks), _execution(sdks), _replay(sdks))),
        Row("Workers", (_slots(sdks), _pollers(sdks), _cache(sdks), _misses(sdks), _requests(sdks), _versions())),
    )
    return Board(
        names.BOARD_WORKERS,
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


class _Sdk:
    """Queries of the SDK's own metrics, under the names that they have here."""

    def __init__(self, setting: Setting) -> None:
        self._profile = setting.profile
        self._namespace = Matcher(setting.profile.namespace, "=~", f"${names.NAMESPACE}")
        self.unit = setting.profile.unit

    def of(self, metric: SdkMetric, *matchers: Matcher, suffix: str = "") -> str:
        queue = (OF_QUEUE,) if names.TASK_QUEUE in metric.labels else ()
        return selector(f"{self._profile.sample(metric)}{suffix}", OF_JOB, self._namespace, *queue, *matchers)

    def rate(self, metric: SdkMetric, *by: str) -> str:
        return f"sum by ({', '.join(by)}) (rate({self.of(metric)}[{INTERVAL}]))"

    def within(self, metric: SdkMetric, part: str, *by: str) -> str:
        buckets = f"rate({self.of(metric, suffix='_bucket')}[{INTERVAL}])"
        return f"histogram_quantile({part}, sum by ({', '.join(('le', *by))}) ({buckets}))"


def _work(family: Family, *by: str, window: str = INTERVAL, matchers: tuple[Matcher, ...] = ()) -> str:
    """Return the increase of a counter of the worker library: each worker tells its own share."""
    chosen = selector(family.sample, OF_JOB, OF_NAMESPACE, OF_QUEUE, *matchers)
    grown = f"increase({chosen}[{window}])"
    return f"sum by ({', '.join(by)}) ({grown})" if by else f"sum({grown})"


def _queue(family: Family, *by: str) -> str:
    # Of the exporter, whose job is another than the workers'.
    return f"max by ({', '.join(by)}) ({selector(family.sample, OF_NAMESPACE, OF_QUEUE)})"


def _now(sdks: _Sdk) -> tuple[Panel, ...]:
    attempts = _work(names.ACTIVITY_ATTEMPTS, window=RANGE)
    failed = _work(names.ACTIVITY_ATTEMPTS, window=RANGE, matchers=(one_of(names.OUTCOME, ("failed",)),))
    tasks = f"{_work(names.WORKFLOW_TASK_FAILURES, window=RANGE)} or 0 * sum({_info()})"
    oldest = f"max({selector(names.TASK_QUEUE_BACKLOG_AGE.sample, OF_NAMESPACE, OF_QUEUE)})"
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
            unit="short",
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
            now(
                f"sum(increase({selector(names.WORKER_ERRORS.sample, OF_JOB, OF_NAMESPACE)}[{RANGE}])) or 0 * sum({_info()})"
            ),
            unit="short",
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
        Column("A", "Backlog", "short", 0, (Step("text"), Step(WARN, 1), Step(BAD, 100))),
        Column("B", "Oldest waits for", "s", 0, (Step("text"), Step(WARN, 10), Step(BAD, 60))),
        Column("C", "Workers asking", "short", 0, (Step(BAD), Step("text", 1))),
        Column("D", "Asked last ago", "s", 0, (Step("text"), Step(HIGH, 120))),
    )
    return table(
        "Task queues",
        "What waits in each task queue as the server estimates it, and who asks for it. A worker that ended is counted for five minutes.",
        *map(column, exprs),
        columns=columns,
        size=(12, 8),
        sorted_by=("B", True),
    )


def _backlog() -> Panel:
    by = names.TASK_QUEUE, names.TASK_TYPE
    return timeseries(
        "Backlog",
        "Tasks that wait in each queue.",
        Query(_queue(names.TASK_QUEUE_BACKLOG, *by), by_legend(*by)),
        unit="short",
        size=(6, 8),
    )


def _flow() -> Panel:
    by = names.TASK_QUEUE, names.TASK_TYPE
    return timeseries(
        "Added and taken",
        "Tasks a second that came to each queue, and that workers took: where more come, the backlog grows.",
        Query(_queue(names.TASK_QUEUE_ADDED, *by), f"{by_legend(*by)} added"),
        Query(_queue(names.TASK_QUEUE_DISPATCHED, *by), f"{by_legend(*by)} taken"),
        unit="reqps",
        size=(6, 8),
    )


def _attempts() -> Panel:
    by = names.ACTIVITY_TYPE, names.OUTCOME
    return timeseries(
        "Attempts",
        "Attempts of activities by how they ended in the worker.",
        Query(_work(names.ACTIVITY_ATTEMPTS, *by), by_legend(*by)),
        unit="short",
        size=(12, 7),
    )


def _retries() -> Panel:
    attempts, ends = (
        _work(names.ACTIVITY_ATTEMPTS, names.ACTIVITY_TYPE),
        _work(names.ACTIVITY_ENDS, names.ACTIVITY_TYPE),
    )
    failed = _work(
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
        Query(_work(names.ACTIVITY_ENDS, *by), by_legend(*by)),
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


def _task_failures(sdks: _Sdk) -> Panel:
    own = _work(names.WORKFLOW_TASK_FAILURES, names.WORKFLOW_TYPE, names.FAILURE_TYPE)
    by_sdk = f"sum by ({sdk.FAILURE_REASON}) (increase({sdks.of(sdk.SDK_TASK_FAILURES)}[{INTERVAL}]))"
    return timeseries(
        "Failed workflow tasks over time",
        "Bugs, non-determinism and deadlocks: the workflow stands still until the code is mended. By type from the worker library, by reason from the SDK.",
        Query(own, by_legend(names.WORKFLOW_TYPE, names.FAILURE_TYPE)),
        Query(by_sdk, f"SDK: {by_legend(sdk.FAILURE_REASON)}"),
        unit="short",
        bars=True,
        size=(12, 7),
    )


def _task_waits(sdks: _Sdk) -> Panel:
    queries = (
        Query(
            sdks.within(sdk.SDK_TASK_SCHEDULE_TO_START, part, names.TASK_QUEUE), f"{by_legend(names.TASK_QUEUE)} {word}"
        )
        for part, word in (("0.5", "half"), ("0.95", "95 %"))
    )
    return timeseries(
        "Workflow tasks wait to start",
        "Within what time half, and 95 %, of workflow tasks were taken by a worker.",
        *queries,
        unit=sdks.unit,
        size=(12, 7),
    )


def _execution(sdks: _Sdk) -> Panel:
    return timeseries(
        "Workflow tasks take",
        "Within what time 95 % of workflow tasks were done, by type.",
        Query(sdks.within(sdk.SDK_TASK_EXECUTION, "0.95", names.WORKFLOW_TYPE), by_legend(names.WORKFLOW_TYPE)),
        unit=sdks.unit,
        size=(12, 7),
    )


def _replay(sdks: _Sdk) -> Panel:
    return timeseries(
        "Replays take",
        "Within what time 95 % of replays were done: what a miss of the cache costs.",
        Query(sdks.within(sdk.SDK_TASK_REPLAY, "0.95", names.WORKFLOW_TYPE), by_legend(names.WORKFLOW_TYPE)),
        unit=sdks.unit,
        size=(12, 7),
    )


def _slots(sdks: _Sdk) -> Panel:
    by = names.TASK_QUEUE, sdk.WORKER_TYPE
    queries = (
        Query(f"sum by ({', '.join(by)}) ({sdks.of(metric)})", f"{by_legend(*by)} {word}")
        for metric, word in ((sdk.SDK_SLOTS_USED, "used"), (sdk.SDK_SLOTS_FREE, "free"))
    )
    return timeseries(
        "Slots",
        "Slots of all workers that are used, and free. With none free, work waits though workers are there.",
        *queries,
        unit="short",
        size=(8, 7),
    )


def _pollers(sdks: _Sdk) -> Panel:
    by = names.TASK_QUEUE, sdk.POLLER_TYPE
    return timeseries(
        "Pollers",
        "Requests for work that workers have open.",
        Query(f"sum by ({', '.join(by)}) ({sdks.of(sdk.SDK_POLLERS)})", by_legend(*by)),
        unit="short",
        size=(8, 7),
    )


def _cache(sdks: _Sdk) -> Panel:
    return timeseries(
        "Sticky cache",
        "Workflow runs that workers keep in memory.",
        Query(f"sum by ({names.TASK_QUEUE}) ({sdks.of(sdk.SDK_CACHE_SIZE)})", by_legend(names.TASK_QUEUE)),
        unit="short",
        size=(8, 7),
    )


def _misses(sdks: _Sdk) -> Panel:
    kinds = ((sdk.SDK_CACHE_HITS, "hits"), (sdk.SDK_CACHE_MISSES, "misses"), (sdk.SDK_EVICTIONS, "forced evictions"))
    queries = (
        Query(sdks.rate(metric, names.TASK_QUEUE), f"{by_legend(names.TASK_QUEUE)} {word}") for metric, word in kinds
    )
    return timeseries(
        "Cache hits and misses",
        "A miss makes the worker replay the run; forced evictions say that the cache is too small.",
        *queries,
        unit="ops",
        size=(8, 7),
    )


def _requests(sdks: _Sdk) -> Panel:
    kinds = (
        (sdk.SDK_REQUESTS, "asked"),
        (sdk.SDK_REQUEST_FAILURES, "failed"),
        (sdk.SDK_LONG_REQUEST_FAILURES, "polls failed"),
    )
    queries = (Query(sdks.rate(metric, sdk.OPERATION), f"{by_legend(sdk.OPERATION)} {word}") for metric, word in kinds)
    return timeseries(
        "Requests to Temporal",
        "Requests of workers by operation, and those that failed.",
        *queries,
        unit="reqps",
        size=(8, 7),
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
