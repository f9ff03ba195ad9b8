"""Latency objectives, outcomes and activity metrics."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from temporalio.client import Client
from temporalio.common import RetryPolicy
from temporalio.runtime import Runtime, TelemetryConfig
from temporalio.worker import Worker

from temporal_slo import names
from temporal_slo.interceptor import Objective, OutcomeExpression, SLOPlugin, prometheus_runtime
from temporal_slo.servers.process import free_port, until
from tests.conftest import Temporal

from . import cases
from .conftest import NAMESPACE, Connect
from .drive import Drive, case_worker
from .metrics import Metrics

SPEC = f"""
version: temporal-slo/v1
service: shop
temporal_namespace: {NAMESPACE}
owner: team
period: 30d
slos:
  - name: fast
    workflow: Classified
    objective: 99
    outcome: {{from: status, good: [OK], bad: ["NO"], excluded: [VOID]}}
    sli: {{latency: {{threshold: 37s}}}}
  - name: elsewhere
    workflow: Classified
    task_queue: another-queue
    objective: 99
    sli: {{latency: {{threshold: 38s}}}}
"""


def objective(slo: str, workflow: str, seconds: float) -> Objective:
    """Return an objective."""
    return Objective(slo=slo, workflow=workflow, threshold=timedelta(seconds=seconds))


async def test_latency_over_all_runs(connect: Connect, metrics: Metrics, queue: str) -> None:
    """A continue-as-new chain is measured from its first run, by the server's clock, and keeps its memo."""
    plugin = SLOPlugin(objectives=[objective("slow", "Slow", 1.7), objective("lax", "Slow", 60)])
    client = await connect(plugin)
    drive = Drive(client, queue)
    async with case_worker(client, queue, workflows=[cases.Slow]):
        handle = await drive.start(cases.Slow, 1, memo={"mine": 0, "yours": {"deep": [1]}})
        await drive.start(cases.Slow, 0)
        await drive.wait()
        rows = await drive.rows(3)
    assert rows.total() == 3
    assert await handle.result() == "1"
    assert (await (await handle.describe()).memo())["yours"] == {"deep": [1]}
    observed = sorted(value for _, value in metrics.seconds(names.WORKFLOW_LATENCY, queue))
    first = await client.get_workflow_handle(handle.id, run_id=handle.first_execution_run_id).describe()
    last = await handle.describe()
    assert last.close_time
    assert observed[-1] == pytest.approx((last.close_time - first.start_time).total_seconds(), abs=0.3)
    assert len(observed) == 2
    # Only both runs of the chain together exceed the threshold.
    assert observed[0] < 1.7 < observed[1]
    assert metrics.counts(names.WORKFLOW_WITHIN_OBJECTIVE, queue) == {
        ("Slow", "no", "slow"): 1,
        ("Slow", "no", "lax"): 2,
    }
    assert metrics.counts(names.WORKFLOW_OBJECTIVE, queue) == {("Slow", "no", "slow"): 2, ("Slow", "no", "lax"): 2}


@pytest.mark.parametrize("given", ["spec", "arguments"])
async def test_outcomes_against_objectives(
    connect: Connect, metrics: Metrics, queue: str, tmp_path: Path, given: str
) -> None:
    """From a spec or from arguments: a bad outcome misses the objective; excluded and unknown ones do not count."""
    (tmp_path / "slo.yaml").write_text(SPEC)
    expression = OutcomeExpression(expression="status", good=["OK"], bad=["NO"], excluded=["VOID"])
    plugin = (
        SLOPlugin(spec=tmp_path)
        if given == "spec"
        else SLOPlugin(objectives=[objective("fast", "Classified", 37)], outcomes={"Classified": expression})
    )
    client = await connect(plugin)
    drive = Drive(client, queue)
    async with case_worker(client, queue, workflows=[cases.Classified]):
        for status in ("OK", "OK", "OK", "NO", "VOID", "?"):
            await drive.start(cases.Classified, status)
        await drive.wait()
    assert {labels[3]: count for labels, count in metrics.ends(queue).items()} == {
        "good": 3,
        "bad": 1,
        "excluded": 1,
        "unknown": 1,
    }
    assert metrics.counts(names.WORKFLOW_OBJECTIVE, queue) == {("Classified", "no", "fast"): 4}
    assert metrics.counts(names.WORKFLOW_WITHIN_OBJECTIVE, queue) == {("Classified", "no", "fast"): 3}


async def test_retries_and_children(connect: Connect, metrics: Metrics, queue: str) -> None:
    """An attempt that will be retried does not count towards an objective; a child counts with child="yes"."""
    plugin = SLOPlugin(objectives=[objective("retries", "Retries", 60), objective("child", "Child", 60)])
    client = await connect(plugin)
    drive = Drive(client, queue)
    async with case_worker(client, queue, workflows=[cases.Retries, cases.HandlesChild, cases.Child]):
        await drive.start(cases.Retries, retry_policy=RetryPolicy(initial_interval=timedelta(milliseconds=10)))
        await drive.start(cases.HandlesChild)
        await drive.wait()
    assert metrics.counts(names.WORKFLOW_OBJECTIVE, queue) == {
        ("Retries", "no", "retries"): 1,
        ("Child", "yes", "child"): 1,
    }
    assert metrics.counts(names.WORKFLOW_WITHIN_OBJECTIVE, queue) == {("Retries", "no", "retries"): 1}


async def test_activities(connect: Connect, metrics: Metrics, queue: str) -> None:
    """Each attempt counts by its outcome; schedule-to-start latency covers only first attempts that are not local."""
    client = await connect(SLOPlugin())
    drive = Drive(client, queue)
    used = [cases.ActivityFails, cases.LocalActivity, cases.CompletedElsewhere, cases.WaitsForActivity]
    async with case_worker(client, queue, workflows=used):
        await drive.start(cases.ActivityFails)
        await drive.start(cases.LocalActivity)
        await drive.start(cases.CompletedElsewhere)
        waiting = await drive.start(cases.WaitsForActivity)

        async def beating() -> bool:
            pending = (await waiting.describe()).raw_description.pending_activities
            return any(activity.HasField("last_heartbeat_time") for activity in pending)

        await until(beating, deadline=20, what="a heartbeat")
        await waiting.cancel()
        await drive.wait()
    assert metrics.counts(names.ACTIVITY_ATTEMPTS, queue) == {
        ("ActivityFails", "fail", "failed", "CardDeclined"): 2,
        ("LocalActivity", "echo", "completed", "none"): 1,
        ("CompletedElsewhere", "later", "pending", "none"): 1,
        ("WaitsForActivity", "hang", "canceled", "none"): 1,
    }
    waits = metrics.seconds(names.ACTIVITY_SCHEDULE_TO_START, queue)
    assert sorted(labels[names.ACTIVITY_TYPE] for labels, _ in waits) == ["fail", "hang", "later"]
    assert all(0 <= value < 5 for _, value in waits)


async def test_label_values_are_bounded(connect: Connect, metrics: Metrics, queue: str) -> None:
    """Failure types above the limit become `other`, which is counted; a constant label is on every metric."""
    client = await connect(SLOPlugin(max_label_values=2, labels={"team": "bookings"}))
    drive = Drive(client, queue)
    before = metrics.counts(names.WORKER_VALUES_OVER_LIMIT).get(("failure_type",), 0)
    async with case_worker(client, queue, workflows=[cases.FailsAs]):
        for name in ("A", "B", "C", "D"):
            await drive.start(cases.FailsAs, name)
            await drive.wait()
    assert {labels[4]: count for labels, count in metrics.ends(queue).items()} == {"A": 1, "B": 1, "other": 2}
    assert metrics.counts(names.WORKER_VALUES_OVER_LIMIT)[("failure_type",)] == before + 2
    # Registered types are exempt from the limit.
    async with case_worker(client, queue, workflows=[cases.FailsAs, cases.Returns, cases.Continues]):
        for case, arguments in ((cases.Returns, ()), (cases.Continues, (0,))):
            await drive.start(case, *arguments)
        await drive.wait()
    assert {labels[0] for labels in metrics.ends(queue)} == {"FailsAs", "Returns", "Continues"}
    assert {labels["team"] for labels, _ in metrics.seconds(names.WORKFLOW_LATENCY, queue)} == {"bookings"}


async def test_prometheus_runtime(temporal: Temporal, queue: str, plain: Client) -> None:
    """Names have suffixes, durations are in seconds, and a threshold is a bucket bound."""
    del plain  # which has registered the namespace
    port = free_port()
    objectives = [objective("fast", "Returns", 37.5)]
    runtime = prometheus_runtime(bind_address=f"127.0.0.1:{port}", objectives=objectives)
    client = await Client.connect(
        temporal.address, namespace=NAMESPACE, runtime=runtime, plugins=[SLOPlugin(objectives=objectives)]
    )
    drive = Drive(client, queue)
    async with case_worker(client, queue, workflows=[cases.Returns, cases.CardFails]):
        await drive.start(cases.Returns)
        await drive.start(cases.CardFails)
        await drive.wait()
        text = await _scrape(port)
        assert "temporal_slo_workflow_objective_total{" in text, "no series before the first end"
    text = await _scrape(port)
    for family in names.INTERCEPTOR_FAMILIES:
        if family not in (names.WORKER_ERRORS, names.WORKER_VALUES_OVER_LIMIT, names.WORKFLOW_TASK_FAILURES):
            assert f"\n# HELP {family.sample} {family.help}\n" in text, family.name
    assert 'le="37.5"' in text
    (seconds,) = [
        float(line.split()[-1])
        for line in text.splitlines()
        if line.startswith("temporal_slo_workflow_latency_seconds_sum") and '"Returns"' in line
    ]
    assert 0 < seconds < 20


async def _scrape(port: int) -> str:
    async with httpx.AsyncClient() as http:
        return (await http.get(f"http://127.0.0.1:{port}/metrics")).text


async def test_missing_telemetry_is_logged(temporal: Temporal, queue: str, caplog: pytest.LogCaptureFixture) -> None:
    """A runtime without telemetry is logged when a worker is created, with the remedy."""
    runtime = Runtime(telemetry=TelemetryConfig())
    client = await Client.connect(temporal.address, namespace=NAMESPACE, runtime=runtime, plugins=[SLOPlugin()])
    with ThreadPoolExecutor() as pool:
        Worker(client, task_queue=queue, workflows=[cases.Returns], workflow_task_executor=pool)
    assert any("no telemetry" in r.message and "prometheus_runtime" in r.message for r in caplog.records)
