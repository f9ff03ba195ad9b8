"""Alerts that tell why a promise may break, or that nobody would see it break."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any, Final, NamedTuple

from temporal_slo import names
from temporal_slo.generate.rules import INTERVAL, Group, Rule, number
from temporal_slo.names import Family
from temporal_slo.promql import Matcher, one_of, selector
from temporal_slo.spec.figures import lasting
from temporal_slo.spec.model import Causes, Spec

Condition = Callable[[Causes, Callable[..., str]], str]


class Cause(NamedTuple):
    """An alert that is the same for every Temporal namespace.

    Attributes:
        name: Of the alert.
        severity: `page` or `ticket`.
        summary: One line; may hold labels of the series.
        condition: Returns the expression from the thresholds of the spec, and from what makes selectors.
        wait: How long it must hold.
    """

    name: str
    severity: str
    summary: str
    condition: Condition
    wait: Callable[[Causes], timedelta] = lambda _: timedelta(minutes=5)


def _seconds(span: timedelta) -> str:
    return f"{span / timedelta(seconds=1):g}"


def _peak(selected: str, *labels: str) -> str:
    # Replicas tell the same; the highest is that of the one that is ahead.
    return f"max by ({', '.join((names.NAMESPACE, *labels))}) ({selected})"


CAUSES: Final = (
    Cause(
        "TemporalSloExporterDown",
        "page",
        "no exporter tells of the Temporal namespace: nobody would see a promise break",
        lambda _, of: f"absent({of(names.EXPORTER_UP)})",
    ),
    Cause(
        "TemporalSloExporterStale",
        "page",
        "the exporter has not read the Temporal namespace for too long",
        lambda causes, of: f"time() - {_peak(of(names.EXPORTER_LAST_SUCCESS))} > {_seconds(causes.exporter_stale)}",
        lambda _: timedelta(minutes=1),
    ),
    Cause(
        "TemporalSloUncovered",
        "ticket",
        "the exporter catches up too slowly: {{ $value | humanizeDuration }} of closed runs are still to be read",
        lambda causes, of: (
            f"min by ({names.NAMESPACE}) ({of(names.EXPORTER_UNCOVERED)}) > {_seconds(causes.uncovered)}"
        ),
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
    ),
    Cause(
        "TemporalSloBacklogAge",
        "ticket",
        "the oldest task in task queue {{ $labels.task_queue }} has waited for {{ $value | humanizeDuration }}",
        lambda causes, of: (
            f"{_peak(of(names.TASK_QUEUE_BACKLOG_AGE), names.TASK_QUEUE, names.TASK_TYPE)} > "
            f"{_seconds(causes.backlog_age)}"
        ),
    ),
    Cause(
        "TemporalSloRunsOverdue",
        "ticket",
        "{{ $value }} runs of {{ $labels.workflow_type }} are open for longer than {{ $labels.slo }} allows",
        lambda _, of: f"{_peak(of(names.WORKFLOWS_OVERDUE), names.WORKFLOW_TYPE, names.SLO)} > 0",
    ),
    Cause(
        "TemporalSloStuckTasks",
        "page",
        "{{ $value }} runs of {{ $labels.workflow_type }} are stuck: {{ $labels.cause }}",
        lambda _, of: (
            f"{_peak(of(names.WORKFLOWS_WITH_TASK_PROBLEMS), names.WORKFLOW_TYPE, names.CATEGORY, names.CAUSE)} > 0"
        ),
        lambda causes: causes.stuck,
    ),
    Cause(
        "TemporalSloRetryStorm",
        "ticket",
        "{{ $value }} activities {{ $labels.activity_type }} of {{ $labels.workflow_type }} fail over and over",
        lambda causes, of: (
            f"{_peak(of(names.ACTIVITIES_RETRYING), names.WORKFLOW_TYPE, names.ACTIVITY_TYPE)} "
            f">= {causes.retrying_activities}"
        ),
    ),
    Cause(
        "TemporalSloScheduleOverdue",
        "ticket",
        "schedule {{ $labels.schedule_id }} should have acted {{ $value | humanizeDuration }} ago",
        lambda causes, of: (
            f"{_peak(of(names.SCHEDULE_OVERDUE), names.SCHEDULE_ID)} > {_seconds(causes.schedule_overdue)}"
        ),
        lambda _: timedelta(minutes=1),
    ),
    Cause(
        "TemporalSloScheduleMissed",
        "ticket",
        "schedule {{ $labels.schedule_id }} has missed actions for good",
        lambda _, of: (
            f"max by ({names.NAMESPACE}, {names.SCHEDULE_ID}) (increase({of(names.SCHEDULE_MISSED)}[1h])) > 0"
        ),
        lambda _: timedelta(0),
    ),
)
"""What is watched beside budgets, in the order of the runbooks."""


def _share_unknown(of: Callable[..., str]) -> str:
    by = f"{names.NAMESPACE}, {names.WORKFLOW_TYPE}"
    unknown, all_read = (
        f"sum by ({by}) (max without (instance, pod) (increase({of(names.WORKFLOWS_CLOSED, matcher)}[1h])))"
        for matcher in (one_of(names.OUTCOME, ("unknown",)), Matcher(names.OUTCOME, "!=", names.OUTCOME_NONE))
    )
    return f"{unknown} / ({all_read} > 0)"


def group(spec: Spec) -> Group:
    """Return the alerts on the Temporal namespace of *spec*."""
    rules = [*_rules(spec)]
    return {"name": f"temporal-slo-{spec.temporal_namespace}-causes", "interval": INTERVAL, "rules": rules}


def _rules(spec: Spec) -> Iterator[Rule]:
    def of(family: Family, *matchers: Matcher) -> str:
        return selector(family.sample, one_of(names.NAMESPACE, (spec.temporal_namespace,)), *matchers)

    for cause in CAUSES:
        wait = cause.wait(spec.causes)
        held: dict[str, Any] = {"for": lasting(wait)} if wait else {}
        yield {
            "alert": cause.name,
            "expr": cause.condition(spec.causes, of),
            **held,
            "labels": {names.NAMESPACE: spec.temporal_namespace, names.SEVERITY: cause.severity},
            "annotations": {"summary": f"{spec.temporal_namespace}: {cause.summary}"},
        }
