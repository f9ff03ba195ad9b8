"""Causes of selectors without data, from evidence."""

import re
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

import pytest

from temporal_slo import names
from temporal_slo.check.expected_series import EXPECTED_ABSENCES, expected_absence, misnamed_pattern
from temporal_slo.check.no_data_causes import (
    AwaitsRun,
    Cause,
    Evidence,
    UnmetMatcher,
    WorkflowTypeInfo,
    base_name,
    likely_cause,
    matches,
    sanitised,
)
from temporal_slo.check.prometheus import Target
from temporal_slo.check.selectors import Selector, generated_rules, used_selectors
from temporal_slo.names.server import SERVER_METRICS
from temporal_slo.names.values import UNKNOWN
from temporal_slo.promql import Matcher, bucket_bound
from temporal_slo.spec.bound import LoadedSpecs
from temporal_slo.spec.load import load

from .system import NAMESPACE, SPEC

OF_SHOP = Matcher(names.NAMESPACE, "=", "shop-prod")
RIDE = Matcher(names.WORKFLOW_TYPE, "=", "Ride")
CLOSED = Selector(names.WORKFLOWS_CLOSED.sample, (OF_SHOP, RIDE))
ENDS = Selector(names.ACTIVITY_ENDS.sample, (OF_SHOP,))
DOWN = Target("slo", "a:1", up=False, error="connection refused")
LATE = Matcher("le", "=~", r"90(\.0)?")


def cause_of(evidence: Evidence, types: Mapping[tuple[str, str], WorkflowTypeInfo] | None = None) -> Cause:
    """Return the likely cause, and require that there is one."""
    found = likely_cause(evidence, types or {})
    assert isinstance(found, Cause)
    return found


@pytest.mark.parametrize(
    ("evidence", "kind", "what"),
    [
        (Evidence(CLOSED, metric_exists=False), "metric missing", "the exporter is not scraped"),
        (Evidence(CLOSED, metric_exists=False, similar_metrics=("a", "b")), "renamed metric", "'a', 'b'"),
        (Evidence(ENDS, metric_exists=False, misnamed=("x",)), "renamed metric", "does not exist, found 'x'"),
        (
            Evidence(ENDS, unmet=(UnmetMatcher(OF_SHOP, ("eu",)),), misnamed=("x",)),
            "renamed metric",
            "does not exist, found 'x'",
        ),
        (
            Evidence(CLOSED, last_seen="1h", targets=(DOWN,)),
            "stale",
            "job 'slo', instance 'a:1' is down (connection refused)",
        ),
        (
            Evidence(CLOSED, last_seen="1d", targets=(Target("slo", "a:1"),)),
            "stale",
            "within the last 1d, from job 'slo'",
        ),
        (Evidence(CLOSED), "no such combination", "no series matches all of them"),
        (
            Evidence(CLOSED, unmet=(UnmetMatcher(OF_SHOP, ("eu",), ("exported_temporal_namespace",)),)),
            "exported label",
            'label exported_temporal_namespace has the value of temporal_namespace="shop-prod"',
        ),
        (
            Evidence(CLOSED, unmet=(UnmetMatcher(OF_SHOP, ("eu",), ("namespace",)),)),
            "renamed label",
            "label namespace has the value of",
        ),
        (
            # A changed label also makes the former series stale.
            Evidence(CLOSED, last_seen="1h", unmet=(UnmetMatcher(OF_SHOP, ("shop_prod",)),)),
            "sanitised value",
            "temporal_namespace is 'shop_prod' instead of 'shop-prod'",
        ),
        (
            Evidence(CLOSED, unmet=(UnmetMatcher(OF_SHOP, ("shop-dev",)),)),
            "no such value",
            "existing values: 'shop-dev'",
        ),
        (Evidence(CLOSED, unmet=(UnmetMatcher(OF_SHOP, ("",)),)), "label missing", "has a label temporal_namespace"),
        (Evidence(CLOSED, unmet=(UnmetMatcher(RIDE, ("Rise", "Bus")),)), "misspelt", "similar: 'Rise'"),
        (Evidence(CLOSED, unmet=(UnmetMatcher(RIDE, ("ride",)),)), "misspelt", "similar: 'ride'"),
        (
            Evidence(CLOSED, unmet=(UnmetMatcher(RIDE, ("Bus", "Top")),)),
            "no such type",
            "existing values: 'Bus', 'Top'",
        ),
        (
            Evidence(CLOSED, unmet=(UnmetMatcher(LATE, ("+Inf", "120.0", "5", "60", "300")),)),
            "bucket bound missing",
            "no bucket bound at 90 s, nearest: 60 and 120",
        ),
        (Evidence(CLOSED, unmet=(UnmetMatcher(LATE, ("5",)),)), "bucket bound missing", "nearest: 5"),
    ],
)
def test_cause(evidence: Evidence, kind: str, what: str) -> None:
    """Each cause is distinguished from the others, and states what was found instead."""
    found = cause_of(evidence)
    assert found.kind == kind
    assert what in found.what
    assert found.remedy


@pytest.mark.parametrize(
    ("info", "kind"),
    [
        (WorkflowTypeInfo(0), "no such type"),
        (WorkflowTypeInfo(2, has_runs=True, running=True), "not monitored"),
    ],
)
def test_type_that_temporal_knows(info: WorkflowTypeInfo, kind: str) -> None:
    """Runs in Temporal distinguish a type that is not monitored from a wrong name."""
    evidence = Evidence(CLOSED, unmet=(UnmetMatcher(RIDE, ("Bus",)),))
    assert cause_of(evidence, {("shop-prod", "Ride"): info}).kind == kind


def test_type_that_awaits_a_run() -> None:
    """A type without runs since the exporter's start is expected to have no series, even if another is similar."""
    evidence = Evidence(CLOSED, unmet=(UnmetMatcher(RIDE, ("Rides",)),))
    assert isinstance(likely_cause(evidence, {("shop-prod", "Ride"): WorkflowTypeInfo(0, has_runs=True)}), AwaitsRun)
    # Runs in another namespace do not count.
    assert isinstance(likely_cause(evidence, {("shop-dev", "Ride"): WorkflowTypeInfo(0, has_runs=True)}), Cause)


def test_listed_values_are_limited() -> None:
    """A message lists a limited number of values."""
    values = tuple(f"Type{number:03}" for number in range(200))
    assert "and 195 more" in cause_of(Evidence(CLOSED, unmet=(UnmetMatcher(RIDE, values),))).what


def test_misnamed_pattern() -> None:
    """The pattern matches names with the SDK's default suffixes and units, and no name that rules use."""
    wrong_names = ("temporal_slo_activity_ends", "temporal_slo_workflow_task_failures", "temporal_slo_worker_errors")
    assert all(re.fullmatch(misnamed_pattern(ENDS.metric), name) for name in wrong_names)
    right_names = [family.sample for family in names.INTERCEPTOR_FAMILIES if family.type != "histogram"]
    assert not any(re.fullmatch(misnamed_pattern(ENDS.metric), name) for name in right_names)
    waits = "temporal_slo_activity_schedule_to_start"
    # A runtime may set one option and omit the other.
    found = {
        name: bool(re.fullmatch(misnamed_pattern(f"{waits}_seconds_bucket"), name))
        for name in (*wrong_names, *right_names)
    }
    assert not any(found.values())
    for unit, wrong in (("", True), ("_milliseconds", True), ("_seconds", False)):
        assert bool(re.fullmatch(misnamed_pattern(f"{waits}_seconds_count"), f"{waits}{unit}_bucket")) is wrong
    assert "durations_as_seconds" in cause_of(Evidence(ENDS, misnamed=wrong_names)).remedy


def test_base_name() -> None:
    """All names that an SDK may give to a metric have one base name."""
    variants = ("x", "x_total", "x_seconds", "x_seconds_bucket", "x_milliseconds_count", "x_ms_total")
    assert {base_name(name) for name in variants} == {"x"}
    assert (
        base_name("temporal_slo_activity_schedule_to_start_seconds_bucket") == "temporal_slo_activity_schedule_to_start"
    )


def test_sanitised() -> None:
    """Values are sanitised as by the Temporal server."""
    assert sanitised("shop-prod.eu/1") == "shop_prod_eu_1"


def test_matches() -> None:
    """Matchers have the meaning that Prometheus gives them."""
    values = ("a", "b", "")
    results = {op: [matches(Matcher("l", op, "a"), value) for value in values] for op in ("=", "!=", "=~", "!~")}
    assert results["="] == results["=~"] == [True, False, False]
    assert results["!="] == results["!~"] == [False, True, True]
    assert matches(bucket_bound(timedelta(seconds=90)), "90.0")
    assert not matches(Matcher("l", "=~", "a|b"), "ab")


@pytest.fixture
def specs(tmp_path: Path) -> LoadedSpecs:
    """The specs of the checked system."""
    (tmp_path / "spec.yaml").write_text(SPEC)
    return load([tmp_path])


def test_expected_absences_are_used(tmp_path: Path) -> None:
    """Each metric whose absence can be expected is selected by a rule with that matcher."""
    (tmp_path / "one.yaml").write_text(SPEC)
    waits = SPEC.replace("activity_success: {activities: [check_pay]}", "schedule_to_start: {threshold: 5s}")
    (tmp_path / "two.yaml").write_text(waits.replace(f"temporal_namespace: {NAMESPACE}", "temporal_namespace: two"))
    specs = load([tmp_path])
    selectors = [used.selector for used in used_selectors(generated_rules(specs), specs.slos)]
    errors = {metric.name for metric in SERVER_METRICS if metric.absent_when_healthy} - {"service_errors"}
    for metric, own in EXPECTED_ABSENCES:
        fitting = [one for one in selectors if one.metric == metric and own.matcher in (None, *one.matchers)]
        assert fitting or metric in errors, metric


def test_expected_absence(specs: LoadedSpecs) -> None:
    """Series that appear with errors may be absent; series that the exporter exposes from its start must exist."""
    about = (Matcher(names.NAMESPACE, "=", NAMESPACE),)
    assert expected_absence(Selector(names.WORKFLOWS_WITH_TASK_PROBLEMS.sample, about), specs.slos)
    assert expected_absence(Selector("service_errors"), specs.slos)
    assert not expected_absence(Selector("service_requests"), specs.slos)
    assert not expected_absence(Selector(names.EXPORTER_UP.sample, about), specs.slos)
    assert not expected_absence(Selector(names.OVERDUE_MINUTES.sample, about), specs.slos)
    unknown = Matcher(names.OUTCOME, "=", UNKNOWN)
    assert expected_absence(Selector(names.WORKFLOWS_CLOSED.sample, (*about, unknown)), specs.slos)
    assert not expected_absence(Selector(names.WORKFLOWS_CLOSED.sample, about), specs.slos)
    # The exporter exposes overdue runs only for SLOs of this kind.
    assert not expected_absence(Selector(names.WORKFLOWS_OVERDUE.sample, about), specs.slos)
    assert expected_absence(Selector(names.WORKFLOWS_OVERDUE.sample, (OF_SHOP,)), specs.slos)
