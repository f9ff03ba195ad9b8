"""Metrics of workflow runs, exposed by the exporter."""

from typing import Final

from temporal_slo.names.labels import (
    FAILURE_TYPE,
    NAMESPACE,
    OUTCOME,
    PREFIX,
    SLO,
    STATUS,
    STATUS_GROUP,
    TASK_QUEUE,
    WORKFLOW_TYPE,
    Family,
)

WORKFLOWS_STARTED: Final = Family(
    f"{PREFIX}_workflows_started",
    "counter",
    "Workflow runs started since the ledger was created, each counted once, when first seen open or closed.",
    (NAMESPACE, WORKFLOW_TYPE, TASK_QUEUE),
)
WORKFLOWS_CLOSED: Final = Family(
    f"{PREFIX}_workflows_closed",
    "counter",
    "Workflow runs closed since the ledger was created, each counted once, as of the last poll.",
    (NAMESPACE, WORKFLOW_TYPE, TASK_QUEUE, STATUS, OUTCOME),
)
WORKFLOWS_SEEN_CLOSED: Final = Family(
    f"{PREFIX}_workflows_seen_closed",
    "counter",
    "Workflow runs seen closed in visibility since the ledger was created, each counted once: those that are "
    "classified, and those that wait for their close event.",
    (NAMESPACE, WORKFLOW_TYPE, TASK_QUEUE, STATUS_GROUP),
)
WORKFLOWS_PENDING: Final = Family(
    f"{PREFIX}_workflows_pending",
    "gauge",
    "Closed workflow runs that wait for their close event to be classified, as of the last poll.",
    (NAMESPACE, WORKFLOW_TYPE, TASK_QUEUE, STATUS_GROUP),
)
WORKFLOW_FAILURES: Final = Family(
    f"{PREFIX}_workflow_failures",
    "counter",
    "Failed, timed-out, retried, terminated and reset workflow runs, by the type of the innermost cause in their "
    "close event.",
    (NAMESPACE, WORKFLOW_TYPE, STATUS, FAILURE_TYPE),
)
WORKFLOW_DURATION: Final = Family(
    f"{PREFIX}_workflow_duration_seconds",
    "histogram",
    "Duration of the workflow executions closed since the ledger was created, from the scheduled start of the first "
    "run of a chain of continue-as-new and workflow retries to the close of the last, as of the last poll. Runs that "
    "are continued as new, retried or reset count from their own scheduled start.",
    (NAMESPACE, WORKFLOW_TYPE, STATUS, OUTCOME),
    "seconds",
)
RUN_DURATION: Final = Family(
    f"{PREFIX}_workflow_run_duration_seconds",
    "histogram",
    "Time from the scheduled start of a workflow run to its close, of the runs closed since the ledger was created, as "
    "of the last poll; only of workflow types with a latency SLO that measures runs.",
    (NAMESPACE, WORKFLOW_TYPE, STATUS, OUTCOME),
    "seconds",
)
WORKFLOWS_RUNNING: Final = Family(
    f"{PREFIX}_workflows_running",
    "gauge",
    "Open workflow runs, as of the last successful poll.",
    (NAMESPACE, WORKFLOW_TYPE, TASK_QUEUE),
)
WORKFLOW_OLDEST_RUNNING_AGE: Final = Family(
    f"{PREFIX}_workflow_oldest_running_age_seconds",
    "gauge",
    "Age of the oldest open workflow run since its scheduled start, as of the last successful poll; 0 if none is open.",
    (NAMESPACE, WORKFLOW_TYPE),
    "seconds",
)
WORKFLOWS_OVERDUE: Final = Family(
    f"{PREFIX}_workflows_overdue",
    "gauge",
    "Open workflow runs whose execution, or the run itself with `measure: run`, is open for longer than the max_age of "
    "the SLO, as of the last successful poll.",
    (NAMESPACE, WORKFLOW_TYPE, SLO),
)
LATENCY_MEASURED_SINCE: Final = Family(
    f"{PREFIX}_latency_measured_since_timestamp_seconds",
    "gauge",
    "Close time, in Unix time, before which runs have no usable duration for the current latency threshold of the "
    "SLO; 0 if all runs have one.",
    (NAMESPACE, SLO),
    "seconds",
)
OBSERVED_MINUTES: Final = Family(
    f"{PREFIX}_observed_minutes",
    "counter",
    "Minutes evaluated for an SLO on overdue runs, one or two minutes after their end; minutes in which the exporter "
    "was down are evaluated once their closed runs were read.",
    (NAMESPACE, SLO),
)
OVERDUE_MINUTES: Final = Family(
    f"{PREFIX}_overdue_minutes",
    "counter",
    "Evaluated minutes in which more runs than the SLO tolerates were open for longer than its max_age.",
    (NAMESPACE, SLO),
)
PERIOD_GOOD_EVENTS: Final = Family(
    f"{PREFIX}_period_good_events",
    "gauge",
    "Good events of the calendar month to date, for an SLO whose period is a calendar month; read from the ledger "
    "once a minute.",
    (NAMESPACE, SLO),
)
PERIOD_BAD_EVENTS: Final = Family(
    f"{PREFIX}_period_bad_events",
    "gauge",
    "Bad events of the calendar month to date, for an SLO whose period is a calendar month; read from the ledger once "
    "a minute.",
    (NAMESPACE, SLO),
)
WORKFLOWS_PAUSED: Final = Family(
    f"{PREFIX}_workflows_paused",
    "gauge",
    "Paused open workflow runs, as of the last full listing, every ten minutes.",
    (NAMESPACE, WORKFLOW_TYPE),
)
