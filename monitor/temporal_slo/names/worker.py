"""What workers expose through the SDK's own meter."""

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
    "Workflow runs that this worker ended, each counted once, when the server has accepted the end; "
    "time-outs and terminations never reach a worker.",
    (NAMESPACE, WORKFLOW_TYPE, TASK_QUEUE, CHILD, STATUS, OUTCOME, FAILURE_TYPE),
)
WORKFLOW_WITHIN_OBJECTIVE: Final = Family(
    f"{PREFIX}_workflow_within_objective",
    "counter",
    "Workflows that completed, and not with a bad outcome, within the latency objective of the SLO.",
    (NAMESPACE, WORKFLOW_TYPE, TASK_QUEUE, CHILD, SLO),
)
WORKFLOW_OBJECTIVE: Final = Family(
    f"{PREFIX}_workflow_objective",
    "counter",
    "Workflows that count for the latency objective of the SLO: completed or failed for good, "
    "with no excluded or unknown outcome.",
    (NAMESPACE, WORKFLOW_TYPE, TASK_QUEUE, CHILD, SLO),
)
WORKFLOW_LATENCY: Final = Family(
    f"{PREFIX}_workflow_latency_seconds",
    "histogram",
    "Time from the start of a workflow to its end, over all its runs if it continued as new; "
    "each attempt and each run of a schedule is timed on its own, without the wait before it.",
    (NAMESPACE, WORKFLOW_TYPE, TASK_QUEUE, CHILD, STATUS),
    "seconds",
)
WORKFLOW_TASK_FAILURES: Final = Family(
    f"{PREFIX}_workflow_task_failures",
    "counter",
    "Workflow tasks that failed in this worker by a bug, non-determinism or a deadlock; the workflow goes on trying. "
    "One that fails before it reaches the workflow's code is perhaps not seen.",
    (NAMESPACE, WORKFLOW_TYPE, TASK_QUEUE, FAILURE_TYPE),
)
ACTIVITY_ATTEMPTS: Final = Family(
    f"{PREFIX}_activity_attempts",
    "counter",
    "Attempts of activities that ran in this worker, by how they ended here; "
    "one that ran past its time-out still counts as it ended.",
    (NAMESPACE, WORKFLOW_TYPE, TASK_QUEUE, ACTIVITY_TYPE, OUTCOME, FAILURE_TYPE),
)
ACTIVITY_ENDS: Final = Family(
    f"{PREFIX}_activity_ends",
    "counter",
    "Activities that ended for good, after all retries, as the workflow saw it; counted once the server has accepted "
    "the workflow task that saw it.",
    (NAMESPACE, WORKFLOW_TYPE, TASK_QUEUE, ACTIVITY_TYPE, OUTCOME, FAILURE_TYPE),
)
ACTIVITY_SCHEDULE_TO_START: Final = Family(
    f"{PREFIX}_activity_schedule_to_start_seconds",
    "histogram",
    "Time that first attempts of activities waited for this worker; local activities do not wait.",
    (NAMESPACE, WORKFLOW_TYPE, TASK_QUEUE, ACTIVITY_TYPE),
    "seconds",
)
WORKER_INFO: Final = Family(
    f"{PREFIX}_worker_info",
    "gauge",
    "Always 1, once a worker runs; the labels tell whether workflow ends are counted exactly or only replay-safe, "
    "and why.",
    (NAMESPACE, TASK_QUEUE, COUNTING, REASON, VERSION),
)
WORKER_ERRORS: Final = Family(
    f"{PREFIX}_worker_errors",
    "counter",
    "Errors of the worker library, or of a function that was given to it; they never reach a workflow or an activity.",
    (NAMESPACE, HOOK),
)
WORKER_BOUNDED: Final = Family(
    f"{PREFIX}_worker_bounded_labels",
    "counter",
    "Events that were counted with `other` in this label, because the metric has too many values of it.",
    (NAMESPACE, LABEL),
)
