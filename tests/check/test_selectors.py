"""Selectors are those that Prometheus will read in the generated rules."""

from pathlib import Path

from temporal_slo import names
from temporal_slo.check.selectors import Selector, rules_of, same, selectors, uses_of
from temporal_slo.promql import Matcher
from temporal_slo.spec.load import load

from .system import SPEC

A = Selector("a", (Matcher("b", "=", 'c"\\\n'), Matcher("d", "!~", "x|y")))


def test_selectors() -> None:
    """Each selector is found wherever it stands, with its conditions, and written so that it is read back the same."""
    text = (
        f"sum by (z) (rate({A}[5m] offset 1m)) / (q > 0.1) and sum_over_time(slo:e:rate5m[30d:1m]) unless absent(z{{}})"
    )
    found = dict(selectors(text))
    assert found == {A: True, Selector("q"): True, Selector("slo:e:rate5m"): True, Selector("z"): False}


def test_absence() -> None:
    """A selector that one rule needs is expected, though another is about its absence."""
    assert dict(selectors("absent(a)")) == {Selector("a"): False}
    assert list(selectors("absent(a) or a")) == [(Selector("a"), False), (Selector("a"), True)]


def test_same() -> None:
    """Spaces and the order of conditions make no difference; numbers do."""
    assert same('a{b="1",c="2"} > 0.0144', 'a{c="2", b="1"}>0.01440')
    assert not same("a > 1", "a > 2")
    assert same("no ( expression", "no ( expression")


def test_every_rule_is_read(tmp_path: Path) -> None:
    """All rules are read; each has a selector or needs none; types of a list are looked for one by one."""
    path = tmp_path / "spec.yaml"
    path.write_text(SPEC.replace("workflow: CheckRide\n", "workflow: [CheckRide, Bus.Ride]\n"))
    specs = load([path])
    rules = rules_of(specs)
    uses = uses_of(rules, specs.slos)
    seen = {rule for one in uses for rule in one.rules}
    assert {rule.expression.partition("(")[0] for rule in set(rules) - seen} == {"vector"}
    types = {one.selector.value(names.WORKFLOW_TYPE) for one in uses if one.selector.metric.endswith("closed_total")}
    # The alert on unknown outcomes is about all types.
    assert types == {"CheckRide", "Bus.Ride", None}
    assert {rule.about for rule in rules} == {
        "causes in check-shop",
        "the Temporal server",
        *(f"shop/{name} (check-shop)" for name in ("ride-success", "ride-latency", "ride-stuck", "ride-activities")),
    }
