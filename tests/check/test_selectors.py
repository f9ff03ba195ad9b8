"""Selectors are parsed from generated rules as Prometheus parses them."""

from pathlib import Path

from temporal_slo import names
from temporal_slo.check.selectors import Selector, generated_rules, same_expression, selectors, used_selectors
from temporal_slo.promql import Matcher
from temporal_slo.spec.load import load

from .system import SPEC

A = Selector("a", (Matcher("b", "=", 'c"\\\n'), Matcher("d", "!~", "x|y")))


def test_selectors() -> None:
    """Each selector of an expression is found with its matchers, and its text parses to the same selector."""
    text = (
        f"sum by (z) (rate({A}[5m] offset 1m)) / (q > 0.1) and sum_over_time(slo:e:rate5m[30d:1m]) unless absent(z{{}})"
    )
    found = dict(selectors(text))
    assert found == {A: True, Selector("q"): True, Selector("slo:e:rate5m"): True, Selector("z"): False}


def test_absent() -> None:
    """A selector inside `absent()` need not match; the same selector outside of it must."""
    assert dict(selectors("absent(a)")) == {Selector("a"): False}
    assert list(selectors("absent(a) or a")) == [(Selector("a"), False), (Selector("a"), True)]


def test_same_expression() -> None:
    """Expressions are equal whatever their spaces and order of matchers; not with other numbers."""
    assert same_expression('a{b="1",c="2"} > 0.0144', 'a{c="2", b="1"}>0.01440')
    assert not same_expression("a > 1", "a > 2")
    assert same_expression("no ( expression", "no ( expression")


def test_every_rule_is_read(tmp_path: Path) -> None:
    """Every rule is parsed; only constants have no selector; a selector of several types is split by type."""
    path = tmp_path / "spec.yaml"
    path.write_text(SPEC.replace("workflow: CheckRide\n", "workflow: [CheckRide, Bus.Ride]\n"))
    specs = load([path])
    rules = generated_rules(specs)
    used = used_selectors(rules, specs.slos)
    with_selector = {rule for one in used for rule in one.rules}
    assert {rule.expression.partition("(")[0] for rule in set(rules) - with_selector} == {"vector"}
    types = {one.selector.value(names.WORKFLOW_TYPE) for one in used if one.selector.metric.endswith("closed_total")}
    # The alert on unknown outcomes selects all types.
    assert types == {"CheckRide", "Bus.Ride", None}
    assert {rule.subject for rule in rules} == {
        "namespace check-shop",
        "Temporal server",
        *(f"shop/{name} (check-shop)" for name in ("ride-success", "ride-latency", "ride-stuck", "ride-activities")),
    }
