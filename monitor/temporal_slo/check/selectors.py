"""Selectors of the generated rules, parsed from their expressions as Prometheus parses them."""

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
ABSENT_FUNCTIONS: Final = frozenset({"absent", "absent_over_time"})
"""Functions that return a value if there is no series: their selectors need not match."""

NO_LINKS: Final = Links("", "", "")
"""Links are annotations, which are not compared."""


@dataclass(frozen=True, slots=True)
class Selector:
    """A metric name with label matchers."""

    metric: str
    matchers: tuple[Matcher, ...] = ()

    def __str__(self) -> str:
        return selector(self.metric, *self.matchers) if self.matchers else self.metric

    def without(self, *removed: Matcher) -> "Selector":
        """Return a copy without the given matchers."""
        return replace(self, matchers=tuple(own for own in self.matchers if own not in removed))

    def with_matchers(self, *added: Matcher) -> "Selector":
        """Return a copy with further matchers."""
        return replace(self, matchers=(*self.matchers, *added))

    def with_metric(self, metric: str) -> "Selector":
        """Return a copy with another metric name."""
        return replace(self, metric=metric)

    def value(self, label: str) -> str | None:
        """Return the value that *label* must equal; None if there is no such matcher."""
        return next((own.value for own in self.matchers if own.label == label and own.operator == "="), None)


@dataclass(frozen=True, slots=True)
class Rule:
    """A generated rule.

    Attributes:
        file: Name of the generated file.
        group: Name of its rule group.
        interval: Evaluation interval, as in the file.
        name: Name of the recorded series or of the alert.
        is_alert: Whether it is an alert, not a recording rule.
        expression: As in the file.
        labels: Labels that the rule adds.
        hold: Value of `for`, as in the file; 0s without it.
    """

    file: str
    group: str
    interval: str
    name: str
    is_alert: bool
    expression: str
    labels: tuple[tuple[str, str], ...]
    hold: str = "0s"

    @property
    def subject(self) -> str:
        """What the rule monitors: an SLO, a Temporal namespace, or the Temporal server."""
        labels = dict(self.labels)
        if names.SLO in labels:
            return slo_title(labels[names.SERVICE], labels[names.SLO], labels[names.NAMESPACE])
        return f"namespace {labels[names.NAMESPACE]}" if names.NAMESPACE in labels else "Temporal server"


def slo_title(service: str, slo: str, namespace: str) -> str:
    """Return the name of an SLO, with its namespace: a service may have the same SLO in several namespaces."""
    return f"{service}/{slo} ({namespace})"


class UsedSelector(NamedTuple):
    """A selector, and the rules that use it.

    Attributes:
        selector: The selector.
        rules: Rules that have no data if it matches no series.
        required: Whether it must match; False if all rules use it only in `absent()`.
    """

    selector: Selector
    rules: tuple[Rule, ...]
    required: bool


def generated_rules(specs: LoadedSpecs) -> tuple[Rule, ...]:
    """Return every rule that `generate` makes from *specs*, in the order of its files."""
    files = {name: text for name, text in render(specs, NO_LINKS).items() if name.endswith(SUFFIX)}
    return tuple(rule for name, text in files.items() for rule in _rules(name, yaml.safe_load(text)["groups"]))


def _rules(file: str, groups: list[dict[str, Any]]) -> Iterator[Rule]:
    for group in groups:
        for rule in group["rules"]:
            yield Rule(
                file=file,
                group=group["name"],
                interval=group["interval"],
                name=rule.get("record") or rule["alert"],
                is_alert="alert" in rule,
                expression=rule["expr"],
                labels=tuple(sorted(rule["labels"].items())),
                hold=rule.get("for", "0s"),
            )


def used_selectors(rules: Sequence[Rule], slos: Sequence[BoundSlo]) -> tuple[UsedSelector, ...]:
    """Return every selector of *rules* once, in the order of its first use.

    A selector of several workflow or activity types is split into one per type: a misspelt type would go unnoticed if
    another one has series.
    """
    type_lists = _type_lists(slos)
    found: dict[Selector, list[tuple[Rule, bool]]] = {}
    for rule in rules:
        for used, required in selectors(rule.expression):
            for single in _split(used, type_lists):
                found.setdefault(single, []).append((rule, required))
    return tuple(
        UsedSelector(used, tuple(dict.fromkeys(rule for rule, _ in uses)), any(required for _, required in uses))
        for used, uses in found.items()
    )


def _type_lists(slos: Sequence[BoundSlo]) -> dict[Matcher, tuple[Matcher, ...]]:
    types = {(names.WORKFLOW_TYPE, slo.workflow_types) for slo in slos}
    types |= {
        (names.ACTIVITY_TYPE, slo.sli.activities)
        for slo in slos
        if isinstance(slo.sli, WorkerSli) and slo.sli.activities
    }
    return {one_of(label, listed): tuple(one_of(label, (single,)) for single in listed) for label, listed in types}


def _split(used: Selector, type_lists: Mapping[Matcher, tuple[Matcher, ...]]) -> Iterator[Selector]:
    choices = (type_lists.get(own, (own,)) for own in used.matchers)
    return (replace(used, matchers=chosen) for chosen in product(*choices))


def selectors(expression: str) -> tuple[tuple[Selector, bool], ...]:
    """Return the selectors of a PromQL expression, each with whether it must match: False inside `absent()`.

    Raises:
        ValueError: *expression* is not valid PromQL.
    """
    found: list[tuple[Selector, bool]] = []
    absent_depth = 0

    def enter(node: promql_parser.Expr) -> bool:
        nonlocal absent_depth
        absent_depth += _is_absent(node)
        if isinstance(node, promql_parser.VectorSelector):
            found.append((_selector(node), not absent_depth))
        return True

    def leave(node: promql_parser.Expr) -> bool:
        nonlocal absent_depth
        absent_depth -= _is_absent(node)
        return True

    promql_parser.walk(promql_parser.parse(expression), enter, leave)
    return tuple(found)


def same_expression(one: str, other: str) -> bool:
    """Return whether two expressions are equal apart from formatting."""
    try:
        return promql_parser.parse(one).prettify() == promql_parser.parse(other).prettify()
    except ValueError:
        # A newer Prometheus may accept syntax that this parser does not; generated rules never use it.
        return one == other


def _is_absent(node: promql_parser.Expr) -> bool:
    return isinstance(node, promql_parser.Call) and node.func.name in ABSENT_FUNCTIONS


def _selector(node: promql_parser.VectorSelector) -> Selector:
    matchers = (Matcher(own.name, OPERATORS[str(own.op)], own.value) for own in node.matchers.matchers)
    return Selector(node.name or "", tuple(matchers))
