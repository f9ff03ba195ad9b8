"""Metrics of the SDK itself, as workers of Temporal's Python SDK 1.33 expose them.

The same metric has several names: the worker's runtime decides whether counters end in `_total` and durations in
`_seconds`. A `Profile` selects the names that a dashboard queries.
"""

from dataclasses import dataclass
from typing import Final, Literal

from temporal_slo.names.labels import TASK_QUEUE, WORKFLOW_TYPE

OPERATION: Final = "operation"
POLLER_TYPE: Final = "poller_type"
WORKER_TYPE: Final = "worker_type"
FAILURE_REASON: Final = "failure_reason"


@dataclass(frozen=True, slots=True)
class SdkMetric:
    """A metric of the SDK.

    Attributes:
        name: Without any suffix.
        type: Prometheus type; every histogram is of durations.
        labels: Labels that dashboards use, without the namespace.
        absent_when_healthy: Whether the series appears only after an error, a cache miss or an eviction.
    """

    name: str
    type: Literal["counter", "gauge", "histogram"]
    labels: tuple[str, ...] = (TASK_QUEUE,)
    absent_when_healthy: bool = False


@dataclass(frozen=True, slots=True)
class Profile:
    """Naming of workers' metrics: suffixes set by the runtime, and the namespace label after the scrape.

    Attributes:
        total: Whether counters end in `_total`.
        seconds: Whether durations are in seconds and end in `_seconds`; otherwise they are in milliseconds and have
            no suffix.
        namespace: Name of the SDK's label `namespace` after the scrape: `exported_namespace` on Kubernetes.
    """

    total: bool = True
    seconds: bool = True
    namespace: str = "namespace"

    def sample(self, metric: SdkMetric) -> str:
        """Return the name to query; for a histogram without `_bucket`, `_sum` or `_count`."""
        total = "_total" if metric.type == "counter" and self.total else ""
        seconds = "_seconds" if metric.type == "histogram" and self.seconds else ""
        return f"{metric.name}{total}{seconds}"

    @property
    def unit(self) -> str:
        """Grafana's unit of durations."""
        return "s" if self.seconds else "ms"


WHOLE: Final = Profile()
"""Names with suffixes, as `prometheus_runtime` configures them."""
PLAIN: Final = Profile(total=False, seconds=False)
"""Names without suffixes, the default of the SDK."""

SDK_REQUESTS: Final = SdkMetric("temporal_request", "counter", (OPERATION,))
SDK_REQUEST_FAILURES: Final = SdkMetric("temporal_request_failure", "counter", (OPERATION,), absent_when_healthy=True)
SDK_LONG_REQUEST_FAILURES: Final = SdkMetric(
    "temporal_long_request_failure", "counter", (OPERATION,), absent_when_healthy=True
)
SDK_POLLERS: Final = SdkMetric("temporal_num_pollers", "gauge", (TASK_QUEUE, POLLER_TYPE))
SDK_SLOTS_FREE: Final = SdkMetric("temporal_worker_task_slots_available", "gauge", (TASK_QUEUE, WORKER_TYPE))
SDK_SLOTS_USED: Final = SdkMetric("temporal_worker_task_slots_used", "gauge", (TASK_QUEUE, WORKER_TYPE))
SDK_WORKER_STARTS: Final = SdkMetric("temporal_worker_start", "counter")
SDK_CACHE_SIZE: Final = SdkMetric("temporal_sticky_cache_size", "gauge")
SDK_CACHE_HITS: Final = SdkMetric("temporal_sticky_cache_hit", "counter")
SDK_CACHE_MISSES: Final = SdkMetric("temporal_sticky_cache_miss", "counter", absent_when_healthy=True)
SDK_EVICTIONS: Final = SdkMetric("temporal_sticky_cache_total_forced_eviction", "counter", absent_when_healthy=True)
SDK_TASK_SCHEDULE_TO_START: Final = SdkMetric("temporal_workflow_task_schedule_to_start_latency", "histogram")
SDK_TASK_EXECUTION: Final = SdkMetric(
    "temporal_workflow_task_execution_latency", "histogram", (TASK_QUEUE, WORKFLOW_TYPE)
)
SDK_TASK_REPLAY: Final = SdkMetric("temporal_workflow_task_replay_latency", "histogram", (TASK_QUEUE, WORKFLOW_TYPE))
SDK_TASK_FAILURES: Final = SdkMetric(
    "temporal_workflow_task_execution_failed", "counter", (TASK_QUEUE, FAILURE_REASON), absent_when_healthy=True
)

SDK_METRICS: Final = tuple(value for value in list(globals().values()) if isinstance(value, SdkMetric))
"""Every SDK metric that dashboards query."""
