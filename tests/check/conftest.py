"""Fixtures: the checked system, shared by all tests of this directory."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from temporalio.client import Client
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from temporal_slo.interceptor import SLOPlugin, prometheus_runtime
from temporal_slo.servers.process import LOOPBACK, free_port, until
from temporal_slo.servers.prometheus import Prometheus
from tests.conftest import Temporal
from tests.integration.exporter import Exporter

from .system import CLOSED_BEFORE, DEADLINE, NAMESPACE, QUEUE, SPEC, Ride, System, pay, prometheus, ride, rule_files


@pytest.fixture(scope="package")
async def system(
    temporal: Temporal, programs: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[System]:
    """A Temporal namespace with a healthy worker and exporter."""
    folder = tmp_path_factory.mktemp("check")
    spec = folder / "spec.yaml"
    spec.write_text(SPEC)
    await _run_before_start(await temporal.namespace(NAMESPACE))
    metrics = f"{LOOPBACK}:{free_port()}"
    runtime = prometheus_runtime(bind_address=metrics)
    client = await Client.connect(temporal.address, namespace=NAMESPACE, runtime=runtime, plugins=[SLOPlugin()])
    exporter = Exporter(folder, temporal.address, NAMESPACE, "--spec", str(spec), "--sources", "task_queues=1s")
    try:
        await exporter.started()
        runner = UnsandboxedWorkflowRunner()
        async with Worker(client, task_queue=QUEUE, workflows=[Ride], activities=[pay], workflow_runner=runner):
            checked = System(temporal, client, exporter, metrics, spec, programs)
            await ride(checked, 1)
            yield checked
    finally:
        await exporter.stop()


@pytest.fixture(scope="package")
async def healthy(system: System, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Prometheus]:
    """A Prometheus that scrapes the checked system and evaluates its rules."""
    folder = tmp_path_factory.mktemp("healthy")
    rules = sorted(rule_files(folder / "rules", SPEC).glob("*.rules.yaml"))
    running = await prometheus(system, folder, system.jobs, rules)
    try:
        await ride(system, 3)
        await system.check_until(running.url, "ok: every expected series has data", ok=True)
        yield running
    finally:
        running.child.stop()
        await running.close()


async def _run_before_start(client: Client) -> None:
    """Make a run that closed before the exporter starts."""
    await (await client.start_workflow(CLOSED_BEFORE, id=CLOSED_BEFORE, task_queue="check-no-worker")).terminate()

    async def closed() -> bool:
        query = f"WorkflowType = '{CLOSED_BEFORE}' AND ExecutionStatus = 'Terminated'"
        return (await client.count_workflows(query)).count > 0

    await until(closed, deadline=DEADLINE, what="a closed run")
