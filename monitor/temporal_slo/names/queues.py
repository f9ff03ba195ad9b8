"""What the exporter tells of task queues and of workflow tasks that cannot go on."""

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
    "Tasks that wait in the task queue for a worker, as the server estimates them; those that wait for the one worker "
    "which has the workflow in its cache are not among them.",
    (NAMESPACE, TASK_QUEUE, TASK_TYPE),
)
TASK_QUEUE_BACKLOG_AGE: Final = Family(
    f"{PREFIX}_task_queue_backlog_age_seconds",
    "gauge",
    "How long the oldest task of the backlog has waited, as the server estimates it; 0 if none waits.",
    (NAMESPACE, TASK_QUEUE, TASK_TYPE),
    "seconds",
)
TASK_QUEUE_ADDED: Final = Family(
    f"{PREFIX}_task_queue_added_tasks_per_second",
    "gauge",
    "Tasks a second that came to the task queue over the server's last half minute or so.",
    (NAMESPACE, TASK_QUEUE, TASK_TYPE),
)
TASK_QUEUE_DISPATCHED: Final = Family(
    f"{PREFIX}_task_queue_dispatched_tasks_per_second",
    "gauge",
    "Tasks a second that workers took from the task queue over the server's last half minute or so.",
    (NAMESPACE, TASK_QUEUE, TASK_TYPE),
)
TASK_QUEUE_POLLERS: Final = Family(
    f"{PREFIX}_task_queue_pollers",
    "gauge",
    "Workers that have asked the task queue for tasks in the last five minutes: one that ended is counted until then.",
    (NAMESPACE, TASK_QUEUE, TASK_TYPE),
)
TASK_QUEUE_LAST_POLL: Final = Family(
    f"{PREFIX}_task_queue_last_poll_timestamp_seconds",
    "gauge",
    "When a worker last asked the task queue for tasks, in Unix time; one that waits asks once a minute. Absent if "
    "none did in the last five minutes.",
    (NAMESPACE, TASK_QUEUE, TASK_TYPE),
    "seconds",
)
WORKFLOWS_WITH_TASK_PROBLEMS: Final = Family(
    f"{PREFIX}_workflows_with_task_problems",
    "gauge",
    "Running workflow runs that are stuck now: their workflow tasks fail or time out again and again, for this cause.",
    (NAMESPACE, WORKFLOW_TYPE, CATEGORY, CAUSE),
)
EXPORTER_TASK_QUEUES_OVER_LIMIT: Final = Family(
    f"{PREFIX}_exporter_task_queues_over_limit",
    "gauge",
    "Task queues that are known but not watched, because there are too many.",
    (NAMESPACE,),
)
EXPORTER_TASK_QUEUE_REQUESTS: Final = Family(
    f"{PREFIX}_exporter_task_queue_requests",
    "counter",
    "Requests about task queues sent to Temporal, by API and by the gRPC code of the answer.",
    (NAMESPACE, API, CODE),
)
EXPORTER_TASK_PROBLEMS_TRUNCATED: Final = Family(
    f"{PREFIX}_exporter_task_problems_truncated",
    "gauge",
    "1 if more workflow runs had task problems than are read at once, so that their figures are too low.",
    (NAMESPACE,),
)
EXPORTER_BOUNDED_TASK_PROBLEMS: Final = Family(
    f"{PREFIX}_exporter_bounded_task_problems",
    "gauge",
    "Workflow runs with task problems that are counted with `other` for workflow type and cause, because there are "
    "too many of these.",
    (NAMESPACE,),
)
