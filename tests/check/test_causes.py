"""Causes of dead selectors, from what was told."""

import re
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

import pytest

from temporal_slo import names
from temporal_slo.check.diagnosis import Cause, Facts, Idle, Suspect, TypeFacts, cause, core, fulfils, sanitised
from temporal_slo.check.expected_series import NATURES, misnamed, nature
from temporal_slo.check.prometheus import Target
from temporal_slo.check.selectors import Selector, rules_of, uses_of
from temporal_slo.names.server import SERVER_METRICS
from temporal_slo.promql import Matcher, bucket_bound
from temporal_slo.spec.bound import LoadedSpecs
from temporal_slo.spec.load import load

from .system import NAMESPACE, SPEC

OF_SHOP = Matcher(names.NAMESPACE, "=", "shop-prod")
RIDE = Matcher(names.WORKFLOW_TYPE, "=", "Ride")
CLOSED = Selector(names.WORKFLOWS_CLOSED.sample, (OF_SHOP, RIDE))
ENDS = Selector(names.ACTIVITY_ENDS.sample, (OF_SHOP,))
DOWN = Target("slo", "a:1", well=False, error="connection refused")
LATE = Matcher("le", "=~", r"90(\.0)?")


def told(facts: Facts, types: Mapping[tuple[str, str], TypeFacts] | None = None) -> Cause:
    """The cause, which is one."""
    found = cause(facts, types or {})
    assert isinstance(found, Cause)
    return found


@pytest.mark.parametrize(
    ("facts", "kind", "what"),
    [
        (Facts(CLOSED, present=False), "no metric", "the exporter is not scraped"),
        (Facts(CLOSED, present=False, relatives=("a", "b")), "other name", "'a', 'b'"),
        (Facts(ENDS, present=False, misnamed=("x",)), "other name", "not there, but 'x'"),
        (Facts(ENDS, suspects=(Suspect(OF_SHOP, ("eu",)),), misnamed=("x",)), "other name", "not there, but 'x'"),
        (Facts(CLOSED, seen="1h", targets=(DOWN,)), "stale", "job 'slo', instance 'a:1' is down (connection refused)"),
        (Facts(CLOSED, seen="1d", targets=(Target("slo", "a:1"),)), "stale", "within the last 1d, from job 'slo'"),
        (Facts(CLOSED), "combination", "all of them by none"),
        (
            Facts(CLOSED, suspects=(Suspect(OF_SHOP, ("eu",), ("exported_temporal_namespace",)),)),
            "exported label",
            'exported_temporal_namespace holds what temporal_namespace="shop-prod" asks for',
        ),
        (Facts(CLOSED, suspects=(Suspect(OF_SHOP, ("eu",), ("namespace",)),)), "other label", "namespace holds what"),
        (
            # What was changed today is surer than that it was well before.
            Facts(CLOSED, seen="1h", suspects=(Suspect(OF_SHOP, ("shop_prod",)),)),
            "sanitised value",
            "temporal_namespace is 'shop_prod' there, not 'shop-prod'",
        ),
        (Facts(CLOSED, suspects=(Suspect(OF_SHOP, ("shop-dev",)),)), "no such value", "there is 'shop-dev'"),
        (Facts(CLOSED, suspects=(Suspect(OF_SHOP, ("",)),)), "no such label", "has a label temporal_namespace"),
        (Facts(CLOSED, suspects=(Suspect(RIDE, ("Rise", "Bus")),)), "misspelt", "but 'Rise' is there"),
        (Facts(CLOSED, suspects=(Suspect(RIDE, ("ride",)),)), "misspelt", "but 'ride' is there"),
        (Facts(CLOSED, suspects=(Suspect(RIDE, ("Bus", "Top")),)), "no such type", "there are 'Bus', 'Top'"),
        (
            Facts(CLOSED, suspects=(Suspect(LATE, ("+Inf", "120.0", "5", "60", "300")),)),
            "bucket edge",
            "no bucket edge at 90 s; the nearest are 60 and 120",
        ),
        (Facts(CLOSED, suspects=(Suspect(LATE, ("5",)),)), "bucket edge", "the nearest are 5"),
    ],
)
def test_cause(facts: Facts, kind: str, what: str) -> None:
    """Each cause is told from the others, and says what is there instead."""
    found = told(facts)
    assert found.kind == kind
    assert what in found.what
    assert found.remedy


@pytest.mark.parametrize(
    ("there", "kind"),
    [
        (TypeFacts(0), "no such type"),
        (TypeFacts(2, found=True, running=True), "not watched"),
    ],
)
def test_type_that_temporal_knows(there: TypeFacts, kind: str) -> None:
    """Temporal tells a type that is not watched from a wrong name."""
    facts = Facts(CLOSED, suspects=(Suspect(RIDE, ("Bus",)),))
    assert told(facts, {("shop-prod", "Ride"): there}).kind == kind


def test_idle_type() -> None:
    """A type whose runs have all closed before counting began is idle, though another is spelt like it."""
    facts = Facts(CLOSED, suspects=(Suspect(RIDE, ("Rides",)),))
    assert isinstance(cause(facts, {("shop-prod", "Ride"): TypeFacts(0, found=True)}), Idle)
    # Of another namespace it tells nothing.
    assert isinstance(cause(facts, {("shop-dev", "Ride"): TypeFacts(0, found=True)}), Cause)


def test_values_are_bounded() -> None:
    """Of many values few are named."""
    values = tuple(f"Type{number:03}" for number in range(200))
    assert "and 195 more" in told(Facts(CLOSED, suspects=(Suspect(RIDE, values),))).what


def test_misnamed() -> None:
    """What a runtime without suffixes or seconds exposes is known for it, and what rules ask for is not."""
    strange = ("temporal_slo_activity_ends", "temporal_slo_workflow_task_failures", "temporal_slo_worker_errors")
    assert all(re.fullmatch(misnamed(ENDS.metric), name) for name in strange)
    right = [family.sample for family in names.INTERCEPTOR_FAMILIES if family.type != "histogram"]
    assert not any(re.fullmatch(misnamed(ENDS.metric), name) for name in right)
    waits = "temporal_slo_activity_schedule_to_start"
    # A runtime may have one right and the other wrong.
    found = {name: bool(re.fullmatch(misnamed(f"{waits}_seconds_bucket"), name)) for name in (*strange, *right)}
    assert not any(found.values())
    for unit, wrong in (("", True), ("_milliseconds", True), ("_seconds", False)):
        assert bool(re.fullmatch(misnamed(f"{waits}_seconds_count"), f"{waits}{unit}_bucket")) is wrong
    assert "durations_as_seconds" in told(Facts(ENDS, misnamed=strange)).remedy


def test_core() -> None:
    """All names that an SDK may give to a metric have one core."""
    ways = ("x", "x_total", "x_seconds", "x_seconds_bucket", "x_milliseconds_count", "x_ms_total")
    assert {core(name) for name in ways} == {"x"}
    assert core("temporal_slo_activity_schedule_to_start_seconds_bucket") == "temporal_slo_activity_schedule_to_start"


def test_sanitised() -> None:
    """Values are sanitised as the Temporal server does it."""
    assert sanitised("shop-prod.eu/1") == "shop_prod_eu_1"


def test_fulfils() -> None:
    """Conditions mean what they mean to Prometheus."""
    values = ("a", "b", "")
    meant = {op: [fulfils(Matcher("l", op, "a"), value) for value in values] for op in ("=", "!=", "=~", "!~")}
    assert meant["="] == meant["=~"] == [True, False, False]
    assert meant["!="] == meant["!~"] == [False, True, True]
    assert fulfils(bucket_bound(timedelta(seconds=90)), "90.0")
    assert not fulfils(Matcher("l", "=~", "a|b"), "ab")


@pytest.fixture
def specs(tmp_path: Path) -> LoadedSpecs:
    """The specs of the system."""
    (tmp_path / "spec.yaml").write_text(SPEC)
    return load([tmp_path])


def test_natures_are_of_rules(tmp_path: Path) -> None:
    """Each metric of which it is said that it may be absent is selected by a rule, under that condition."""
    (tmp_path / "one.yaml").write_text(SPEC)
    waits = SPEC.replace("activity_success: {activities: [check_pay]}", "schedule_to_start: {threshold: 5s}")
    (tmp_path / "two.yaml").write_text(waits.replace(f"temporal_namespace: {NAMESPACE}", "temporal_namespace: two"))
    specs = load([tmp_path])
    selected = [uses.selector for uses in uses_of(rules_of(specs), specs.slos)]
    troubles = {metric.name for metric in SERVER_METRICS if metric.absent_when_healthy} - {"service_errors"}
    for metric, own in NATURES:
        fitting = [one for one in selected if one.metric == metric and own.matcher in (None, *one.matchers)]
        assert fitting or metric in troubles, metric


def test_nature(specs: LoadedSpecs) -> None:
    """What trouble brings is not expected; what the exporter holds from the start is."""
    about = (Matcher(names.NAMESPACE, "=", NAMESPACE),)
    assert nature(Selector(names.WORKFLOWS_WITH_TASK_PROBLEMS.sample, about), specs.slos)
    assert nature(Selector("service_errors"), specs.slos)
    assert not nature(Selector("service_requests"), specs.slos)
    assert not nature(Selector(names.EXPORTER_UP.sample, about), specs.slos)
    assert not nature(Selector(names.OVERDUE_MINUTES.sample, about), specs.slos)
    unknown = Matcher(names.OUTCOME, "=", "unknown")
    assert nature(Selector(names.WORKFLOWS_CLOSED.sample, (*about, unknown)), specs.slos)
    assert not nature(Selector(names.WORKFLOWS_CLOSED.sample, about), specs.slos)
    # Only with an SLO of that kind does the exporter tell which runs are overdue.
    assert not nature(Selector(names.WORKFLOWS_OVERDUE.sample, about), specs.slos)
    assert nature(Selector(names.WORKFLOWS_OVERDUE.sample, (OF_SHOP,)), specs.slos)
