"""Cause alerts, as Prometheus evaluates them, and their runbooks."""

import re
import subprocess
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml

from temporal_slo import names
from temporal_slo.generate.artefacts import render
from temporal_slo.generate.cause_alerts import CAUSES, strictest
from temporal_slo.generate.files import write
from temporal_slo.generate.runbooks import RUNBOOKS, page
from temporal_slo.generate.server_alerts import SERVER_CAUSES
from temporal_slo.names import Family, server
from temporal_slo.spec.load import load
from temporal_slo.spec.model import Causes

from .promtool import LINKS, Expected, evaluate
from .test_burn import SPEC


def one(family: Family, **labels: str) -> str:
    """A series of the monitored namespace."""
    own = {} if family.labels == () else {"temporal_namespace": "shop-prod"}
    pairs = ", ".join(f'{name}="{value}"' for name, value in (own | labels).items())
    return f"{family.sample}{{{pairs}}}" if pairs else family.sample


def of_server(metric: server.ServerMetric, suffix: str = "", **labels: str) -> str:
    """A series of the Temporal server."""
    pairs = ", ".join(f'{name}="{value}"' for name, value in labels.items())
    return f"{metric.name}{suffix}{{{pairs}}}"


def slow(metric: server.ServerMetric, fast: str, slower: str, **labels: str) -> dict[str, str]:
    """A histogram of 300 observations a minute: within the bound *fast*, in the second hour within *slower*."""
    healthy, faulty = {**labels, "le": fast}, {**labels, "le": slower}
    return {
        of_server(metric, "_bucket", **healthy): "0+300x60 18000x60 18000+300x120",
        of_server(metric, "_bucket", **faulty): "0+300x240",
        of_server(metric, "_bucket", **labels, le="+Inf"): "0+300x240",
    }


FRONTEND = {"service_name": "frontend", "namespace": "shop_prod"}
QUEUE = {"task_queue": "q", "task_type": "workflow"}
RIDE = {"workflow_type": "Ride"}

# Series that fire each alert from minute 60 on, and resolve it by minute 180; before minute 60 there is no fault.
FIRES: dict[str, dict[str, str]] = {
    "TemporalSloExporterDown": {one(names.EXPORTER_UP): "1x60 _x60 1x120"},
    "TemporalSloNamespaceUnreachable": {one(names.EXPORTER_UP): "1x60 0x60 1x120"},
    "TemporalSloExporterStale": {
        one(names.EXPORTER_LAST_SUCCESS): "0+60x60 3600x60 7200+60x120",
        one(names.EXPORTER_UP): "1x240",
    },
    "TemporalSloSourceStale": {
        one(names.EXPORTER_SOURCE_LAST_SUCCESS, source="schedules"): "0+60x60 3600x60 7200+60x120"
    },
    "TemporalSloIngestionLag": {one(names.EXPORTER_GAP): "0x60 700x60 0x120"},
    "TemporalSloClassificationLag": {one(names.EXPORTER_OLDEST_PENDING_AGE): "0x60 700x60 0x120"},
    "TemporalSloAuditDrift": {one(names.EXPORTER_AUDIT_DRIFT): "-3x60 7x60 0x120"},
    "TemporalSloSpecNotReloaded": {one(names.EXPORTER_RELOAD_SUCCESSFUL): "1x60 0x60 1x120"},
    "TemporalSloUnknownOutcomes": {
        one(names.WORKFLOWS_CLOSED, **RIDE, status="completed", outcome="unknown"): "0x60 0+3x60 180x120",
        one(names.WORKFLOWS_CLOSED, **RIDE, status="completed", outcome="good"): "0+97x240",
    },
    "TemporalSloNoPollers": {
        one(names.TASK_QUEUE_POLLERS, **QUEUE): "2x60 0x60 2x120",
        one(names.TASK_QUEUE_BACKLOG, **QUEUE): "0x60 5x60 0x120",
    },
    "TemporalSloBacklogAge": {one(names.TASK_QUEUE_BACKLOG_AGE, **QUEUE): "3x60 301x60 3x120"},
    "TemporalSloRunsOverdue": {one(names.WORKFLOWS_OVERDUE, **RIDE, slo="stuck"): "0x60 2x60 0x120"},
    "TemporalSloStuckTasks": {
        one(names.WORKFLOWS_WITH_TASK_PROBLEMS, **RIDE, category="c", cause="d"): "0x60 1x60 0x120"
    },
    "TemporalSloRetryStorm": {one(names.ACTIVITIES_RETRYING, **RIDE, activity_type="pay"): "0x60 3x60 0x120"},
    "TemporalSloScheduleOverdue": {one(names.SCHEDULE_OVERDUE, schedule_id="nightly"): "0x60 350x60 0x120"},
    "TemporalSloScheduleMissed": {one(names.SCHEDULE_MISSED_CATCHUP, schedule_id="nightly"): "4x60 6x180"},
    "TemporalSloServerErrors": {
        of_server(server.SERVICE_REQUESTS, **FRONTEND, operation="StartWorkflowExecution"): "0+310x240",
        of_server(server.SERVICE_REQUESTS, **FRONTEND, operation="PollWorkflowTaskQueue"): "0+90000x240",
        # One error in an hour, then seven a minute, and again one.
        of_server(server.SERVICE_ERRORS, **FRONTEND, operation="StartWorkflowExecution"): "0x30 1x30 1+7x60 422x120",
        of_server(server.SERVICE_ERRORS, **FRONTEND, operation="PollWorkflowTaskQueue"): "0+70000x240",
    },
    "TemporalSloPersistenceSlow": slow(server.PERSISTENCE_LATENCY, "0.5", "5", service_name="history"),
    "TemporalSloVisibilityLag": slow(
        server.TASK_LATENCY, "50", "200", service_name="history", operation="VisibilityTaskCloseExecution"
    ),
}


def test_every_cause_is_tested() -> None:
    """Each alert has a case here, a runbook, and a heading on the page; each runbook has an alert."""
    causes = [cause.name for cause in (*CAUSES, *SERVER_CAUSES)]
    assert sorted(FIRES) == sorted(causes)
    assert sorted(RUNBOOKS) == sorted([*causes, names.ALERT_BURN, names.ALERT_EXHAUSTED])
    assert all(f"\n## {name}\n" in page() for name in RUNBOOKS)


CRASH_LOOPS = {
    "scraped often": "1x60 " + "0 _ _ _ " * 15 + "1x60",
    "scraped rarely": "1x60 " + "0 _ _ _ _ _ _ _ _ _ " * 6 + "1x60",
}


@pytest.mark.parametrize("case", CRASH_LOOPS)
def test_crash_loop(case: str, programs: dict[str, Path], tmp_path: Path) -> None:
    """An exporter that crashes before its first poll completes, again and again, fires an alert."""
    blind = "TemporalSlo(ExporterDown|NamespaceUnreachable)"
    expected = [Expected(60, blind, 0, "page"), *(Expected(minute, blind, 1, "page") for minute in range(80, 115, 5))]
    series = {one(names.EXPORTER_UP): CRASH_LOOPS[case]}
    assert (
        evaluate(programs["promtool"], tmp_path, SPEC, series, [*expected, Expected(160, blind, 0)], but=("shop.",))
        == ""
    )


def test_tolerated(programs: dict[str, Path], tmp_path: Path) -> None:
    """As many overdue runs as an SLO tolerates, over all its workflow types, fire no alert."""
    overdue = "{name: stuck, workflow: [Ride, Walk], objective: 99, sli: {overdue: {max_age: 15m, tolerate: 2}}}"
    series = {
        one(names.WORKFLOWS_OVERDUE, **RIDE, slo="stuck"): "1x60 2x60 1x60",
        one(names.WORKFLOWS_OVERDUE, workflow_type="Walk", slo="stuck"): "1x180",
        one(names.WORKFLOWS_OVERDUE, **RIDE, slo="other"): "1x180",
    }
    name = "TemporalSloRunsOverdue"
    expected = [Expected(59, name, 1), Expected(119, name, 3), Expected(179, name, 1)]
    spec = f"{SPEC}- {overdue}\n"
    assert evaluate(programs["promtool"], tmp_path, spec, series, expected, but=("shop.",)) == ""


def test_no_data(programs: dict[str, Path], tmp_path: Path) -> None:
    """Without any series only TemporalSloExporterDown fires."""
    expected = [Expected(119, name, int(name == "TemporalSloExporterDown")) for name in sorted(FIRES)]
    assert evaluate(programs["promtool"], tmp_path, SPEC, {}, expected) == ""


def test_strictest() -> None:
    """With several specs of a namespace each threshold is the lowest."""
    one = Causes.model_validate({"backlog_age": "3m", "audit_drift": "7", "server": {"visibility_lag": "30s"}})
    other = Causes.model_validate({"ingestion_lag": "2m", "server": {"frontend_error_percent": "0.3"}})
    server_causes = {"visibility_lag": "30s", "frontend_error_percent": "0.3"}
    both = Causes.model_validate({"backlog_age": "3m", "ingestion_lag": "2m", "server": server_causes})
    assert strictest([one, other]) == strictest([other, one]) == both


def test_untrusted_type(programs: dict[str, Path], tmp_path: Path) -> None:
    """The link to the runs quotes the workflow type twice: for visibility, then for the URL."""
    (tmp_path / "spec.yaml").write_text(SPEC)
    write(tmp_path, render(load([tmp_path / "spec.yaml"]), LINKS))
    series = one(names.WORKFLOWS_OVERDUE, workflow_type="O'Ride & {{ x }}", slo="stuck")
    wrong = {"alertname": "TemporalSloRunsOverdue", "eval_time": "59m", "exp_alerts": []}
    case = {"interval": "1m", "input_series": [{"series": series, "values": "2x60"}], "alert_rule_test": [wrong]}
    test = {"rule_files": ["causes-shop-prod.rules.yaml"], "evaluation_interval": "1m", "tests": [case]}
    (tmp_path / "test.yaml").write_text(yaml.safe_dump(test))
    command = [str(programs["promtool"]), "test", "rules", "test.yaml"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    url = re.search(r'executions_url="([^"]*)"', done.stderr)
    assert url, done.stderr
    assert parse_qs(urlsplit(url[1]).query) == {
        "query": [r"WorkflowType = 'O\'Ride & {{ x }}' AND ExecutionStatus = 'Running'"]
    }
