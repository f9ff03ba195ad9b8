"""Compares the rules loaded by Prometheus with the generated ones; pure."""

from collections import defaultdict
from collections.abc import Sequence
from enum import StrEnum
from typing import Final

from temporal_slo.check.prometheus import LoadedRule
from temporal_slo.check.selectors import Rule, same_expression
from temporal_slo.durations import parse_duration

ZERO: Final = "0s"


class RuleState(StrEnum):
    """State of a generated rule in Prometheus."""

    LOADED = "loaded"
    MISSING = "missing"
    DIFFERS = "differs"
    FAILS = "fails"


RuleStatus = tuple[RuleState, str]
"""State of a rule, and the difference or the evaluation error; empty if there is none."""


def rule_states(rules: Sequence[Rule], loaded: Sequence[LoadedRule]) -> dict[Rule, RuleStatus]:
    """Return the status of each of *rules*.

    Rules are matched by name and labels, whatever the name of their group: operators and rulers rename groups.
    """
    by_labels: dict[tuple[str, tuple[tuple[str, str], ...]], list[LoadedRule]] = defaultdict(list)
    by_group: dict[tuple[str, str], list[LoadedRule]] = defaultdict(list)
    for one in loaded:
        by_labels[one.name, one.labels].append(one)
        by_group[one.group, one.name].append(one)
    return {
        rule: _status(rule, by_labels.get((rule.name, rule.labels)) or _relabelled(by_group[rule.group, rule.name]))
        for rule in rules
    }


def _relabelled(candidates: Sequence[LoadedRule]) -> Sequence[LoadedRule]:
    # Several rules of a group can have one name, such as the tiers of an alert: only a single one is an older version.
    return candidates if len(candidates) == 1 else ()


def _status(rule: Rule, candidates: Sequence[LoadedRule]) -> RuleStatus:
    if not candidates:
        return RuleState.MISSING, ""
    differences = [_difference(rule, one) for one in candidates]
    if all(differences):
        return RuleState.DIFFERS, differences[0]
    equal = next(one for one, difference in zip(candidates, differences, strict=True) if not difference)
    return (RuleState.FAILS, equal.error) if equal.error else (RuleState.LOADED, "")


def _difference(rule: Rule, one: LoadedRule) -> str:
    """Return how a loaded rule differs from *rule*; empty if it does not."""
    if not same_expression(rule.expression, one.expression):
        return "different expression"
    if rule.labels != one.labels:
        return "different labels"
    if rule.is_alert and _seconds(rule.hold) != one.hold:
        return f"for is {one.hold:g}s instead of {rule.hold}"
    if one.interval > _seconds(rule.interval):
        return f"evaluation interval is {one.interval:g}s instead of {rule.interval}"
    return ""


def _seconds(text: str) -> float:
    return 0.0 if text == ZERO else parse_duration(text).total_seconds()
