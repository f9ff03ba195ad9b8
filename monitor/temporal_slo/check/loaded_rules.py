"""Whether the rules that Prometheus has are those that the specs make; pure."""

from collections import defaultdict
from collections.abc import Sequence
from enum import StrEnum
from typing import Final

from temporal_slo.check.prometheus import Loaded
from temporal_slo.check.selectors import Rule, same
from temporal_slo.durations import parse_duration

AT_ONCE: Final = "0s"


class State(StrEnum):
    """How a rule stands in Prometheus."""

    LOADED = "loaded"
    MISSING = "missing"
    DIFFERS = "differs"
    FAILS = "fails"


def states(rules: Sequence[Rule], loaded: Sequence[Loaded]) -> dict[Rule, tuple[State, str]]:
    """Return how each of *rules* stands, and what there is to say of it.

    A rule is known by its name and labels, whatever its group is called: operators and rulers rename groups.
    """
    known: dict[tuple[str, tuple[tuple[str, str], ...]], list[Loaded]] = defaultdict(list)
    grouped: dict[tuple[str, str], list[Loaded]] = defaultdict(list)
    for one in loaded:
        known[one.name, one.labels].append(one)
        grouped[one.group, one.name].append(one)
    return {
        rule: _state(rule, known.get((rule.name, rule.labels)) or _relabelled(grouped[rule.group, rule.name]))
        for rule in rules
    }


def _relabelled(there: Sequence[Loaded]) -> Sequence[Loaded]:
    # In a group several rules have one name, such as the tiers of an alert: only one alone is surely an older version.
    return there if len(there) == 1 else ()


def _state(rule: Rule, there: Sequence[Loaded]) -> tuple[State, str]:
    if not there:
        return State.MISSING, ""
    told = [_difference(rule, one) for one in there]
    if all(told):
        return State.DIFFERS, told[0]
    well = next(one for one, difference in zip(there, told, strict=True) if not difference)
    return (State.FAILS, well.error) if well.error else (State.LOADED, "")


def _difference(rule: Rule, one: Loaded) -> str:
    """Return in what a loaded rule is another than *rule*; empty if in nothing."""
    if not same(rule.expression, one.expression):
        return "another expression"
    if rule.labels != one.labels:
        return "other labels"
    if rule.alerts and _seconds(rule.hold) != one.hold:
        return f"it waits for {one.hold:g} s and not {rule.hold}"
    if one.interval > _seconds(rule.interval):
        return f"it is evaluated every {one.interval:g} s and not every {rule.interval}"
    return ""


def _seconds(text: str) -> float:
    return 0.0 if text == AT_ONCE else parse_duration(text).total_seconds()
