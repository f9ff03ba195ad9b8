"""What the generated rules select: taken from their expressions, as Prometheus will read them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, Final, NamedTuple

import promql_parser
import yaml

from temporal_slo import names
from temporal_slo.generate.artefacts import render
from temporal_slo.generate.files import SUFFIX
from temporal_slo.generate.links import Links
from temporal_slo.promql import Matcher, one_of, selector
from temporal_slo.spec.bound import BoundSlo, LoadedSpecs
from temporal_slo.spec.model import WorkerSli

OPERATORS: Final = {"MatchOp.Equal": "=", "MatchOp.NotEqual": "!=", "MatchOp.Re": "=~", "MatchOp.NotRe": "!~"}
ABSENCE: Final = frozenset({"absent", "absent_over_time"})
"""Functions that tell of what is not there: their selectors may match nothing."""

NOWHERE: Final = Links("", "", "")
"""Where alerts lead is of no matter here."""


@dataclass(frozen=True, slots=True)
class Selector:
    """A metric, and the conditions on its labels."""

    metric: str
    matchers: tuple[Matcher, ...] = ()

    def __str__(self) -> str:
        return selector(self.metric, *self.matchers) if self.matchers else self.metric

    def but(self, *left_out: Matcher) -> "Selector":
        """Return this one without some of its conditions."""
        return replace(self, matchers=tuple(own for own in self.matchers if own not in left_out))

    def plus(self, *more: Matcher) -> "Selector":
        """Return this one under further conditions."""
        return replace(self, matchers=(*self.matchers, *more))

    def of(self, metric: str) -> "Selector":
        """Return this one of another metric."""
        return replace(self, metric=metric)

    def value(self, label: str) -> str | None:
        """Return what *label* must be; None if no condition says so."""
        return next((own.value for own in self.matchers if own.label == label and own.operator == "="), None)


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule as it is to be loaded.

    Attributes:
        file: Name of the file that `generate` writes.
        group: Name of its group.
        interval: How often it is evaluated, as the file has it.
        name: Of the recorded series, or of the alert.
        alerts: Whether it is an alert.
        expression: As the file has it.
        labels: That it adds.
        hold: How long its condition must hold, as the file has it; 0s for at once.
    """

    file: str
    group: str
    interval: str
    name: str
    alerts: bool
    expression: str
    labels: tuple[tuple[str, str], ...]
    hold: str = "0s"

    @property
    def about(self) -> str:
        """What it is about: an SLO, the causes of a Temporal namespace, or the Temporal server."""
        labels = dict(self.labels)
        if names.SLO in labels:
            return slo_title(labels[names.SERVICE], labels[names.SLO], labels[names.NAMESPACE])
        return f"causes in {labels[names.NAMESPACE]}" if names.NAMESPACE in labels else "the Temporal server"


def slo_title(service: str, slo: str, namespace: str) -> str:
    """Return how an SLO is called: a service may have it in several Temporal namespaces."""
    return f"{service}/{slo} ({namespace})"


class Uses(NamedTuple):
    """A selector, and the rules that would see nothing if it matched nothing.

    Attributes:
        selector: What is selected.
        rules: Which rules do.
        expected: Whether it must match: an alert on absence needs no series.
    """

    selector: Selector
    rules: tuple[Rule, ...]
    expected: bool


def rules_of(specs: LoadedSpecs) -> tuple[Rule, ...]:
    """Return every rule that `generate` makes of *specs*, in the order of its files."""
    files = {name: text for name, text in render(specs, NOWHERE).items() if name.endswith(SUFFIX)}
    return tuple(rule for name, text in files.items() for rule in _rules(name, yaml.safe_load(text)["groups"]))


def _rules(file: str, groups: list[dict[str, Any]]) -> Iterator[Rule]:
    for group in groups:
        for rule in group["rules"]:
            yield Rule(
                file=file,
                group=group["name"],
                interval=group["interval"],
                name=rule.get("record") or rule["alert"],
                alerts="alert" in rule,
                expression=rule["expr"],
                labels=tuple(sorted(rule["labels"].items())),
                hold=rule.get("for", "0s"),
            )


def uses_of(rules: Sequence[Rule], slos: Sequence[BoundSlo]) -> tuple[Uses, ...]:
    """Return every selector of *rules*, each once, in the order of its first use.

    One that selects several workflow or activity types becomes one of each: beside a type that is there, another that
    is misspelt would not be missed.
    """
    lists = _lists(slos)
    found: dict[Selector, list[tuple[Rule, bool]]] = {}
    for rule in rules:
        for selected, expected in selectors(rule.expression):
            for single in _singles(selected, lists):
                found.setdefault(single, []).append((rule, expected))
    return tuple(
        Uses(selected, tuple(dict.fromkeys(rule for rule, _ in seen)), any(expected for _, expected in seen))
        for selected, seen in found.items()
    )


def _lists(slos: Sequence[BoundSlo]) -> dict[Matcher, tuple[Matcher, ...]]:
    types = {(names.WORKFLOW_TYPE, slo.workflow_types) for slo in slos}
    types |= {
        (names.ACTIVITY_TYPE, slo.sli.activities)
        for slo in slos
        if isinstance(slo.sli, WorkerSli) and slo.sli.activities
    }
    return {one_of(label, of): tuple(one_of(label, (single,)) for single in of) for label, of in types}


def _singles(selected: Selector, lists: Mapping[Matcher, tuple[Matcher, ...]]) -> Iterator[Selector]:
    choices = (lists.get(own, (own,)) for own in selected.matchers)
    return (replace(selected, matchers=chosen) for chosen in product(*choices))


def selectors(expression: str) -> tuple[tuple[Selector, bool], ...]:
    """Return the selectors of a PromQL expression, and whether each is to match anything.

    Raises:
        ValueError: It is no expression.
    """
    found: list[tuple[Selector, bool]] = []
    absences = 0

    def enter(node: promql_parser.Expr) -> bool:
        nonlocal absences
        absences += _is_absence(node)
        if isinstance(node, promql_parser.VectorSelector):
            found.append((_selector(node), not absences))
        return True

    def leave(node: promql_parser.Expr) -> bool:
        nonlocal absences
        absences -= _is_absence(node)
        return True

    promql_parser.walk(promql_parser.parse(expression), enter, leave)
    return tuple(found)


def same(one: str, other: str) -> bool:
    """Return whether two expressions are the same but for how they are written."""
    try:
        return promql_parser.parse(one).prettify() == promql_parser.parse(other).prettify()
    except ValueError:
        # What only a newer Prometheus understands is not ours.
        return one == other


def _is_absence(node: promql_parser.Expr) -> bool:
    return isinstance(node, promql_parser.Call) and node.func.name in ABSENCE


def _selector(node: promql_parser.VectorSelector) -> Selector:
    matchers = (Matcher(own.name, OPERATORS[str(own.op)], own.value) for own in node.matchers.matchers)
    return Selector(node.name or "", tuple(matchers))
