"""The rules loaded by Prometheus are compared with the generated ones."""

from dataclasses import replace

from temporal_slo.check.loaded_rules import RuleState, RuleStatus, rule_states
from temporal_slo.check.prometheus import LoadedRule
from temporal_slo.check.report import rule_findings
from temporal_slo.check.selectors import Rule

LABELS = (("severity", "page"),)
RULE = Rule(
    "a.rules.yaml", "g", "30s", "Burns", is_alert=True, expression='x{a="b", c="d"} > 1', labels=LABELS, hold="5m"
)
LOADED = LoadedRule("g", 30.0, "Burns", LABELS, 'x{c="d",a="b"} > 1', hold=300.0)


def status(*loaded: LoadedRule) -> RuleStatus:
    """Return the status of the rule."""
    return rule_states([RULE], loaded)[RULE]


def test_rule_states() -> None:
    """A rule is loaded whatever its formatting and group name; otherwise the difference is stated."""
    assert status() == (RuleState.MISSING, "")
    assert status(LOADED) == (RuleState.LOADED, "")
    assert status(replace(LOADED, group="renamed", interval=15.0)) == (RuleState.LOADED, "")
    assert status(replace(LOADED, expression="x > 2")) == (RuleState.DIFFERS, "different expression")
    assert status(replace(LOADED, hold=60.0)) == (RuleState.DIFFERS, "for is 60s instead of 5m")
    assert status(replace(LOADED, interval=60.0)) == (RuleState.DIFFERS, "evaluation interval is 60s instead of 30s")
    assert status(replace(LOADED, labels=(("severity", "ticket"),))) == (RuleState.DIFFERS, "different labels")
    assert status(replace(LOADED, group="h", labels=())) == (RuleState.MISSING, "")
    assert status(replace(LOADED, error="many-to-many")) == (RuleState.FAILS, "many-to-many")
    # An older version in addition does not matter.
    assert status(replace(LOADED, expression="x > 2"), LOADED) == (RuleState.LOADED, "")


def test_recording_rules_have_no_hold() -> None:
    """A recording rule without `for` is equal to the generated one."""
    rule = replace(RULE, is_alert=False, hold="0s")
    assert rule_states([rule], [replace(LOADED, hold=0.0)])[rule] == (RuleState.LOADED, "")


def test_findings() -> None:
    """Rules that are not loaded are one error per file, which lists a limited number of them."""
    rules = [replace(RULE, name=f"R{number}") for number in range(7)]
    found = list(rule_findings(dict.fromkeys(rules, (RuleState.MISSING, "")) | {RULE: (RuleState.LOADED, "")}))
    assert [own.what for own in found] == [
        "alerts/a.rules.yaml: 7 of 8 rules are not loaded: R0, R1, R2, R3, and 3 more"
    ]
    assert found[0].error
