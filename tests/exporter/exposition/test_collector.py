import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from temporal_slo import names
from temporal_slo.exporter.exposition import collector
from temporal_slo.exporter.exposition.collector import collect
from temporal_slo.exporter.exposition.renderer import Exposition, Renderer
from temporal_slo.exporter.exposition.snapshot import DurationKey, Figures, OverdueKey, Snapshot
from temporal_slo.ledger.change import GONE, LATE, OTHER_FAILURES, RECONCILED, REPAIRED, UNKNOWN_STATUS, VANISHED
from temporal_slo.names.samples import Observations, Sample
from temporal_slo.runs.counted import BUCKET_BOUNDS_SECONDS, ClosedKey, FailureKey, RunningKey

COUNTS = (3, *[0] * (len(BUCKET_BOUNDS_SECONDS) - 1), 4)
FIGURES = Figures(
    started={RunningKey("Ride", "rides"): 29},
    closed={ClosedKey("Ride", "rides", "failed", "none"): 7},
    durations={DurationKey("Ride", "failed", "none"): Observations(COUNTS, 12.5)},
    running={RunningKey("Ride", "rides"): 11},
    oldest_running_age={"Ride": 13.25},
    others={UNKNOWN_STATUS: 19, LATE: 23, VANISHED: 31, GONE: 41, OTHER_FAILURES: 43, RECONCILED: 83, REPAIRED: 89},
    failures={FailureKey("Ride", "failed", "Refused"): 47},
    waiting=53,
    overdue={OverdueKey("Ride", "not-stuck"): 67},
    paused={"Ride": 71},
    observed_minutes={"not-stuck": 79},
    overdue_minutes={"not-stuck": 73},
    covered_until=1_700_000_001.5,
    uncovered=37.5,
    audited_until=1_700_000_002.5,
    audit_drift=-97,
)
REQUESTS = {("ListWorkflowExecutions", "OK"): 17, ("GetWorkflowExecutionHistory", "UNAVAILABLE"): 59}
GOOD = Snapshot(
    "shop",
    FIGURES,
    None,
    1_700_000_000.5,
    0.125,
    REQUESTS,
    {"history": 61.5},
    {"history": 50.0},
    outcomes_stopped=False,
)

EXPECTED = """\
temporal_slo_workflows_started_total{task_queue="rides",temporal_namespace="shop",workflow_type="Ride"} 29.0
temporal_slo_workflows_closed_total{outcome="none",status="failed",task_queue="rides",\
temporal_namespace="shop",workflow_type="Ride"} 7.0
temporal_slo_workflow_failures_total{failure_type="Refused",status="failed",\
temporal_namespace="shop",workflow_type="Ride"} 47.0
temporal_slo_workflows_running{task_queue="rides",temporal_namespace="shop",workflow_type="Ride"} 11.0
temporal_slo_workflow_oldest_running_age_seconds{temporal_namespace="shop",workflow_type="Ride"} 13.25
temporal_slo_workflows_overdue{slo="not-stuck",temporal_namespace="shop",workflow_type="Ride"} 67.0
temporal_slo_observed_minutes_total{slo="not-stuck",temporal_namespace="shop"} 79.0
temporal_slo_overdue_minutes_total{slo="not-stuck",temporal_namespace="shop"} 73.0
temporal_slo_workflows_paused{temporal_namespace="shop",workflow_type="Ride"} 71.0
temporal_slo_exporter_up{temporal_namespace="shop"} 1.0
temporal_slo_exporter_last_success_timestamp_seconds{temporal_namespace="shop"} 1.7000000005e+09
temporal_slo_exporter_poll_duration_seconds{temporal_namespace="shop"} 0.125
temporal_slo_exporter_watermark_timestamp_seconds{temporal_namespace="shop"} 1.7000000015e+09
temporal_slo_exporter_gap_seconds{temporal_namespace="shop"} 37.5
temporal_slo_exporter_late_rows_total{temporal_namespace="shop"} 23.0
temporal_slo_exporter_vanished_runs_total{temporal_namespace="shop"} 31.0
temporal_slo_exporter_reconciled_runs_total{temporal_namespace="shop"} 83.0
temporal_slo_exporter_audited_until_timestamp_seconds{temporal_namespace="shop"} 1.7000000025e+09
temporal_slo_exporter_audit_drift_runs{temporal_namespace="shop"} -97.0
temporal_slo_exporter_audit_repaired_runs_total{temporal_namespace="shop"} 89.0
temporal_slo_exporter_visibility_requests_total{api="ListWorkflowExecutions",code="OK",temporal_namespace="shop"} 17.0
temporal_slo_exporter_history_requests_total{code="UNAVAILABLE",temporal_namespace="shop"} 59.0
temporal_slo_exporter_rate_limit_requests_per_second{budget="history",temporal_namespace="shop"} 50.0
temporal_slo_exporter_rate_limit_wait_seconds_total{budget="history",temporal_namespace="shop"} 61.5
temporal_slo_exporter_pending_runs{temporal_namespace="shop"} 53.0
temporal_slo_exporter_missing_close_events_total{temporal_namespace="shop"} 41.0
temporal_slo_exporter_failure_types_over_limit_total{temporal_namespace="shop"} 43.0
temporal_slo_exporter_outcomes_stopped{temporal_namespace="shop"} 0.0
temporal_slo_exporter_unknown_status_rows_total{temporal_namespace="shop"} 19.0
temporal_slo_exporter_build_info{version="0.1.0"} 1.0
"""


def render(*snapshots: Snapshot) -> Exposition:
    """The exposition of these snapshots."""
    return Renderer().render(collect(snapshots))


def samples(snapshot: Snapshot) -> str:
    """The exposition without comments and the histogram."""
    lines = render(snapshot).text.decode().splitlines(keepends=True)
    return "".join(line for line in lines if not line.startswith(("#", names.WORKFLOW_DURATION.name)))


def test_exposition() -> None:
    """A snapshot's exposition holds each figure under its name and labels, in the order of names.py."""
    assert samples(GOOD) == EXPECTED


def test_histogram() -> None:
    """Durations become cumulative buckets that end at +Inf, with count and sum."""
    (family,) = (f for f in parse_text(render(GOOD).text.decode()) if f.name == names.WORKFLOW_DURATION.name)
    values = {(s.name.removeprefix(family.name), s.labels.get("le")): s.value for s in family.samples}
    assert (values["_bucket", "0.5"], values["_bucket", "86400.0"], values["_bucket", "+Inf"]) == (3, 3, 7)
    assert (values["_count", None], values["_sum", None]) == (7, 12.5)


def test_no_data_is_not_zero() -> None:
    """Before the first poll there are no figures and no last success, and the exporter is not up."""
    assert samples(Snapshot("shop", trouble="not yet")).splitlines() == [
        'temporal_slo_exporter_up{temporal_namespace="shop"} 0.0',
        'temporal_slo_exporter_build_info{version="0.1.0"} 1.0',
    ]


def test_every_family_declared() -> None:
    """Both formats parse, and hold every family of names.py with its type and help."""
    exposition = render(GOOD)
    text = {f.name: (f.type, f.documentation) for f in parse_text(exposition.text.decode())}
    openmetrics = exposition.openmetrics.decode()
    strict = parse_openmetrics(openmetrics)  # type: ignore[no-untyped-call] # the library has it untyped
    assert text == {f.name: (f.type, f.documentation) for f in strict}
    assert text == {f.name: (f.type, f.help) for f in names.EXPORTER_FAMILIES}


def test_wrong_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sample with labels that its family does not declare is refused, not quietly cut."""
    wrong = Sample(names.WORKFLOWS_RUNNING, {names.NAMESPACE: "shop", "kind": "Ride"}, 1)
    monkeypatch.setattr(collector, "_samples", lambda _: [wrong])
    with pytest.raises(ValueError, match=r"temporal_slo_workflows_running: \['kind', 'temporal_namespace'\] are not"):
        collect([GOOD])
