"""Metrics of the Temporal server itself, as server 1.32 exposes them; scrape all of its services.

No query selects by namespace. The label `namespace` of these metrics is the Temporal namespace with every character
but letters, digits and `_` replaced by `_`, and a Kubernetes scrape renames the label to `exported_namespace`.
"""

from dataclasses import dataclass
from typing import Final, Literal

SERVICE_NAME: Final = "service_name"
OPERATION: Final = "operation"
ERROR_TYPE: Final = "error_type"
TASK_CATEGORY: Final = "task_type"
FRONTEND: Final = "frontend"

POLLS: Final = "Poll.*|GetTaskQueueUserData"
"""Regular expression of long polls: most of all requests, but none on behalf of a customer."""

VISIBILITY_CLOSE_TASK: Final = "VisibilityTaskCloseExecution"
"""Server task that makes a closed run visible."""


@dataclass(frozen=True, slots=True)
class ServerMetric:
    """A metric of the server.

    Attributes:
        name: As in the exposition; for a histogram without `_bucket`, `_sum` or `_count`.
        type: Prometheus type.
        labels: Labels that rules and dashboards use.
        absent_when_healthy: Whether the series appears only after an error.
    """

    name: str
    type: Literal["counter", "gauge", "histogram"]
    labels: tuple[str, ...] = (SERVICE_NAME,)
    absent_when_healthy: bool = False


SERVICE_REQUESTS: Final = ServerMetric("service_requests", "counter", (SERVICE_NAME, OPERATION))
SERVICE_ERRORS: Final = ServerMetric("service_errors", "counter", (SERVICE_NAME, OPERATION), absent_when_healthy=True)
"""Errors caused by the server, without callers' mistakes and rate limits."""
SERVICE_ERRORS_BY_TYPE: Final = ServerMetric(
    "service_error_with_type", "counter", (SERVICE_NAME, OPERATION, ERROR_TYPE), absent_when_healthy=True
)
SERVICE_LATENCY: Final = ServerMetric("service_latency", "histogram", (SERVICE_NAME, OPERATION))
PERSISTENCE_REQUESTS: Final = ServerMetric("persistence_requests", "counter", (SERVICE_NAME, OPERATION))
PERSISTENCE_ERRORS: Final = ServerMetric(
    "persistence_error_with_type", "counter", (SERVICE_NAME, OPERATION, ERROR_TYPE), absent_when_healthy=True
)
PERSISTENCE_LATENCY: Final = ServerMetric("persistence_latency", "histogram", (SERVICE_NAME, OPERATION))
VISIBILITY_REQUESTS: Final = ServerMetric("visibility_persistence_requests", "counter", (SERVICE_NAME, OPERATION))
VISIBILITY_LATENCY: Final = ServerMetric("visibility_persistence_latency", "histogram", (SERVICE_NAME, OPERATION))
TASK_REQUESTS: Final = ServerMetric("task_requests", "counter", (OPERATION, TASK_CATEGORY))
TASK_ERRORS: Final = ServerMetric("task_errors", "counter", (TASK_CATEGORY,), absent_when_healthy=True)
TASK_LATENCY: Final = ServerMetric("task_latency_queue", "histogram", (OPERATION, TASK_CATEGORY))
"""From the creation of a task to its completion, including retries."""
TASK_ATTEMPTS: Final = ServerMetric("task_attempt", "histogram", (OPERATION, TASK_CATEGORY))
SHARDS: Final = ServerMetric("numshards_gauge", "gauge")
SHARDS_ACQUIRED: Final = ServerMetric("sharditem_created_count", "counter")
SHARD_LATENCY: Final = ServerMetric("sharditem_acquisition_latency", "histogram")
DISPATCH_LATENCY: Final = ServerMetric("task_dispatch_latency", "histogram")
SYNC_MATCHES: Final = ServerMetric("poll_success_sync", "counter")
MATCHES: Final = ServerMetric("poll_success", "counter")
CACHE_REQUESTS: Final = ServerMetric("cache_requests", "counter", (SERVICE_NAME, OPERATION))
CACHE_MISSES: Final = ServerMetric("cache_miss", "counter", (SERVICE_NAME, OPERATION))
RESTARTS: Final = ServerMetric("restarts", "counter")
MEMBERSHIP: Final = ServerMetric("membership_changed_count", "counter")
MEMORY: Final = ServerMetric("memory_heapinuse", "gauge")
BUILD: Final = ServerMetric("build_information", "gauge", (SERVICE_NAME, "build_version"))

SERVER_METRICS: Final = tuple(value for value in list(globals().values()) if isinstance(value, ServerMetric))
"""Every server metric that rules and dashboards query."""
