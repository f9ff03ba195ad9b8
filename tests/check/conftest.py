"""The system that is checked, one for all tests of this folder."""

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

from .system import DEADLINE, FORMER, NAMESPACE, QUEUE, SPEC, Ride, System, pay, prometheus, ride, rule_files


@pytest.fixture(scope="package")
async def system(
    temporal: Temporal, programs: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[System]:
    """A Temporal namespace with a worker and an exporter, in which all is well."""
    folder = tmp_path_factory.mktemp("check")
    spec = folder / "spec.yaml"
    spec.write_text(SPEC)
    await _ran_before(await temporal.namespace(NAMESPACE))
    metrics = f"{LOOPBACK}:{free_port()}"
    runtime = prometheus_runtime(bind_address=metrics)
    client = await Client.connect(temporal.address, namespace=NAMESPACE, runtime=runtime, plugins=[SLOPlugin()])
    exporter = Exporter(folder, temporal.address, NAMESPACE, "--spec", str(spec), "--sources", "task_queues=1s")
    try:
        await exporter.started()
        runner = UnsandboxedWorkflowRunner()
        async with Worker(client, task_queue=QUEUE, workflows=[Ride], activities=[pay], workflow_runner=runner):
            made = System(temporal, client, exporter, metrics, spec, programs)
            await ride(made, 1)
            yield made
    finally:
        await exporter.stop()


@pytest.fixture(scope="package")
async def healthy(system: System, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Prometheus]:
    """A Prometheus that scrapes all of it and has its rules."""
    folder = tmp_path_factory.mktemp("healthy")
    rules = sorted(rule_files(folder / "rules", SPEC).glob("*.rules.yaml"))
    running = await prometheus(system, folder, system.jobs, rules)
    try:
        await ride(system, 3)
        await system.says(running.url, "all is well", well=True)
        yield running
    finally:
        running.child.stop()
        await running.close()


async def _ran_before(client: Client) -> None:
    """Have a run that closed before anybody counts."""
    await (await client.start_workflow(FORMER, id=FORMER, task_queue="check-nobody")).terminate()

    async def closed() -> bool:
        query = f"WorkflowType = '{FORMER}' AND ExecutionStatus = 'Terminated'"
        return (await client.count_workflows(query)).count > 0

    await until(closed, deadline=DEADLINE, what="a run that closed")
