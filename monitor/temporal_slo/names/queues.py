"""Metrics of task queues and of stuck workflow tasks, exposed by the exporter."""

from typing import Final

from temporal_slo.names.labels import (
    API,
    CATEGORY,
    CAUSE,
    CODE,
    NAMESPACE,
    PREFIX,
    TASK_QUEUE,
    TASK_TYPE,
    WORKFLOW_TYPE,
    Family,
)

TASK_QUEUE_BACKLOG: Final = Family(
    f"{PREFIX}_task_queue_backlog",
    "gauge",
    "Approximate number of tasks waiting in the task queue for a worker, as estimated by the server; without the "
    "tasks in sticky queues.",
    (NAMESPACE, TASK_QUEUE, TASK_TYPE),
)
TASK_QUEUE_BACKLOG_AGE: Final = Family(
    f"{PREFIX}_task_queue_backlog_age_seconds",
    "gauge",
    "Approximate age of the oldest task in the backlog, as estimated by the server; 0 if the backlog is empty.",
    (NAMESPACE, TASK_QUEUE, TASK_TYPE),
    "seconds",
)
TASK_QUEUE_ADDED: Final = Family(
    f"{PREFIX}_task_queue_added_tasks_per_second",
    "gauge",
    "Tasks added to the task queue per second, averaged by the server over about the last 30 seconds.",
    (NAMESPACE, TASK_QUEUE, TASK_TYPE),
)
TASK_QUEUE_DISPATCHED: Final = Family(
    f"{PREFIX}_task_queue_dispatched_tasks_per_second",
    "gauge",
    "Tasks dispatched to workers per second, averaged by the server over about the last 30 seconds.",
    (NAMESPACE, TASK_QUEUE, TASK_TYPE),
)
TASK_QUEUE_POLLERS: Final = Family(
    f"{PREFIX}_task_queue_pollers",
    "gauge",
    "Workers that polled the task queue in the last five minutes, including workers that have stopped since.",
    (NAMESPACE, TASK_QUEUE, TASK_TYPE),
)
TASK_QUEUE_LAST_POLL: Final = Family(
    f"{PREFIX}_task_queue_last_poll_timestamp_seconds",
    "gauge",
    "Last poll of the task queue by a worker, in Unix time; an idle worker polls once a minute. Absent without a poll "
    "in the last five minutes.",
    (NAMESPACE, TASK_QUEUE, TASK_TYPE),
    "seconds",
)
WORKFLOWS_WITH_TASK_PROBLEMS: Final = Family(
    f"{PREFIX}_workflows_with_task_problems",
    "gauge",
    "Running workflow runs that are stuck, because their workflow tasks repeatedly fail or time out for this cause.",
    (NAMESPACE, WORKFLOW_TYPE, CATEGORY, CAUSE),
)
EXPORTER_TASK_QUEUES_OVER_LIMIT: Final = Family(
    f"{PREFIX}_exporter_task_queues_over_limit",
    "gauge",
    "Known task queues that are not monitored, because the limit of task queues is reached.",
    (NAMESPACE,),
)
EXPORTER_TASK_QUEUE_REQUESTS: Final = Family(
    f"{PREFIX}_exporter_task_queue_requests",
    "counter",
    "Task queue requests sent to Temporal, by API and gRPC status code.",
    (NAMESPACE, API, CODE),
)
EXPORTER_TASK_PROBLEMS_TRUNCATED: Final = Family(
    f"{PREFIX}_exporter_task_problems_truncated",
    "gauge",
    "1 if more workflow runs have task problems than one read covers, so that their counts are too low.",
    (NAMESPACE,),
)
EXPORTER_TASK_PROBLEMS_OVER_LIMIT: Final = Family(
    f"{PREFIX}_exporter_task_problems_over_limit",
    "gauge",
    "Workflow runs with task problems counted with workflow type and cause `other`, because the limit of distinct "
    "task problems is reached.",
    (NAMESPACE,),
)
