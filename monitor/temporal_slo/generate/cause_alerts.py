"""Alerts that tell why a promise may break, or that nobody would see it break."""

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
from temporal_slo.names.values import NONE
from temporal_slo.promql import Matcher, one_of, selector
from temporal_slo.spec.figures import lasting, seconds
from temporal_slo.spec.model import Causes, ServerCauses

Condition = Callable[[Causes, Callable[..., str]], str]


class Cause(NamedTuple):
    """An alert that is the same for every Temporal namespace.

    Attributes:
        name: Of the alert.
        severity: `page` or `ticket`.
        summary: One line; may hold labels of the series.
        condition: Returns the expression from the thresholds of the spec, and from what makes selectors.
        wait: How long it must hold.
        board: The dashboard that shows more.
        runs: Query of visibility for the runs that are meant, if any; may hold `TYPE`.
    """

    name: str
    severity: str
    summary: str
    condition: Condition
    wait: Callable[[Causes], timedelta] = lambda _: timedelta(minutes=5)
    board: str = names.DASHBOARD_EXPORTER
    runs: str = ""


TYPE: Final = '{{ reReplaceAll "\'" "\\\\\'" $labels.workflow_type | urlquery }}'
"""The workflow type of an alert, quoted for visibility and then for a URL; types are of whoever starts workflows."""
OPEN: Final = "WorkflowType = 'TYPE' AND ExecutionStatus = 'Running'"


def _peak(selected: str, *labels: str) -> str:
    # Replicas tell the same; the highest is that of the one that is ahead.
    return f"max by ({', '.join((names.NAMESPACE, *labels))}) ({selected})"


def _most(causes: Causes) -> timedelta:
    """Return the part of the time until somebody is told in which an exporter that begins again and again is seen.

    Over so long it says the same all the while, though at each moment it may be there or not.
    """
    return max(causes.exporter_stale * 4 // 5, timedelta(seconds=1))


CAUSES: Final = (
    Cause(
        "TemporalSloExporterDown",
        "page",
        "no exporter tells of the Temporal namespace: nobody would see a promise break",
        lambda causes, of: f"absent_over_time({of(names.EXPORTER_UP)}[{lasting(_most(causes))}])",
        lambda causes: causes.exporter_stale - _most(causes),
    ),
    Cause(
        "TemporalSloNamespaceUnreachable",
        "page",
        "the exporter cannot read the Temporal namespace, or ends before it has",
        lambda causes, of: f"{_peak(f'max_over_time({of(names.EXPORTER_UP)}[{lasting(_most(causes))}])')} == 0",
        lambda causes: causes.exporter_stale - _most(causes),
    ),
    Cause(
        "TemporalSloExporterStale",
        "page",
        "nothing was read for {{ $value | humanizeDuration }}, though the exporter says that all is well",
        # Where it says that it cannot, the alert before tells.
        lambda causes, of: (
            f"time() - {_peak(of(names.EXPORTER_LAST_SUCCESS))} > {seconds(causes.exporter_stale)} "
            f"unless {_peak(of(names.EXPORTER_UP))} == 0"
        ),
        lambda _: timedelta(minutes=1),
    ),
    Cause(
        "TemporalSloSourceStale",
        "ticket",
        "{{ $labels.source }} were last read {{ $value | humanizeDuration }} ago: their figures stand still",
        lambda causes, of: (
            f"time() - {_peak(of(names.EXPORTER_SOURCE_LAST_SUCCESS), names.SOURCE)} > {seconds(causes.source_stale)}"
        ),
    ),
    Cause(
        "TemporalSloUncovered",
        "ticket",
        "the exporter catches up too slowly: {{ $value | humanizeDuration }} of closed runs are still to be read",
        lambda causes, of: f"min by ({names.NAMESPACE}) ({of(names.EXPORTER_GAP)}) > {seconds(causes.uncovered)}",
        lambda _: timedelta(minutes=15),
    ),
    Cause(
        "TemporalSloAuditDrift",
        "ticket",
        "Temporal counts {{ $value }} closed runs more than the exporter",
        lambda causes, of: f"min by ({names.NAMESPACE}) ({of(names.EXPORTER_AUDIT_DRIFT)}) >= {causes.audit_drift}",
        lambda _: timedelta(minutes=40),
    ),
    Cause(
        "TemporalSloSpecNotReloaded",
        "ticket",
        "the exporter goes by an older spec: the new one is not good",
        lambda _, __: f"{names.EXPORTER_RELOAD_SUCCESSFUL.sample} == 0",
    ),
    Cause(
        "TemporalSloUnknownOutcomes",
        "ticket",
        "the outcome of {{ $value | humanizePercentage }} of completed runs of {{ $labels.workflow_type }} is unknown",
        lambda causes, of: _share_unknown(of) + f" > {number(causes.unknown_outcomes / 100)}",
        lambda _: timedelta(minutes=15),
        board=names.DASHBOARD_WORKFLOWS,
        runs="WorkflowType = 'TYPE' AND ExecutionStatus = 'Completed'",
    ),
    Cause(
        "TemporalSloNoPollers",
        "page",
        "work waits in task queue {{ $labels.task_queue }} ({{ $labels.task_type }}), and no worker asks for it",
        lambda _, of: (
            f"{_peak(of(names.TASK_QUEUE_POLLERS), names.TASK_QUEUE, names.TASK_TYPE)} == 0 and "
            f"{_peak(of(names.TASK_QUEUE_BACKLOG), names.TASK_QUEUE, names.TASK_TYPE)} > 0"
        ),
        lambda causes: causes.no_pollers_for,
        board=names.DASHBOARD_WORKERS,
    ),
    Cause(
        "TemporalSloBacklogAge",
        "ticket",
        "the oldest task in task queue {{ $labels.task_queue }} has waited for {{ $value | humanizeDuration }}",
        lambda causes, of: (
            f"{_peak(of(names.TASK_QUEUE_BACKLOG_AGE), names.TASK_QUEUE, names.TASK_TYPE)} > "
            f"{seconds(causes.backlog_age)}"
        ),
        board=names.DASHBOARD_WORKERS,
    ),
    Cause(
        "TemporalSloRunsOverdue",
        "ticket",
        "{{ $value }} runs of {{ $labels.workflow_type }} are open for longer than {{ $labels.slo }} allows",
        lambda _, of: f"{_peak(of(names.WORKFLOWS_OVERDUE), names.WORKFLOW_TYPE, names.SLO)} > 0",
        board=names.DASHBOARD_WORKFLOWS,
        runs=OPEN,
    ),
    Cause(
        "TemporalSloStuckTasks",
        "page",
        "{{ $value }} runs of {{ $labels.workflow_type }} are stuck: {{ $labels.cause }}",
        lambda _, of: (
            f"{_peak(of(names.WORKFLOWS_WITH_TASK_PROBLEMS), names.WORKFLOW_TYPE, names.CATEGORY, names.CAUSE)} > 0"
        ),
        lambda causes: causes.stuck,
        board=names.DASHBOARD_WORKFLOWS,
        runs=f"{OPEN} AND TemporalReportedProblems IS NOT NULL",
    ),
    Cause(
        "TemporalSloRetryStorm",
        "ticket",
        "{{ $value }} activities {{ $labels.activity_type }} of {{ $labels.workflow_type }} fail over and over",
        lambda causes, of: (
            f"{_peak(of(names.ACTIVITIES_RETRYING), names.WORKFLOW_TYPE, names.ACTIVITY_TYPE)} "
            f">= {causes.retrying_activities}"
        ),
        board=names.DASHBOARD_WORKFLOWS,
        runs=OPEN,
    ),
    Cause(
        "TemporalSloScheduleOverdue",
        "ticket",
        "schedule {{ $labels.schedule_id }} should have acted {{ $value | humanizeDuration }} ago",
        lambda causes, of: (
            f"{_peak(of(names.SCHEDULE_OVERDUE), names.SCHEDULE_ID)} > {seconds(causes.schedule_overdue)}"
        ),
        lambda _: timedelta(minutes=1),
        board=names.DASHBOARD_WORKFLOWS,
    ),
    Cause(
        "TemporalSloScheduleMissed",
        "ticket",
        "schedule {{ $labels.schedule_id }} has missed actions for good",
        lambda _, of: (
            f"max by ({names.NAMESPACE}, {names.SCHEDULE_ID}) (increase({of(names.SCHEDULE_MISSED_CATCHUP)}[1h])) > 0"
        ),
        lambda _: timedelta(0),
        board=names.DASHBOARD_WORKFLOWS,
    ),
)
"""What is watched beside budgets, in the order of the runbooks."""


def _share_unknown(of: Callable[..., str]) -> str:
    by = f"{names.NAMESPACE}, {names.WORKFLOW_TYPE}"
    unknown, all_read = (
        f"sum by ({by}) (max without (instance, pod) (increase({of(names.WORKFLOWS_CLOSED, matcher)}[1h])))"
        for matcher in (one_of(names.OUTCOME, ("unknown",)), Matcher(names.OUTCOME, "!=", NONE))
    )
    return f"{unknown} / ({all_read} > 0)"


def group(namespace: str, causes: Causes, links: Links, tolerated: Mapping[str, int]) -> Group:
    """Return the alerts on a Temporal namespace.

    Args:
        namespace: Its name.
        causes: Thresholds.
        links: Where alerts lead.
        tolerated: How many overdue runs break no promise, by SLO.
    """
    rules = [_rule(namespace, cause, causes, links) for cause in CAUSES]
    for rule in rules:
        if rule["alert"] == "TemporalSloRunsOverdue":
            rule["expr"] += "".join(
                f" unless {_borne(namespace, slo, most)}" for slo, most in tolerated.items() if most
            )
    return {"name": f"temporal-slo/{namespace}/causes", "interval": INTERVAL, "rules": rules}


def _rule(namespace: str, cause: Cause, causes: Causes, links: Links) -> Rule:
    def of(family: Family, *matchers: Matcher) -> str:
        return selector(family.sample, one_of(names.NAMESPACE, (namespace,)), *matchers)

    labels = {names.NAMESPACE: literal(namespace), names.SEVERITY: cause.severity}
    annotations = {
        "summary": f"{literal(namespace)}: {cause.summary}",
        **explained(cause.name, links),
        "dashboard_url": links.board(cause.board, {names.NAMESPACE: namespace}),
        **_runs(namespace, cause, links),
    }
    return alert(cause.name, cause.condition(causes, of), cause.wait(causes), labels, annotations)


def _borne(namespace: str, slo: str, most: int) -> str:
    """Return what is there while no more runs of all types are overdue than *slo* tolerates."""
    pair = f"{names.NAMESPACE}, {names.SLO}"
    overdue = selector(names.WORKFLOWS_OVERDUE.sample, one_of(names.NAMESPACE, (namespace,)), one_of(names.SLO, (slo,)))
    return f"on ({pair}) sum by ({pair}) ({_peak(overdue, names.WORKFLOW_TYPE, names.SLO)}) <= {most}"


def _runs(namespace: str, cause: Cause, links: Links) -> dict[str, str]:
    if not cause.runs:
        return {}
    query = TYPE.join(quote_plus(part) for part in cause.runs.split("TYPE"))
    return {"executions_url": links.executions(namespace, query)}


def explained(name: str, links: Links) -> dict[str, str]:
    """Return the annotations that say what the alert *name* means, and what to do."""
    book = RUNBOOKS[name]
    return {"description": f"{book.meaning} {book.impact}", "runbook_url": links.runbook(name)}


def alert(name: str, condition: str, wait: timedelta, labels: dict[str, str], annotations: dict[str, str]) -> Rule:
    """Return an alerting rule."""
    held: dict[str, Any] = {"for": lasting(wait)} if wait else {}
    return {"alert": name, "expr": condition, **held, "labels": labels, "annotations": annotations}


def strictest(causes: Iterable[Causes]) -> Causes:
    """Return the strictest of all thresholds: several specs may tell of the same Temporal namespace."""
    first, *rest = causes
    return reduce(_stricter, rest, first)


def _stricter(one: Causes, other: Causes) -> Causes:
    # Each threshold is a highest value: the lower of two is the stricter.
    both = {key: min(getattr(one, key), getattr(other, key)) for key in Causes.model_fields if key != "server"}
    server = {key: min(getattr(one.server, key), getattr(other.server, key)) for key in ServerCauses.model_fields}
    return Causes.model_construct(**both, server=ServerCauses.model_construct(**server))
