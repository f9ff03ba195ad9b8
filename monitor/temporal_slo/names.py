"""Every metric and label: name, type, unit, help. Whoever exposes, queries or documents one reads it here."""

from dataclasses import dataclass
from typing import Final, Literal

PREFIX: Final = "temporal_slo"

NAMESPACE: Final = "temporal_namespace"
WORKFLOW_TYPE: Final = "workflow_type"
TASK_QUEUE: Final = "task_queue"
STATUS: Final = "status"
OUTCOME: Final = "outcome"
API: Final = "api"
CODE: Final = "code"
FAILURE_TYPE: Final = "failure_type"
BUDGET: Final = "budget"
SLO: Final = "slo"
VERSION: Final = "version"
CHILD: Final = "child"
ACTIVITY_TYPE: Final = "activity_type"
COUNTING: Final = "counting"
REASON: Final = "reason"
HOOK: Final = "hook"
LABEL: Final = "label"

OUTCOME_GOOD: Final = "good"
OUTCOME_BAD: Final = "bad"
OUTCOME_NONE: Final = "none"
"""The outcome of a run whose workflow type has no business outcome in the spec."""


@dataclass(frozen=True, slots=True)
class Family:
    """A metric family as it is declared once and read by all.

    Attributes:
        name: Without the `_total` that a counter gets in the exposition.
        type: Its Prometheus type.
        help: One sentence, as `# HELP` says it.
        labels: Label names in the order of the exposition.
        unit: The base unit, or empty for a count.
    """

    name: str
    type: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...]
    unit: str = ""

    @property
    def sample(self) -> str:
        """The name to query: with `_total` for a counter."""
        return f"{self.name}_total" if self.type == "counter" else self.name


def _declared() -> tuple[Family, ...]:
    return tuple(value for value in globals().values() if isinstance(value, Family))


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
WORKFLOWS_PAUSED: Final = Family(
    f"{PREFIX}_workflows_paused",
    "gauge",
    "Open workflow runs that were paused when all open ones were last listed, which happens every ten minutes.",
    (NAMESPACE, WORKFLOW_TYPE),
)
EXPORTER_UP: Final = Family(
    f"{PREFIX}_exporter_up",
    "gauge",
    "1 if the last poll of visibility was complete, 0 if it failed and the other figures are the last good ones.",
    (NAMESPACE,),
)
EXPORTER_LAST_SUCCESS: Final = Family(
    f"{PREFIX}_exporter_last_success_timestamp_seconds",
    "gauge",
    "When the last complete poll of visibility ended, in Unix time; absent before the first.",
    (NAMESPACE,),
    "seconds",
)
EXPORTER_POLL_DURATION: Final = Family(
    f"{PREFIX}_exporter_poll_duration_seconds",
    "gauge",
    "How long the last poll of visibility took, complete or not; absent before the first.",
    (NAMESPACE,),
    "seconds",
)
EXPORTER_COVERED_UNTIL: Final = Family(
    f"{PREFIX}_exporter_covered_until_timestamp_seconds",
    "gauge",
    "Close time of the newest workflow run that was read, in Unix time; what is missing below it is uncovered.",
    (NAMESPACE,),
    "seconds",
)
EXPORTER_UNCOVERED: Final = Family(
    f"{PREFIX}_exporter_uncovered_seconds",
    "gauge",
    "Span of close times that was passed over and is still to be read: above 0 while the exporter catches up.",
    (NAMESPACE,),
    "seconds",
)
EXPORTER_LATE_ROWS: Final = Family(
    f"{PREFIX}_exporter_late_rows",
    "counter",
    "Closed workflow runs that became visible only after later ones had been read.",
    (NAMESPACE,),
)
EXPORTER_VANISHED: Final = Family(
    f"{PREFIX}_exporter_vanished_runs",
    "counter",
    "Open workflow runs that are no longer listed and were never seen closed: they were deleted.",
    (NAMESPACE,),
)
EXPORTER_RECONCILED: Final = Family(
    f"{PREFIX}_exporter_reconciled_runs",
    "counter",
    "Open workflow runs that no poll had found before all were listed, as happens every ten minutes.",
    (NAMESPACE,),
)
EXPORTER_AUDITED_UNTIL: Final = Family(
    f"{PREFIX}_exporter_audited_until_timestamp_seconds",
    "gauge",
    "Close time up to which Temporal's own count of closed workflow runs was compared with ours, in Unix time.",
    (NAMESPACE,),
    "seconds",
)
EXPORTER_AUDIT_DRIFT: Final = Family(
    f"{PREFIX}_exporter_audit_drift_runs",
    "gauge",
    "Closed workflow runs that Temporal counted beyond ours in the last half hour audited; they are then read again. "
    "Below 0 if runs were deleted. Absent before the first audit.",
    (NAMESPACE,),
)
EXPORTER_REPAIRED: Final = Family(
    f"{PREFIX}_exporter_audit_repaired_runs",
    "counter",
    "Closed workflow runs that only an audit found missing, and that were then read and counted.",
    (NAMESPACE,),
)
EXPORTER_VISIBILITY_REQUESTS: Final = Family(
    f"{PREFIX}_exporter_visibility_requests",
    "counter",
    "Visibility requests sent to Temporal, by API and by the gRPC code of the answer.",
    (NAMESPACE, API, CODE),
)
EXPORTER_HISTORY_REQUESTS: Final = Family(
    f"{PREFIX}_exporter_history_requests",
    "counter",
    "Requests for close events sent to Temporal, by the gRPC code of the answer.",
    (NAMESPACE, CODE),
)
EXPORTER_BUDGET: Final = Family(
    f"{PREFIX}_exporter_budget_requests_per_second",
    "gauge",
    "Requests a second that the budget of visibility or of history requests allows.",
    (NAMESPACE, BUDGET),
)
EXPORTER_BUDGET_WAIT: Final = Family(
    f"{PREFIX}_exporter_budget_wait_seconds",
    "counter",
    "Time that requests have waited for their turn in the budget of visibility or of history requests.",
    (NAMESPACE, BUDGET),
    "seconds",
)
EXPORTER_PENDING: Final = Family(
    f"{PREFIX}_exporter_pending_runs",
    "gauge",
    "Closed workflow runs that are read but not yet counted, because they wait for their close event.",
    (NAMESPACE,),
)
EXPORTER_GONE: Final = Family(
    f"{PREFIX}_exporter_missing_close_events",
    "counter",
    "Closed workflow runs that were counted without their close event, because it was gone or did not come in time.",
    (NAMESPACE,),
)
EXPORTER_OTHER_FAILURES: Final = Family(
    f"{PREFIX}_exporter_bounded_failure_types",
    "counter",
    "Failures that were counted as failure type `other`, because their workflow type had too many.",
    (NAMESPACE,),
)
EXPORTER_OUTCOMES_STOPPED: Final = Family(
    f"{PREFIX}_exporter_outcomes_stopped",
    "gauge",
    "1 if business outcomes are no longer read, because too many results in a row could not be decoded.",
    (NAMESPACE,),
)
EXPORTER_UNKNOWN_STATUS: Final = Family(
    f"{PREFIX}_exporter_unknown_status_rows",
    "counter",
    "Rows of visibility that were left out because their status is none that this version knows; "
    "a row is counted each time it is read.",
    (NAMESPACE,),
)
EXPORTER_BUILD_INFO: Final = Family(
    f"{PREFIX}_exporter_build_info",
    "gauge",
    "Always 1; the label tells the version of the exporter.",
    (VERSION,),
)

EXPORTER_FAMILIES: Final = _declared()
"""All that the exporter exposes, in the order of the exposition."""

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
    "Time from the start of a workflow to its end, over all its runs if it continued as new.",
    (NAMESPACE, WORKFLOW_TYPE, TASK_QUEUE, CHILD, STATUS),
    "seconds",
)
WORKFLOW_TASK_FAILURES: Final = Family(
    f"{PREFIX}_workflow_task_failures",
    "counter",
    "Workflow tasks that failed in this worker by a bug, non-determinism or a deadlock; the workflow goes on trying.",
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
    "Always 1; the labels tell whether workflow ends are counted exactly or only replay-safe, and why.",
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

INTERCEPTOR_FAMILIES: Final = tuple(family for family in _declared() if family not in EXPORTER_FAMILIES)
"""All that workers expose through the SDK's own meter."""
