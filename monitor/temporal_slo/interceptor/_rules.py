"""What is promised of each workflow type, from arguments or from a spec, checked when it is given."""

import inspect
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

from temporal_slo.errors import UsageError
from temporal_slo.interceptor._labels import is_text
from temporal_slo.interceptor._outcomes import (
    INSTALL,
    OutcomeExpression,
    OutcomeFunction,
    PayloadReader,
    expression_reader,
)

if TYPE_CHECKING:
    from temporal_slo.spec.bound import BoundSlo

SpecPath = str | Path | Sequence[str | Path]


@dataclass(frozen=True, kw_only=True)
class Objective:
    """A latency that is promised.

    Attributes:
        slo: Name of the SLO: the value of the label `slo`.
        workflow: The workflow type.
        threshold: A workflow that completes within it has kept the promise.

    Raises:
        UsageError: A name is empty, or the threshold is not a duration above 0.
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
            what = f"{self.threshold!r} is not a duration above 0"
            raise UsageError(f"Objective {self.slo} threshold", what, "write for example timedelta(seconds=90)")


def _is_positive(value: object) -> bool:
    return isinstance(value, timedelta) and value > timedelta()


@dataclass(frozen=True)
class Rule:
    """What is promised of the runs of a workflow type on a task queue."""

    read: PayloadReader | None = None
    function: OutcomeFunction | None = None
    objectives: tuple[Objective, ...] = ()

    @property
    def has_outcome(self) -> bool:
        """Whether its completed runs have a business outcome."""
        return self.read is not None or self.function is not None


NO_RULE: Final = Rule()


@dataclass(frozen=True)
class _Scoped:
    """An objective of a spec: only of this namespace, and of this task queue if it names one."""

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
    """The rules of every workflow type, by where it runs.

    Attributes:
        objectives: Latencies.
        outcomes: How outcomes are read, by namespace, or None for all, and type.
        named: Types of workflows and activities that an argument or any SLO names.
    """

    objectives: tuple[_Scoped, ...] = ()
    outcomes: Mapping[tuple[str | None, str], Rule] = field(default_factory=dict)
    named: frozenset[str] = frozenset()

    def of(self, namespace: str, workflow_type: str, task_queue: str) -> Rule:
        """Return what is promised of the runs of a workflow type."""
        outcome = self.outcomes.get((None, workflow_type)) or self.outcomes.get((namespace, workflow_type)) or NO_RULE
        found = tuple(s.objective for s in self.objectives if s.covers(namespace, workflow_type, task_queue))
        return Rule(outcome.read, outcome.function, found) if found else outcome

    def types(self, namespace: str) -> set[str]:
        """Return the workflow types that anything is promised of in *namespace*."""
        named = {type_ for scope, type_ in self.outcomes if scope in (None, namespace)}
        return named | {s.objective.workflow for s in self.objectives if s.namespace in (None, namespace)}


def rules(
    objectives: Iterable[Objective],
    outcomes: Mapping[str, OutcomeFunction | OutcomeExpression],
    spec: SpecPath | None,
    slos: Sequence[str] | None,
) -> Rules:
    """Return the rules that are given; what is given for a type replaces what the spec says of it.

    Raises:
        UsageError: Something of it is not what it must be.
    """
    listed = _objectives(objectives)
    loaded = load_slos(spec)
    chosen = _chosen(loaded, slos)
    scoped = [_Scoped(objective) for objective in listed]
    # Both would count in one series, and mix their thresholds.
    taken = {(objective.slo, objective.workflow) for objective in listed}
    of_specs = [s for slo in chosen for s in _latency(slo)]
    scoped += [s for s in of_specs if (s.objective.slo, s.objective.workflow) not in taken]
    read: dict[tuple[str | None, str], Rule] = {}
    for slo in chosen:
        if slo.outcome:
            given = OutcomeExpression(
                expression=slo.outcome.from_, good=slo.outcome.good, bad=slo.outcome.bad, excluded=slo.outcome.excluded
            )
            read |= {(slo.temporal_namespace, type_): Rule(expression_reader(given)) for type_ in slo.workflow_types}
    given_outcomes = {(None, type_): _outcome(type_, given) for type_, given in outcomes.items()}
    named = {*outcomes, *(objective.workflow for objective in listed)}
    for slo in loaded:
        named |= {*slo.workflow_types, *(getattr(slo.sli, "activities", None) or ())}
    return Rules(tuple(scoped), read | given_outcomes, frozenset(named))


def _objectives(objectives: Iterable[Objective]) -> list[Objective]:
    listed = list(objectives)
    for objective in listed:
        if not isinstance(objective, Objective):
            what = f"holds a {type(objective).__name__}"
            raise UsageError("objectives", what, "write Objective(slo=…, workflow=…, threshold=…)")
    keys = [(objective.slo, objective.workflow) for objective in listed]
    for key in keys:
        if keys.count(key) > 1:
            raise UsageError("objectives", f"name {key[0]!r} twice for {key[1]}", "keep one of them")
    return listed


def _outcome(workflow_type: str, given: object) -> Rule:
    where = f"outcomes {workflow_type!r}"
    if not is_text(workflow_type):
        raise UsageError(where, "is not the name of a workflow type", 'write for example "BookRideWorkflow"')
    if isinstance(given, OutcomeExpression):
        return Rule(expression_reader(given))
    if not callable(given):
        what = f"is a {type(given).__name__}"
        raise UsageError(where, what, "give an OutcomeExpression, or a function of the result")
    if inspect.iscoroutinefunction(given):
        raise UsageError(where, "is an async function, which nothing awaits", "write it with def alone")
    return Rule(function=given)


def load_slos(spec: SpecPath | None) -> "tuple[BoundSlo, ...]":
    """Return the SLOs in files and folders.

    Raises:
        UsageError: One cannot be read, or the `spec` extra is not installed.
    """
    if spec is None:
        return ()
    paths = list(spec) if isinstance(spec, Sequence) and not isinstance(spec, str) else [spec]
    if not all(isinstance(path, str | Path) for path in paths):
        raise UsageError("spec", "is not a path", 'write for example "deploy/slos"')
    try:
        from temporal_slo.spec.load import load  # noqa: PLC0415 needs the spec extra, which most workers lack
    except ModuleNotFoundError as error:
        raise UsageError("spec", f"needs the package {error.name}", INSTALL) from error
    return load([Path(path) for path in paths]).slos


def _chosen(every: "Sequence[BoundSlo]", slos: Sequence[str] | None) -> "Sequence[BoundSlo]":
    if slos is None:
        return every
    known = sorted({slo.name for slo in every})
    for name in [slos] if isinstance(slos, str) else slos:
        if name not in known or isinstance(slos, str):
            listed = ", ".join(known) or "none, for there is no spec"
            raise UsageError("slos", f"{name!r} is not a list of SLOs of the spec", f"it has {listed}")
    return [slo for slo in every if slo.name in slos]


def _latency(slo: "BoundSlo") -> list[_Scoped]:
    from temporal_slo.spec.slis import Latency  # noqa: PLC0415 needs the spec extra, which is there if there is a spec

    # Not whatever has a threshold: waits for a worker have one too.
    if not isinstance(slo.sli, Latency):
        return []
    threshold = slo.sli.threshold
    return [
        _Scoped(Objective(slo=slo.name, workflow=type_, threshold=threshold), slo.temporal_namespace, slo.task_queue)
        for type_ in slo.workflow_types
    ]
