from collections import Counter
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text
from temporalio.api.common.v1 import Payload

from temporal_slo import names
from temporal_slo.exporter.classify.classifier import Classifier
from temporal_slo.exporter.exposition.collector import build_info, collect
from temporal_slo.exporter.exposition.renderer import Exposition, Renderer
from temporal_slo.exporter.exposition.self_metrics import SelfMetrics
from temporal_slo.exporter.exposition.snapshot import Snapshot
from temporal_slo.exporter.mirror.samples import samples
from temporal_slo.exporter.mirror.slo_rules import OverdueRule, SloRules
from temporal_slo.exporter.mirror.store import MirrorStore
from temporal_slo.ledger.change import AUDIT, CLOSED, Gap, Position
from temporal_slo.ledger.ledger import Ledger
from temporal_slo.ledger.state import Histogram, Minutes, OpenRun, State
from temporal_slo.names.samples import Sample
from temporal_slo.runs.counted import INF_BUCKET, ClosedKey, FailureKey, RunningKey, SeenKey
from temporal_slo.runs.microseconds import HOUR, SECOND
from temporal_slo.spec.model import Outcome
from temporal_slo.temporal.gateway import Gateway
from temporal_slo.temporal.rate_limit import RateLimiter
from tests.temporal.fake_service import FakeService

RIDE = RunningKey("Ride", "rides")
NOW = 1_700_000_003 * SECOND
EARLIER, LATER = NOW - 13_250_000, NOW - SECOND
STATE = State(
    positions={
        CLOSED: Position(NOW - HOUR, 1_700_000_001_500_000),
        AUDIT: Position(NOW - HOUR, 1_700_000_002_500_000),
    },
    gaps=(Gap(NOW - HOUR, NOW - HOUR + 37_500_000),),
    open={str(number): OpenRun(RIDE, EARLIER if number < 67 else LATER, paused=number >= 11) for number in range(82)},
    closed={ClosedKey("Ride", "rides", "failed", "none"): Histogram(Counter({500: 3, INF_BUCKET: 4}), 12_500_000)},
    started=Counter({RIDE: 29}),
    failures=Counter({FailureKey("Ride", "failed", "Refused"): 47}),
    counters=Counter(
        {
            names.EXPORTER_UNKNOWN_STATUS_ROWS: 19,
            names.EXPORTER_LATE_ROWS: 23,
            names.EXPORTER_VANISHED_RUNS: 31,
            names.EXPORTER_MISSING_CLOSE_EVENTS: 41,
            names.EXPORTER_FAILURE_TYPES_OVER_LIMIT: 43,
            names.EXPORTER_RECONCILED_RUNS: 83,
            names.EXPORTER_AUDIT_REPAIRED_RUNS: 89,
        }
    ),
    waiting=Counter({SeenKey("Ride", "rides", "completed"): 53}),
    minutes={"not-stuck": Minutes(observed=79, overdue=73)},
    measured_since={90_000: NOW - SECOND},
)
RULES = SloRules(overdue=(OverdueRule("not-stuck", ("Ride",), None, 5 * SECOND),), latency_thresholds={"quick": 90_000})


async def decode(_: Payload, __: str) -> object:
    """Fail: nothing is decoded here."""
    raise AssertionError


def snapshot(folder: Path) -> Snapshot:
    """Return a snapshot in which all numbers differ."""
    ledger = Ledger(f"sqlite:///{folder / 'ledger.db'}")
    store = MirrorStore("shop", ledger, STATE, rules=RULES)
    ledger.close()
    store.audit_drift, store.oldest_pending = -97, NOW - 101 * SECOND
    gateway = Gateway(FakeService().client, "shop")
    gateway.requests.update({("ListWorkflowExecutions", "OK"): 17, ("GetWorkflowExecutionHistory", "UNAVAILABLE"): 59})
    gateway.page_sizes["ListWorkflowExecutions"].limit = 107
    gateway.unreadable_rows.counts.update(too_large=109, undecodable=113)
    limiter = RateLimiter(50.0, 1, initial_rate=20.0)
    limiter.waited_seconds = 61.5
    classifier = Classifier(decode, {"Ride": Outcome.model_validate({"from": "status", "good": ["CONFIRMED"]})})
    self_metrics = SelfMetrics(gateway, {"history": limiter}, (), classifier)
    return Snapshot("shop", tuple(samples(store, NOW)), None, 1_700_000_000.5, 0.125, tuple(self_metrics()))


@pytest.fixture
def complete(tmp_path: Path) -> Snapshot:
    """A snapshot after a complete poll."""
    return snapshot(tmp_path)


EXPECTED = """\
temporal_slo_workflows_started_total{task_queue="rides",temporal_namespace="shop",workflow_type="Ride"} 29.0
temporal_slo_workflows_closed_total{outcome="none",status="failed",task_queue="rides",\
temporal_namespace="shop",workflow_type="Ride"} 7.0
temporal_slo_workflows_seen_closed_total{status_group="completed",task_queue="rides",\
temporal_namespace="shop",workflow_type="Ride"} 53.0
temporal_slo_workflows_seen_closed_total{status_group="failed",task_queue="rides",\
temporal_namespace="shop",workflow_type="Ride"} 7.0
temporal_slo_workflows_pending{status_group="completed",task_queue="rides",\
temporal_namespace="shop",workflow_type="Ride"} 53.0
temporal_slo_workflows_pending{status_group="failed",task_queue="rides",\
temporal_namespace="shop",workflow_type="Ride"} 0.0
temporal_slo_workflow_failures_total{failure_type="Refused",status="failed",\
temporal_namespace="shop",workflow_type="Ride"} 47.0
temporal_slo_workflows_running{task_queue="rides",temporal_namespace="shop",workflow_type="Ride"} 11.0
temporal_slo_workflow_oldest_running_age_seconds{temporal_namespace="shop",workflow_type="Ride"} 13.25
temporal_slo_workflows_overdue{slo="not-stuck",temporal_namespace="shop",workflow_type="Ride"} 67.0
temporal_slo_latency_measured_since_timestamp_seconds{slo="quick",temporal_namespace="shop"} 1.700000002e+09
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
temporal_slo_exporter_rate_limit_requests_per_second{limiter="history",temporal_namespace="shop"} 50.0
temporal_slo_exporter_current_rate_limit_requests_per_second{limiter="history",temporal_namespace="shop"} 20.0
temporal_slo_exporter_rate_limit_wait_seconds_total{limiter="history",temporal_namespace="shop"} 61.5
temporal_slo_exporter_pending_runs{temporal_namespace="shop"} 53.0
temporal_slo_exporter_oldest_pending_age_seconds{temporal_namespace="shop"} 101.0
temporal_slo_exporter_missing_close_events_total{temporal_namespace="shop"} 41.0
temporal_slo_exporter_unknown_execution_starts{temporal_namespace="shop"} 82.0
temporal_slo_exporter_shortened_executions_total{temporal_namespace="shop"} 0.0
temporal_slo_exporter_failure_types_over_limit_total{temporal_namespace="shop"} 43.0
temporal_slo_exporter_workflow_types_over_limit_total{temporal_namespace="shop"} 0.0
temporal_slo_exporter_task_queue_labels_over_limit_total{temporal_namespace="shop"} 0.0
temporal_slo_exporter_outcomes_stopped{temporal_namespace="shop"} 0.0
temporal_slo_exporter_unknown_status_rows_total{temporal_namespace="shop"} 19.0
temporal_slo_exporter_rows_set_aside_total{reason="too_large",temporal_namespace="shop"} 109.0
temporal_slo_exporter_rows_set_aside_total{reason="undecodable",temporal_namespace="shop"} 113.0
temporal_slo_exporter_page_size_limit_rows{api="ListWorkflowExecutions",temporal_namespace="shop"} 107.0
temporal_slo_exporter_build_info{version="0.1.0"} 1.0
"""


def render(*snapshots: Snapshot) -> Exposition:
    """Return the exposition of *snapshots*."""
    return Renderer().render(collect(snapshots, [build_info()]))


def text(snapshot: Snapshot) -> str:
    """Return the exposition without comments and the histogram."""
    lines = render(snapshot).text.decode().splitlines(keepends=True)
    return "".join(line for line in lines if not line.startswith(("#", names.WORKFLOW_DURATION.name)))


def test_exposition(complete: Snapshot) -> None:
    """Each value of the ledger and of the exporter is exposed with its name and labels, in the order of `names`."""
    assert text(complete) == EXPECTED


def test_histogram(complete: Snapshot) -> None:
    """Observations become cumulative buckets that end at +Inf, with count and sum."""
    (family,) = (f for f in parse_text(render(complete).text.decode()) if f.name == names.WORKFLOW_DURATION.name)
    values = {(s.name.removeprefix(family.name), s.labels.get("le")): s.value for s in family.samples}
    assert (values["_bucket", "0.5"], values["_bucket", "86400.0"], values["_bucket", "+Inf"]) == (3, 3, 7)
    assert (values["_count", None], values["_sum", None]) == (7, 12.5)


def test_no_data_is_not_zero() -> None:
    """Before the first poll no values and no last success are exposed, and `up` is 0."""
    assert text(Snapshot("shop", error="not yet")).splitlines() == [
        'temporal_slo_exporter_up{temporal_namespace="shop"} 0.0',
        'temporal_slo_exporter_build_info{version="0.1.0"} 1.0',
    ]


def test_every_family_declared(complete: Snapshot) -> None:
    """Both formats parse, and have every family of `names` with its type and HELP."""
    exposition = render(complete)
    text = {f.name: (f.type, f.documentation) for f in parse_text(exposition.text.decode())}
    openmetrics = exposition.openmetrics.decode()
    strict = parse_openmetrics(openmetrics)  # type: ignore[no-untyped-call] # untyped in the library
    assert text == {f.name: (f.type, f.documentation) for f in strict}
    assert text == {f.name: (f.type, f.help) for f in names.EXPORTER_FAMILIES}


@pytest.mark.parametrize("labels", [{"kind": "Ride"}, {"workflow_type": "Ride", "task_queue": "rides", "status": "x"}])
def test_wrong_labels(labels: dict[str, str]) -> None:
    """A sample with labels that its family does not declare raises an error."""
    with pytest.raises(ValueError, match=r"temporal_slo_workflows_running: labels .* are not"):
        collect([Snapshot("shop", (Sample(names.WORKFLOWS_RUNNING, labels, 1),))])
