"""Cause alerts: what endangers the SLOs of a Temporal namespace, or hides that one is violated."""

from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from functools import reduce
from typing import Any, Final, NamedTuple
from urllib.parse import quote_plus

from temporal_slo import names
from temporal_slo.generate.links import Links, literal
from temporal_slo.generate.recording_rules import INTERVAL, Group, Rule, number
from temporal_slo.generate.runbooks import RUNBOOKS
from temporal_slo.names import Family
from temporal_slo.names.values import NONE, UNKNOWN
from temporal_slo.promql import REPLICA_LABELS, Matcher, one_of, selector
from temporal_slo.spec.formatting import duration_text, seconds_text
from temporal_slo.spec.model import Causes, ServerCauses

Select = Callable[..., str]
"""Returns the selector of a metric in the Temporal namespace, given further matchers if any."""


class Cause(NamedTuple):
    """An alert that every Temporal namespace has.

    Attributes:
        name: Alert name.
        severity: `page` or `ticket`.
        summary: Symptom and number, one line; a template.
        condition: Returns the alert expression from the thresholds of the spec and the selectors.
        pending: Returns how long the expression must hold before the alert fires (`for`).
        dashboard: UID of the dashboard with the details.
        executions: Visibility query for the affected runs, if any; may contain `TYPE`.
    """

    name: str
    severity: str
    summary: str
    condition: Callable[[Causes, Select], str]
    pending: Callable[[Causes], timedelta] = lambda _: timedelta(minutes=5)
    dashboard: str = names.DASHBOARD_EXPORTER
    executions: str = ""


RUNS_OVERDUE: Final = "TemporalSloRunsOverdue"

TYPE: Final = '{{ reReplaceAll "\'" "\\\\\'" $labels.workflow_type | urlquery }}'
"""Workflow type of an alert, quoted for visibility, then for a URL: clients choose the names of workflow types."""
OPEN: Final = "WorkflowType = 'TYPE' AND ExecutionStatus = 'Running'"


def _max_by(expression: str, *labels: str) -> str:
    # Replicas of the exporter report the same; the highest value is that of the most recent one.
    return f"max by ({', '.join((names.NAMESPACE, *labels))}) ({expression})"


def _up_window(causes: Causes) -> timedelta:
    """Return the range over which the exporter's `up` is evaluated; the rest of `exporter_stale` is the `for`.

    A crash-looping exporter reports only now and then: an instant selector would reset the pending alert each time.
    """
    return max(causes.exporter_stale * 4 // 5, timedelta(seconds=1))


CAUSES: Final = (
    Cause(
        "TemporalSloExporterDown",
        "page",
        "exporter down, no scrape target reports this Temporal namespace",
        lambda causes, select: f"absent_over_time({select(names.EXPORTER_UP)}[{duration_text(_up_window(causes))}])",
        lambda causes: causes.exporter_stale - _up_window(causes),
    ),
    Cause(
        "TemporalSloNamespaceUnreachable",
        "page",
        "polling this Temporal namespace fails, or the exporter is crash-looping",
        lambda causes, select: (
            f"{_max_by(f'max_over_time({select(names.EXPORTER_UP)}[{duration_text(_up_window(causes))}])')} == 0"
        ),
        lambda causes: causes.exporter_stale - _up_window(causes),
    ),
    Cause(
        "TemporalSloExporterStale",
        "page",
        "stale data, last successful poll {{ $value | humanizeDuration }} ago although the exporter reports up",
        # If it reports down, TemporalSloNamespaceUnreachable fires instead.
        lambda causes, select: (
            f"time() - {_max_by(select(names.EXPORTER_LAST_SUCCESS))} > {seconds_text(causes.exporter_stale)} "
            f"unless {_max_by(select(names.EXPORTER_UP))} == 0"
        ),
        lambda _: timedelta(minutes=1),
    ),
    Cause(
        "TemporalSloSourceStale",
        "ticket",
        "source {{ $labels.source }} is stale, last successful read {{ $value | humanizeDuration }} ago",
        lambda causes, select: (
            f"time() - {_max_by(select(names.EXPORTER_SOURCE_LAST_SUCCESS), names.SOURCE)}"
            f" > {seconds_text(causes.source_stale)}"
        ),
    ),
    Cause(
        "TemporalSloIngestionLag",
        "ticket",
        "ingestion lag, closed runs of {{ $value | humanizeDuration }} not read yet",
        lambda causes, select: (
            f"min by ({names.NAMESPACE}) ({select(names.EXPORTER_GAP)}) > {seconds_text(causes.ingestion_lag)}"
        ),
        lambda _: timedelta(minutes=15),
    ),
    Cause(
        "TemporalSloClassificationLag",
        "ticket",
        "classification lag, the oldest run that is not classified closed {{ $value | humanizeDuration }} ago",
        lambda causes, select: (
            f"min by ({names.NAMESPACE}) ({select(names.EXPORTER_OLDEST_PENDING_AGE)})"
            f" > {seconds_text(causes.classification_lag)}"
        ),
        lambda _: timedelta(minutes=15),
    ),
    Cause(
        "TemporalSloAuditDrift",
        "ticket",
        "audit drift, Temporal counts {{ $value }} more closed runs than the exporter",
        lambda causes, select: (
            f"min by ({names.NAMESPACE}) ({select(names.EXPORTER_AUDIT_DRIFT)}) >= {causes.audit_drift}"
        ),
        lambda _: timedelta(minutes=40),
    ),
    Cause(
        "TemporalSloSpecNotReloaded",
        "ticket",
        "SLO spec reload failed, the previous spec is still in use",
        lambda _, __: f"{names.EXPORTER_RELOAD_SUCCESSFUL.sample} == 0",
    ),
    Cause(
        "TemporalSloUnknownOutcomes",
        "ticket",
        "outcome unknown for {{ $value | humanizePercentage }} of completed {{ $labels.workflow_type }} runs",
        lambda causes, select: _unknown_ratio(select) + f" > {number(causes.unknown_outcomes / 100)}",
        lambda _: timedelta(minutes=15),
        dashboard=names.DASHBOARD_WORKFLOWS,
        executions="WorkflowType = 'TYPE' AND ExecutionStatus = 'Completed'",
    ),
    Cause(
        "TemporalSloNoPollers",
        "page",
        "task queue {{ $labels.task_queue }} ({{ $labels.task_type }}) has a backlog and no pollers",
        lambda _, select: (
            f"{_max_by(select(names.TASK_QUEUE_POLLERS), names.TASK_QUEUE, names.TASK_TYPE)} == 0 and "
            f"{_max_by(select(names.TASK_QUEUE_BACKLOG), names.TASK_QUEUE, names.TASK_TYPE)} > 0"
        ),
        lambda causes: causes.no_pollers_for,
        dashboard=names.DASHBOARD_WORKERS,
    ),
    Cause(
        "TemporalSloBacklogAge",
        "ticket",
        "task queue {{ $labels.task_queue }} ({{ $labels.task_type }}), backlog age {{ $value | humanizeDuration }}",
        lambda causes, select: (
            f"{_max_by(select(names.TASK_QUEUE_BACKLOG_AGE), names.TASK_QUEUE, names.TASK_TYPE)} > "
            f"{seconds_text(causes.backlog_age)}"
        ),
        dashboard=names.DASHBOARD_WORKERS,
    ),
    Cause(
        RUNS_OVERDUE,
        "ticket",
        "{{ $value }} {{ $labels.workflow_type }} runs open longer than SLO {{ $labels.slo }} allows",
        lambda _, select: f"{_max_by(select(names.WORKFLOWS_OVERDUE), names.WORKFLOW_TYPE, names.SLO)} > 0",
        dashboard=names.DASHBOARD_WORKFLOWS,
        executions=OPEN,
    ),
    Cause(
        "TemporalSloStuckTasks",
        "page",
        "{{ $value }} {{ $labels.workflow_type }} runs stuck on failing workflow tasks ({{ $labels.cause }})",
        lambda _, select: (
            f"{_max_by(select(names.WORKFLOWS_WITH_TASK_PROBLEMS), names.WORKFLOW_TYPE, names.CATEGORY, names.CAUSE)}"
            " > 0"
        ),
        lambda causes: causes.stuck,
        dashboard=names.DASHBOARD_WORKFLOWS,
        executions=f"{OPEN} AND TemporalReportedProblems IS NOT NULL",
    ),
    Cause(
        "TemporalSloRetryStorm",
        "ticket",
        "{{ $value }} {{ $labels.activity_type }} activities of {{ $labels.workflow_type }} keep failing and retrying",
        lambda causes, select: (
            f"{_max_by(select(names.ACTIVITIES_RETRYING), names.WORKFLOW_TYPE, names.ACTIVITY_TYPE)} "
            f">= {causes.retrying_activities}"
        ),
        dashboard=names.DASHBOARD_WORKFLOWS,
        executions=OPEN,
    ),
    Cause(
        "TemporalSloScheduleOverdue",
        "ticket",
        "schedule {{ $labels.schedule_id }} is {{ $value | humanizeDuration }} overdue",
        lambda causes, select: (
            f"{_max_by(select(names.SCHEDULE_OVERDUE), names.SCHEDULE_ID)} > {seconds_text(causes.schedule_overdue)}"
        ),
        lambda _: timedelta(minutes=1),
        dashboard=names.DASHBOARD_WORKFLOWS,
    ),
    Cause(
        "TemporalSloScheduleMissed",
        "ticket",
        "schedule {{ $labels.schedule_id }} permanently missed actions in the last hour",
        lambda _, select: f"{_max_by(f'increase({select(names.SCHEDULE_MISSED_CATCHUP)}[1h])', names.SCHEDULE_ID)} > 0",
        lambda _: timedelta(0),
        dashboard=names.DASHBOARD_WORKFLOWS,
    ),
)
"""In the order of the runbooks."""


def _unknown_ratio(select: Select) -> str:
    by = f"{names.NAMESPACE}, {names.WORKFLOW_TYPE}"
    unknown, with_outcome = (
        f"sum by ({by}) (max without ({REPLICA_LABELS}) (increase({select(names.WORKFLOWS_CLOSED, matcher)}[1h])))"
        for matcher in (one_of(names.OUTCOME, (UNKNOWN,)), Matcher(names.OUTCOME, "!=", NONE))
    )
    return f"{unknown} / ({with_outcome} > 0)"


def group(namespace: str, causes: Causes, links: Links, tolerated: Mapping[str, int]) -> Group:
    """Return the rule group with the cause alerts of a Temporal namespace.

    Args:
        namespace: Name of the Temporal namespace.
        causes: Thresholds.
        links: Base URLs for the annotations.
        tolerated: Number of overdue runs that each overdue SLO tolerates, by SLO name.
    """
    rules = [_rule(namespace, cause, causes, links) for cause in CAUSES]
    for rule in rules:
        if rule["alert"] == RUNS_OVERDUE:
            rule["expr"] += "".join(
                f" unless {_within_tolerance(namespace, slo, most)}" for slo, most in tolerated.items() if most
            )
    return {"name": f"temporal-slo/{namespace}/causes", "interval": INTERVAL, "rules": rules}


def _rule(namespace: str, cause: Cause, causes: Causes, links: Links) -> Rule:
    def select(family: Family, *matchers: Matcher) -> str:
        return selector(family.sample, one_of(names.NAMESPACE, (namespace,)), *matchers)

    labels = {names.NAMESPACE: literal(namespace), names.SEVERITY: cause.severity}
    annotations = {
        "summary": f"{literal(namespace)}: {cause.summary}",
        **runbook_annotations(cause.name, links),
        "dashboard_url": links.board(cause.dashboard, {names.NAMESPACE: namespace}),
        **_executions(namespace, cause, links),
    }
    return alert_rule(cause.name, cause.condition(causes, select), cause.pending(causes), labels, annotations)


def _within_tolerance(namespace: str, slo: str, most: int) -> str:
    """Return an expression with a result while at most *most* runs of all workflow types of *slo* are overdue."""
    pair = f"{names.NAMESPACE}, {names.SLO}"
    overdue = selector(names.WORKFLOWS_OVERDUE.sample, one_of(names.NAMESPACE, (namespace,)), one_of(names.SLO, (slo,)))
    by_type = _max_by(overdue, names.WORKFLOW_TYPE, names.SLO)
    return f"on ({pair}) sum by ({pair}) ({by_type}) <= {most}"


def _executions(namespace: str, cause: Cause, links: Links) -> dict[str, str]:
    if not cause.executions:
        return {}
    query = TYPE.join(quote_plus(part) for part in cause.executions.split("TYPE"))
    return {"executions_url": links.executions(namespace, query)}


def runbook_annotations(name: str, links: Links) -> dict[str, str]:
    """Return description and runbook URL of the alert *name*."""
    book = RUNBOOKS[name]
    return {"description": f"{book.meaning} {book.impact}", "runbook_url": links.runbook(name)}


def alert_rule(
    name: str, condition: str, pending: timedelta, labels: dict[str, str], annotations: dict[str, str]
) -> Rule:
    """Return an alerting rule that fires once *condition* has held for *pending*."""
    clause: dict[str, Any] = {"for": duration_text(pending)} if pending else {}
    return {"alert": name, "expr": condition, **clause, "labels": labels, "annotations": annotations}


def strictest(causes: Iterable[Causes]) -> Causes:
    """Return the strictest value of each threshold: several specs may describe the same Temporal namespace."""
    first, *rest = causes
    return reduce(_stricter, rest, first)


def _stricter(one: Causes, other: Causes) -> Causes:
    # Each threshold is a maximum: the lower of two is the stricter.
    both = {key: min(getattr(one, key), getattr(other, key)) for key in Causes.model_fields if key != "server"}
    server = {key: min(getattr(one.server, key), getattr(other.server, key)) for key in ServerCauses.model_fields}
    return Causes.model_construct(**both, server=ServerCauses.model_construct(**server))
