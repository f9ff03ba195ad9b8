"""Rules that Prometheus has, held against those that the specs make."""

from dataclasses import replace

from temporal_slo.check.loaded_rules import State, states
from temporal_slo.check.prometheus import Loaded
from temporal_slo.check.report import rule_findings
from temporal_slo.check.selectors import Rule

LABELS = (("severity", "page"),)
RULE = Rule(
    "a.rules.yaml", "g", "30s", "Burns", alerts=True, expression='x{a="b", c="d"} > 1', labels=LABELS, hold="5m"
)
LOADED = Loaded("g", 30.0, "Burns", LABELS, 'x{c="d",a="b"} > 1', hold=300.0)


def state(*loaded: Loaded) -> tuple[State, str]:
    """How the rule stands."""
    return states([RULE], loaded)[RULE]


def test_states() -> None:
    """A rule is loaded however it is written and its group is called; else it is said what differs."""
    assert state() == (State.MISSING, "")
    assert state(LOADED) == (State.LOADED, "")
    assert state(replace(LOADED, group="renamed", interval=15.0)) == (State.LOADED, "")
    assert state(replace(LOADED, expression="x > 2")) == (State.DIFFERS, "another expression")
    assert state(replace(LOADED, hold=60.0)) == (State.DIFFERS, "it waits for 60 s and not 5m")
    assert state(replace(LOADED, interval=60.0)) == (State.DIFFERS, "it is evaluated every 60 s and not every 30s")
    assert state(replace(LOADED, labels=(("severity", "ticket"),))) == (State.DIFFERS, "other labels")
    assert state(replace(LOADED, group="h", labels=())) == (State.MISSING, "")
    assert state(replace(LOADED, error="many-to-many")) == (State.FAILS, "many-to-many")
    # Beside an older version the new one is loaded.
    assert state(replace(LOADED, expression="x > 2"), LOADED) == (State.LOADED, "")


def test_recorded_rules_wait_for_nothing() -> None:
    """A recording rule has no time to wait."""
    rule = replace(RULE, alerts=False, hold="0s")
    assert states([rule], [replace(LOADED, hold=0.0)])[rule] == (State.LOADED, "")


def test_findings() -> None:
    """What is not loaded is a fault, told file by file, and bounded."""
    rules = [replace(RULE, name=f"R{number}") for number in range(7)]
    found = list(rule_findings(dict.fromkeys(rules, (State.MISSING, "")) | {RULE: (State.LOADED, "")}))
    assert [own.what for own in found] == [
        "alerts/a.rules.yaml: 7 of 8 rules are not loaded: R0, R1, R2, R3, and 3 more"
    ]
    assert found[0].fault
