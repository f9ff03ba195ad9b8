"""Outcome rules and latency objectives of each workflow type, from arguments and specs, validated when given."""

import inspect
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

from temporal_slo.errors import UsageError
from temporal_slo.interceptor._labels import is_text
from temporal_slo.interceptor._outcomes import (
    INSTALL_SPEC_EXTRA,
    OutcomeExpression,
    OutcomeFunction,
    PayloadReader,
    payload_reader,
)

if TYPE_CHECKING:
    from temporal_slo.spec.bound import BoundSlo

SpecPath = str | Path | Sequence[str | Path]


@dataclass(frozen=True, kw_only=True)
class Objective:
    """A latency objective.

    Attributes:
        slo: Name of the SLO, the value of the label `slo`.
        workflow: Workflow type.
        threshold: A workflow that completes within this time meets the objective.

    Raises:
        UsageError: A name is empty, or the threshold is not a positive timedelta.
    """

    slo: str
    workflow: str
    threshold: timedelta

    def __post_init__(self) -> None:
        for name in ("slo", "workflow"):
            value = getattr(self, name)
            if not is_text(value):
                raise UsageError(f"Objective {name}", f"is {value!r}", f'write for example {name}="BookRide"')
        if not _is_positive(self.threshold):
            what = f"{self.threshold!r} is not a positive timedelta"
            raise UsageError(f"Objective {self.slo} threshold", what, "write for example timedelta(seconds=90)")


def _is_positive(value: object) -> bool:
    return isinstance(value, timedelta) and value > timedelta()


@dataclass(frozen=True)
class Rule:
    """Outcome rule and objectives of the runs of a workflow type on a task queue."""

    read: PayloadReader | None = None
    function: OutcomeFunction | None = None
    objectives: tuple[Objective, ...] = ()

    @property
    def has_outcome(self) -> bool:
        """Whether completed runs have a business outcome."""
        return self.read is not None or self.function is not None


NO_RULE: Final = Rule()


@dataclass(frozen=True)
class _ScopedObjective:
    """An objective that a spec limits to a namespace, and to a task queue if the SLO names one."""

    objective: Objective
    namespace: str | None = None
    task_queue: str | None = None

    def covers(self, namespace: str, workflow_type: str, task_queue: str) -> bool:
        return (
            self.objective.workflow == workflow_type
            and self.namespace in (None, namespace)
            and self.task_queue in (None, task_queue)
        )


@dataclass(frozen=True)
class Rules:
    """Rules of all workflow types.

    Attributes:
        objectives: Latency objectives.
        outcomes: Outcome rules by namespace, None for every namespace, and workflow type.
        known_types: Workflow and activity types that an argument or any SLO names.
    """

    objectives: tuple[_ScopedObjective, ...] = ()
    outcomes: Mapping[tuple[str | None, str], Rule] = field(default_factory=dict)
    known_types: frozenset[str] = frozenset()

    def rule(self, namespace: str, workflow_type: str, task_queue: str) -> Rule:
        """Return the rule for runs of a workflow type on a task queue."""
        outcome = self.outcomes.get((None, workflow_type)) or self.outcomes.get((namespace, workflow_type)) or NO_RULE
        found = tuple(s.objective for s in self.objectives if s.covers(namespace, workflow_type, task_queue))
        return Rule(outcome.read, outcome.function, found) if found else outcome

    def workflow_types(self, namespace: str) -> set[str]:
        """Return the workflow types with an outcome rule or an objective in *namespace*."""
        types = {type_ for scope, type_ in self.outcomes if scope in (None, namespace)}
        return types | {s.objective.workflow for s in self.objectives if s.namespace in (None, namespace)}


def make_rules(
    objectives: Iterable[Objective],
    outcomes: Mapping[str, OutcomeFunction | OutcomeExpression],
    spec: SpecPath | None,
    slos: Sequence[str] | None,
) -> Rules:
    """Return the rules of arguments and specs; an argument replaces what a spec has for the same SLO or type.

    Raises:
        UsageError: An argument or a spec is invalid.
    """
    given = _objectives(objectives)
    loaded = load_slos(spec)
    selected = _selected(loaded, slos)
    scoped = [_ScopedObjective(objective) for objective in given]
    # Two thresholds of one SLO would be counted in one series.
    replaced = {(objective.slo, objective.workflow) for objective in given}
    of_specs = [s for slo in selected for s in _latency_objectives(slo)]
    scoped += [s for s in of_specs if (s.objective.slo, s.objective.workflow) not in replaced]
    spec_outcomes: dict[tuple[str | None, str], Rule] = {}
    for slo in selected:
        if slo.outcome:
            expression = OutcomeExpression(
                expression=slo.outcome.from_, good=slo.outcome.good, bad=slo.outcome.bad, excluded=slo.outcome.excluded
            )
            rule = Rule(payload_reader(expression))
            spec_outcomes |= {(slo.temporal_namespace, type_): rule for type_ in slo.workflow_types}
    given_outcomes = {(None, type_): _outcome_rule(type_, outcome) for type_, outcome in outcomes.items()}
    known_types = {*outcomes, *(objective.workflow for objective in given)}
    for slo in loaded:
        known_types |= {*slo.workflow_types, *(getattr(slo.sli, "activities", None) or ())}
    return Rules(tuple(scoped), spec_outcomes | given_outcomes, frozenset(known_types))


def _objectives(objectives: Iterable[Objective]) -> list[Objective]:
    listed = list(objectives)
    for objective in listed:
        if not isinstance(objective, Objective):
            what = f"contains a {type(objective).__name__}"
            raise UsageError("objectives", what, "write Objective(slo=…, workflow=…, threshold=…)")
    keys = [(objective.slo, objective.workflow) for objective in listed]
    for key in keys:
        if keys.count(key) > 1:
            raise UsageError("objectives", f"{key[0]!r} is listed twice for {key[1]}", "keep one of them")
    return listed


def _outcome_rule(workflow_type: str, outcome: object) -> Rule:
    where = f"outcomes {workflow_type!r}"
    if not is_text(workflow_type):
        raise UsageError(where, "is not the name of a workflow type", 'write for example "BookRideWorkflow"')
    if isinstance(outcome, OutcomeExpression):
        return Rule(payload_reader(outcome))
    if not callable(outcome):
        what = f"is a {type(outcome).__name__}"
        raise UsageError(where, what, "pass an OutcomeExpression or a function of the result")
    if inspect.iscoroutinefunction(outcome):
        raise UsageError(where, "is an async function, which is never awaited", "define it with def")
    return Rule(function=outcome)


def load_slos(spec: SpecPath | None) -> "tuple[BoundSlo, ...]":
    """Return the SLOs in files and folders.

    Raises:
        UsageError: A spec is invalid or cannot be read, or the `spec` extra is not installed.
    """
    if spec is None:
        return ()
    paths = list(spec) if isinstance(spec, Sequence) and not isinstance(spec, str) else [spec]
    if not all(isinstance(path, str | Path) for path in paths):
        raise UsageError("spec", "is not a path", 'write for example "deploy/slos"')
    try:
        from temporal_slo.spec.load import load  # noqa: PLC0415 requires the spec extra, which most workers lack
    except ModuleNotFoundError as error:
        raise UsageError("spec", f"requires the package {error.name}", INSTALL_SPEC_EXTRA) from error
    return load([Path(path) for path in paths]).slos


def _selected(loaded: "Sequence[BoundSlo]", slos: Sequence[str] | None) -> "Sequence[BoundSlo]":
    if slos is None:
        return loaded
    if isinstance(slos, str):
        raise UsageError("slos", f"{slos!r} is a string", f"pass a list, for example [{slos!r}]")
    known = sorted({slo.name for slo in loaded})
    for name in slos:
        if name not in known:
            remedy = f"use {', '.join(known)}" if known else "pass spec, too"
            raise UsageError("slos", f"no spec has an SLO {name!r}", remedy)
    return [slo for slo in loaded if slo.name in slos]


def _latency_objectives(slo: "BoundSlo") -> list[_ScopedObjective]:
    from temporal_slo.spec.slis import Latency  # noqa: PLC0415 the spec extra is installed if there is a spec

    # Not every SLI with a threshold: a schedule-to-start SLI has one too.
    if not isinstance(slo.sli, Latency):
        return []
    threshold = slo.sli.threshold
    return [
        _ScopedObjective(
            Objective(slo=slo.name, workflow=type_, threshold=threshold), slo.temporal_namespace, slo.task_queue
        )
        for type_ in slo.workflow_types
    ]
