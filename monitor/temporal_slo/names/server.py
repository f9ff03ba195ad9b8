"""Metrics of the Temporal server itself, as server 1.32 exposes them; all its services are to be scraped.

The label `namespace` of them is Temporal's, with all but letters, digits and `_` turned into `_`; a Kubernetes scrape
renames it to `exported_namespace`. So nothing here is chosen by namespace.
"""

from dataclasses import dataclass
from typing import Final, Literal

SERVICE_NAME: Final = "service_name"
OPERATION: Final = "operation"
ERROR_TYPE: Final = "error_type"
TASK_CATEGORY: Final = "task_type"
FRONTEND: Final = "frontend"

POLLS: Final = "Poll.*|GetTaskQueueUserData"
"""Operations that wait for work: most of all requests, and none of a customer."""

CLOSED_IS_SHOWN: Final = "VisibilityTaskCloseExecution"
"""The server's own task that shows a closed run in visibility."""


@dataclass(frozen=True, slots=True)
class ServerMetric:
    """A metric of the server.

    Attributes:
        name: As it is declared in the exposition; a histogram's series end in `_bucket`, `_sum` and `_count`.
        type: Its Prometheus type.
        labels: Those that we use.
        from_trouble: Whether it appears only when something has gone wrong.
    """

    name: str
    type: Literal["counter", "gauge", "histogram"]
    labels: tuple[str, ...] = (SERVICE_NAME,)
    from_trouble: bool = False


SERVICE_REQUESTS: Final = ServerMetric("service_requests", "counter", (SERVICE_NAME, OPERATION))
SERVICE_ERRORS: Final = ServerMetric("service_errors", "counter", (SERVICE_NAME, OPERATION), from_trouble=True)
"""Those that are the server's own fault: not what a caller did wrong, nor limits."""
SERVICE_ERRORS_BY_TYPE: Final = ServerMetric(
    "service_error_with_type", "counter", (SERVICE_NAME, OPERATION, ERROR_TYPE), from_trouble=True
)
SERVICE_LATENCY: Final = ServerMetric("service_latency", "histogram", (SERVICE_NAME, OPERATION))
PENDING_REQUESTS: Final = ServerMetric("service_pending_requests", "gauge")
PERSISTENCE_REQUESTS: Final = ServerMetric("persistence_requests", "counter", (SERVICE_NAME, OPERATION))
PERSISTENCE_ERRORS: Final = ServerMetric(
    "persistence_error_with_type", "counter", (SERVICE_NAME, OPERATION, ERROR_TYPE), from_trouble=True
)
PERSISTENCE_LATENCY: Final = ServerMetric("persistence_latency", "histogram", (SERVICE_NAME, OPERATION))
VISIBILITY_REQUESTS: Final = ServerMetric("visibility_persistence_requests", "counter", (SERVICE_NAME, OPERATION))
VISIBILITY_LATENCY: Final = ServerMetric("visibility_persistence_latency", "histogram", (SERVICE_NAME, OPERATION))
TASK_REQUESTS: Final = ServerMetric("task_requests", "counter", (OPERATION, TASK_CATEGORY))
TASK_ERRORS: Final = ServerMetric("task_errors", "counter", (TASK_CATEGORY,), from_trouble=True)
TASK_LATENCY: Final = ServerMetric("task_latency_queue", "histogram", (OPERATION, TASK_CATEGORY))
"""From the moment a task is made to the one when it is done, retries and all."""
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
GOROUTINES: Final = ServerMetric("num_goroutines", "gauge")
MEMORY: Final = ServerMetric("memory_heapinuse", "gauge")
BUILD: Final = ServerMetric("build_information", "gauge", (SERVICE_NAME, "build_version"))

SERVER_METRICS: Final = tuple(value for value in list(globals().values()) if isinstance(value, ServerMetric))
"""All that rules and dashboards use of the server."""
