"""Metrics of the worker library, which workers expose through the SDK's meter."""

from typing import Final

from temporal_slo.names.labels import (
    ACTIVITY_TYPE,
    CHILD,
    COUNTING,
    FAILURE_TYPE,
    HOOK,
    LABEL,
    NAMESPACE,
    OUTCOME,
    PREFIX,
    REASON,
    SLO,
    STATUS,
    TASK_QUEUE,
    VERSION,
    WORKFLOW_TYPE,
    Family,
)

WORKFLOW_ENDS: Final = Family(
    f"{PREFIX}_workflow_ends",
    "counter",
    "Workflow runs ended by this worker, each counted once, when the server has accepted the end. "
    "Timeouts and terminations never reach a worker and are not included.",
    (NAMESPACE, WORKFLOW_TYPE, TASK_QUEUE, CHILD, STATUS, OUTCOME, FAILURE_TYPE),
)
WORKFLOW_WITHIN_OBJECTIVE: Final = Family(
    f"{PREFIX}_workflow_within_objective",
    "counter",
    "Workflows that completed within the latency threshold of the SLO, without a bad outcome.",
    (NAMESPACE, WORKFLOW_TYPE, TASK_QUEUE, CHILD, SLO),
)
WORKFLOW_OBJECTIVE: Final = Family(
    f"{PREFIX}_workflow_objective",
    "counter",
    "Workflows that count towards the latency objective of the SLO: completed, or failed finally (no retry "
    "follows), except those with an excluded or unknown outcome.",
    (NAMESPACE, WORKFLOW_TYPE, TASK_QUEUE, CHILD, SLO),
)
WORKFLOW_LATENCY: Final = Family(
    f"{PREFIX}_workflow_latency_seconds",
    "histogram",
    "Time from the start of a workflow to its end, across continue-as-new. Each retry attempt and each cron run is "
    "measured separately, without the wait before it.",
    (NAMESPACE, WORKFLOW_TYPE, TASK_QUEUE, CHILD, STATUS),
    "seconds",
)
WORKFLOW_TASK_FAILURES: Final = Family(
    f"{PREFIX}_workflow_task_failures",
    "counter",
    "Workflow tasks that failed in this worker because of a bug, non-determinism or a deadlock; the server retries "
    "them. Tasks that fail before they reach workflow code may be missing.",
    (NAMESPACE, WORKFLOW_TYPE, TASK_QUEUE, FAILURE_TYPE),
)
ACTIVITY_ATTEMPTS: Final = Family(
    f"{PREFIX}_activity_attempts",
    "counter",
    "Activity attempts executed by this worker, by how they ended here, "
    "even if the server had already timed the attempt out.",
    (NAMESPACE, WORKFLOW_TYPE, TASK_QUEUE, ACTIVITY_TYPE, OUTCOME, FAILURE_TYPE),
)
ACTIVITY_ENDS: Final = Family(
    f"{PREFIX}_activity_ends",
    "counter",
    "Activities that ended, after all retries, by the result that the workflow received; counted when the server has "
    "accepted the workflow task that received it.",
    (NAMESPACE, WORKFLOW_TYPE, TASK_QUEUE, ACTIVITY_TYPE, OUTCOME, FAILURE_TYPE),
)
ACTIVITY_SCHEDULE_TO_START: Final = Family(
    f"{PREFIX}_activity_schedule_to_start_seconds",
    "histogram",
    "Schedule-to-start latency of first activity attempts; local activities are not included.",
    (NAMESPACE, WORKFLOW_TYPE, TASK_QUEUE, ACTIVITY_TYPE),
    "seconds",
)
WORKER_INFO: Final = Family(
    f"{PREFIX}_worker_info",
    "gauge",
    "Constant 1 for each running worker. `counting` shows whether workflow ends are counted exactly, or replay-safe "
    "only (a final workflow task that is executed again counts again); `reason` shows why.",
    (NAMESPACE, TASK_QUEUE, COUNTING, REASON, VERSION),
)
WORKER_ERRORS: Final = Family(
    f"{PREFIX}_worker_errors",
    "counter",
    "Errors in the worker library or in a function passed to it; they never affect workflows or activities.",
    (NAMESPACE, HOOK),
)
WORKER_VALUES_OVER_LIMIT: Final = Family(
    f"{PREFIX}_worker_label_values_over_limit",
    "counter",
    "Events counted with the value `other` in this label, because the metric has too many values of it.",
    (NAMESPACE, LABEL),
)
