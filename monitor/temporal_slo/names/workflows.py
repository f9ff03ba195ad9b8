"""What the exporter tells of workflow runs."""

from typing import Final

from temporal_slo.names.labels import (
    FAILURE_TYPE,
    NAMESPACE,
    OUTCOME,
    PREFIX,
    SLO,
    STATUS,
    TASK_QUEUE,
    WORKFLOW_TYPE,
    Family,
)

WORKFLOWS_STARTED: Final = Family(
    f"{PREFIX}_workflows_started",
    "counter",
    "Workflow runs that started since the ledger began, each counted once, when it is first seen open or closed.",
    (NAMESPACE, WORKFLOW_TYPE, TASK_QUEUE),
)
WORKFLOWS_CLOSED: Final = Family(
    f"{PREFIX}_workflows_closed",
    "counter",
    "Workflow runs that closed since the ledger began, each counted once, as of the last poll.",
    (NAMESPACE, WORKFLOW_TYPE, TASK_QUEUE, STATUS, OUTCOME),
)
WORKFLOW_FAILURES: Final = Family(
    f"{PREFIX}_workflow_failures",
    "counter",
    "Failed, timed out, retried, terminated and reset workflow runs, by the type of the innermost cause, "
    "as their close event tells it.",
    (NAMESPACE, WORKFLOW_TYPE, STATUS, FAILURE_TYPE),
)
WORKFLOW_DURATION: Final = Family(
    f"{PREFIX}_workflow_duration_seconds",
    "histogram",
    "Time from execution to close of the workflow runs that closed since the ledger began, as of the last poll.",
    (NAMESPACE, WORKFLOW_TYPE, STATUS, OUTCOME),
    "seconds",
)
WORKFLOWS_RUNNING: Final = Family(
    f"{PREFIX}_workflows_running",
    "gauge",
    "Workflow runs that were open at the last complete poll.",
    (NAMESPACE, WORKFLOW_TYPE, TASK_QUEUE),
)
WORKFLOW_OLDEST_RUNNING_AGE: Final = Family(
    f"{PREFIX}_workflow_oldest_running_age_seconds",
    "gauge",
    "Age of the workflow run that was open the longest at the last complete poll, counted from when it was due "
    "to execute; 0 if none was open.",
    (NAMESPACE, WORKFLOW_TYPE),
    "seconds",
)
WORKFLOWS_OVERDUE: Final = Family(
    f"{PREFIX}_workflows_overdue",
    "gauge",
    "Workflow runs that were open for longer than the SLO's max_age at the last complete poll.",
    (NAMESPACE, WORKFLOW_TYPE, SLO),
)
LATENCY_MEASURED_SINCE: Final = Family(
    f"{PREFIX}_latency_measured_since_timestamp_seconds",
    "gauge",
    "Close time from which the threshold of a latency SLO is measured, in Unix time: runs that closed before were "
    "counted when it was another, and do not tell how many met it; 0 if that is true of none.",
    (NAMESPACE, SLO),
    "seconds",
)
OBSERVED_MINUTES: Final = Family(
    f"{PREFIX}_observed_minutes",
    "counter",
    "Minutes that were judged for an SLO that counts overdue minutes, a minute or two after their end; those in which "
    "the exporter was away are judged once it has read what closed in them.",
    (NAMESPACE, SLO),
)
OVERDUE_MINUTES: Final = Family(
    f"{PREFIX}_overdue_minutes",
    "counter",
    "Those of the observed minutes in which more runs than the SLO tolerates were open for longer than its max_age.",
    (NAMESPACE, SLO),
)
PERIOD_GOOD_EVENTS: Final = Family(
    f"{PREFIX}_period_good_events",
    "gauge",
    "Good events of the calendar month so far, for an SLO whose period is that; read from the ledger once a minute.",
    (NAMESPACE, SLO),
)
PERIOD_BAD_EVENTS: Final = Family(
    f"{PREFIX}_period_bad_events",
    "gauge",
    "Bad events of the calendar month so far, beside the good ones.",
    (NAMESPACE, SLO),
)
WORKFLOWS_PAUSED: Final = Family(
    f"{PREFIX}_workflows_paused",
    "gauge",
    "Open workflow runs that were paused when all open ones were last listed, which happens every ten minutes.",
    (NAMESPACE, WORKFLOW_TYPE),
)
