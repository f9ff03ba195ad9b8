"""Panels of workers' metrics: those of the worker library and those of the SDK."""

from temporal_slo import names
from temporal_slo.generate.dashboards.common import (
    MATCH_JOB,
    MATCH_NAMESPACE,
    MATCH_TASK_QUEUE,
    PER_SECOND,
    RATE_INTERVAL,
    DashboardConfig,
    label_legend,
)
from temporal_slo.generate.kit import Panel, Query, timeseries
from temporal_slo.names import Family, sdk
from temporal_slo.names.sdk import SdkMetric
from temporal_slo.promql import Matcher, selector


def worker_increase(family: Family, *by: str, window: str = RATE_INTERVAL, matchers: tuple[Matcher, ...] = ()) -> str:
    """Return the increase of a counter of the worker library by labels, summed over all workers."""
    selected = selector(family.sample, MATCH_JOB, MATCH_NAMESPACE, MATCH_TASK_QUEUE, *matchers)
    per_worker = f"increase({selected}[{window}])"
    return f"sum by ({', '.join(by)}) ({per_worker})" if by else f"sum({per_worker})"


class SdkQueries:
    """Builds queries of SDK metrics, named by the configured profile.

    Attributes:
        duration_unit: Grafana's unit of the SDK's latency metrics.
    """

    def __init__(self, config: DashboardConfig) -> None:
        self._profile = config.profile
        self._namespace = Matcher(config.profile.namespace, "=~", f"${names.NAMESPACE}")
        self.duration_unit = config.profile.unit

    def select(self, metric: SdkMetric, *matchers: Matcher, suffix: str = "") -> str:
        """Return the selector of *metric*, filtered by the dashboard's variables."""
        queue = (MATCH_TASK_QUEUE,) if names.TASK_QUEUE in metric.labels else ()
        return selector(f"{self._profile.sample(metric)}{suffix}", MATCH_JOB, self._namespace, *queue, *matchers)

    def rate(self, metric: SdkMetric, *by: str) -> str:
        """Return the per-second rate of a counter by labels."""
        return f"sum by ({', '.join(by)}) (rate({self.select(metric)}[{RATE_INTERVAL}]))"

    def quantile(self, metric: SdkMetric, quantile: str, *by: str) -> str:
        """Return a quantile of a histogram by labels."""
        buckets = f"rate({self.select(metric, suffix='_bucket')}[{RATE_INTERVAL}])"
        return f"histogram_quantile({quantile}, sum by ({', '.join(('le', *by))}) ({buckets}))"


def workflow_task_failures(queries: SdkQueries) -> Panel:
    """Return the failed workflow tasks by failure type and reason."""
    library = worker_increase(names.WORKFLOW_TASK_FAILURES, names.WORKFLOW_TYPE, names.FAILURE_TYPE)
    reasons = f"sum by ({sdk.FAILURE_REASON}) (increase({queries.select(sdk.SDK_TASK_FAILURES)}[{RATE_INTERVAL}]))"
    return timeseries(
        "Workflow task failures",
        "By workflow and failure type, and by SDK reason. Bugs, non-determinism, deadlocks: runs block until fixed.",
        Query(library, label_legend(names.WORKFLOW_TYPE, names.FAILURE_TYPE)),
        Query(reasons, f"SDK: {label_legend(sdk.FAILURE_REASON)}"),
        unit="short",
        bars=True,
        size=(12, 7),
    )


def workflow_task_schedule_to_start(queries: SdkQueries) -> Panel:
    """Return the schedule-to-start latency of workflow tasks."""
    quantiles = (
        Query(
            queries.quantile(sdk.SDK_TASK_SCHEDULE_TO_START, quantile, names.TASK_QUEUE),
            f"{label_legend(names.TASK_QUEUE)} {name}",
        )
        for quantile, name in (("0.5", "p50"), ("0.95", "p95"))
    )
    return timeseries(
        "Workflow task schedule-to-start latency",
        "Time from scheduling a workflow task to its start by a worker, p50 and p95.",
        *quantiles,
        unit=queries.duration_unit,
        size=(12, 7),
    )


def workflow_task_execution(queries: SdkQueries) -> Panel:
    """Return the execution latency of workflow tasks."""
    expr = queries.quantile(sdk.SDK_TASK_EXECUTION, "0.95", names.WORKFLOW_TYPE)
    return timeseries(
        "Workflow task execution latency",
        "Execution time of workflow tasks by workflow type, p95.",
        Query(expr, f"{label_legend(names.WORKFLOW_TYPE)} p95"),
        unit=queries.duration_unit,
        size=(12, 7),
    )


def workflow_replay(queries: SdkQueries) -> Panel:
    """Return the replay latency of workflows."""
    expr = queries.quantile(sdk.SDK_TASK_REPLAY, "0.95", names.WORKFLOW_TYPE)
    return timeseries(
        "Workflow replay latency",
        "Duration of history replays by workflow type, p95: the cost of a sticky cache miss.",
        Query(expr, f"{label_legend(names.WORKFLOW_TYPE)} p95"),
        unit=queries.duration_unit,
        size=(12, 7),
    )


def task_slots(queries: SdkQueries) -> Panel:
    """Return the used and available task slots."""
    by = names.TASK_QUEUE, sdk.WORKER_TYPE
    counts = (
        Query(f"sum by ({', '.join(by)}) ({queries.select(metric)})", f"{label_legend(*by)} {state}")
        for metric, state in ((sdk.SDK_SLOTS_USED, "used"), (sdk.SDK_SLOTS_FREE, "available"))
    )
    return timeseries(
        "Task slots",
        "Used and available task slots of all workers. Without available slots, tasks wait although workers poll.",
        *counts,
        unit="short",
        size=(8, 7),
    )


def pollers(queries: SdkQueries) -> Panel:
    """Return the open poll requests."""
    by = names.TASK_QUEUE, sdk.POLLER_TYPE
    return timeseries(
        "Pollers",
        "Open poll requests of workers by task queue and poller type.",
        Query(f"sum by ({', '.join(by)}) ({queries.select(sdk.SDK_POLLERS)})", label_legend(*by)),
        unit="short",
        size=(8, 7),
    )


def sticky_cache_size(queries: SdkQueries) -> Panel:
    """Return the number of cached workflow runs."""
    expr = f"sum by ({names.TASK_QUEUE}) ({queries.select(sdk.SDK_CACHE_SIZE)})"
    return timeseries(
        "Sticky cache size",
        "Workflow runs cached by workers.",
        Query(expr, label_legend(names.TASK_QUEUE)),
        unit="short",
        size=(8, 7),
    )


def sticky_cache_rates(queries: SdkQueries) -> Panel:
    """Return the sticky cache hits, misses and evictions."""
    kinds = ((sdk.SDK_CACHE_HITS, "hits"), (sdk.SDK_CACHE_MISSES, "misses"), (sdk.SDK_EVICTIONS, "forced evictions"))
    rates = (
        Query(queries.rate(metric, names.TASK_QUEUE), f"{label_legend(names.TASK_QUEUE)} {kind}")
        for metric, kind in kinds
    )
    return timeseries(
        "Sticky cache hits, misses and evictions",
        "Each miss causes a replay of the run's history. Forced evictions mean that the cache is too small.",
        *rates,
        unit=PER_SECOND,
        size=(8, 7),
    )


def requests(queries: SdkQueries) -> Panel:
    """Return the requests of workers to Temporal."""
    kinds = (
        (sdk.SDK_REQUESTS, "requests"),
        (sdk.SDK_REQUEST_FAILURES, "failures"),
        (sdk.SDK_LONG_REQUEST_FAILURES, "long-poll failures"),
    )
    rates = (
        Query(queries.rate(metric, sdk.OPERATION), f"{label_legend(sdk.OPERATION)} {kind}") for metric, kind in kinds
    )
    return timeseries(
        "Requests to Temporal",
        "Requests of workers by operation, and failed requests.",
        *rates,
        unit="reqps",
        size=(8, 7),
    )
