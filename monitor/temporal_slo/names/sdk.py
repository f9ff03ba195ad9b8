"""Metrics of the SDK itself, as a worker of Temporal's Python SDK 1.33 was seen to expose them.

The same metric has several names: whether counters end in `_total` and durations in `_seconds` is for the worker's
runtime to say. Which of these a dashboard asks for is chosen once, by a profile.
"""

from dataclasses import dataclass
from typing import Final, Literal

from temporal_slo.names.labels import TASK_QUEUE, WORKFLOW_TYPE

SCRAPED_NAMESPACE: Final = "namespace"
OPERATION: Final = "operation"
STATUS_CODE: Final = "status_code"
POLLER_TYPE: Final = "poller_type"
WORKER_TYPE: Final = "worker_type"
FAILURE_REASON: Final = "failure_reason"


@dataclass(frozen=True, slots=True)
class SdkMetric:
    """A metric of the SDK.

    Attributes:
        name: Without any suffix.
        type: Its Prometheus type; histograms are of durations.
        labels: Those that we use, beside the namespace.
        from_trouble: Whether it appears only when something has gone wrong.
    """

    name: str
    type: Literal["counter", "gauge", "histogram"]
    labels: tuple[str, ...] = (TASK_QUEUE,)
    from_trouble: bool = False


@dataclass(frozen=True, slots=True)
class Profile:
    """How workers' metrics are named, and what a scrape made of their labels.

    Attributes:
        total: Counters end in `_total`.
        seconds: Durations are in seconds and end in `_seconds`; else they are in milliseconds and end in nothing.
        namespace: What the scrape made of the SDK's label `namespace`: `exported_namespace` on Kubernetes.
    """

    total: bool = True
    seconds: bool = True
    namespace: str = "namespace"

    def sample(self, metric: SdkMetric) -> str:
        """Return the name to query; of a histogram it is continued by `_bucket`, `_sum` or `_count`."""
        total = "_total" if metric.type == "counter" and self.total else ""
        seconds = "_seconds" if metric.type == "histogram" and self.seconds else ""
        return f"{metric.name}{total}{seconds}"

    @property
    def unit(self) -> str:
        """The unit of durations, as Grafana has it."""
        return "s" if self.seconds else "ms"


WHOLE: Final = Profile()
"""What `prometheus_runtime` makes."""
PLAIN: Final = Profile(total=False, seconds=False)
"""What the SDK makes by default."""

SDK_REQUESTS: Final = SdkMetric("temporal_request", "counter", (OPERATION,))
SDK_REQUEST_FAILURES: Final = SdkMetric("temporal_request_failure", "counter", (OPERATION,), from_trouble=True)
SDK_REQUEST_LATENCY: Final = SdkMetric("temporal_request_latency", "histogram", (OPERATION,))
SDK_LONG_REQUEST_FAILURES: Final = SdkMetric(
    "temporal_long_request_failure", "counter", (OPERATION,), from_trouble=True
)
SDK_POLLERS: Final = SdkMetric("temporal_num_pollers", "gauge", (TASK_QUEUE, POLLER_TYPE))
SDK_SLOTS_FREE: Final = SdkMetric("temporal_worker_task_slots_available", "gauge", (TASK_QUEUE, WORKER_TYPE))
SDK_SLOTS_USED: Final = SdkMetric("temporal_worker_task_slots_used", "gauge", (TASK_QUEUE, WORKER_TYPE))
SDK_WORKER_STARTS: Final = SdkMetric("temporal_worker_start", "counter")
SDK_CACHE_SIZE: Final = SdkMetric("temporal_sticky_cache_size", "gauge")
SDK_CACHE_HITS: Final = SdkMetric("temporal_sticky_cache_hit", "counter")
SDK_CACHE_MISSES: Final = SdkMetric("temporal_sticky_cache_miss", "counter", from_trouble=True)
SDK_EVICTIONS: Final = SdkMetric("temporal_sticky_cache_total_forced_eviction", "counter", from_trouble=True)
SDK_TASK_SCHEDULE_TO_START: Final = SdkMetric("temporal_workflow_task_schedule_to_start_latency", "histogram")
SDK_TASK_EXECUTION: Final = SdkMetric(
    "temporal_workflow_task_execution_latency", "histogram", (TASK_QUEUE, WORKFLOW_TYPE)
)
SDK_TASK_REPLAY: Final = SdkMetric("temporal_workflow_task_replay_latency", "histogram", (TASK_QUEUE, WORKFLOW_TYPE))
SDK_TASK_FAILURES: Final = SdkMetric(
    "temporal_workflow_task_execution_failed", "counter", (TASK_QUEUE, FAILURE_REASON), from_trouble=True
)
SDK_ACTIVITY_SCHEDULE_TO_START: Final = SdkMetric("temporal_activity_schedule_to_start_latency", "histogram")
SDK_ACTIVITY_EXECUTION: Final = SdkMetric("temporal_activity_execution_latency", "histogram")

SDK_METRICS: Final = tuple(value for value in list(globals().values()) if isinstance(value, SdkMetric))
"""All that dashboards use of the SDK."""

__all__ = [name for name in list(globals()) if name.startswith("SDK_")]
