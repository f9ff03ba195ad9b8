"""Each profile names the SDK metrics as a worker with such a runtime exposes them."""

import uuid
from datetime import timedelta

import httpx
import pytest
from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.runtime import PrometheusConfig, Runtime, TelemetryConfig
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from temporal_slo.interceptor import prometheus_runtime
from temporal_slo.names.sdk import PLAIN, SDK_METRICS, WHOLE, Profile
from temporal_slo.servers.process import LOOPBACK, free_port, until
from tests.conftest import Temporal


@activity.defn
async def named() -> None:
    """Do nothing."""


@workflow.defn
class Named:
    """Executes an activity."""

    @workflow.run
    async def run(self) -> None:
        """Await the activity."""
        await workflow.execute_activity(named, start_to_close_timeout=timedelta(minutes=1))


@pytest.mark.parametrize("profile", [WHOLE, PLAIN], ids=["whole", "plain"])
async def test_names(temporal: Temporal, profile: Profile) -> None:
    """All metrics that do not need a failure are exposed with the declared type and labels."""
    address, queue = f"{LOOPBACK}:{free_port()}", uuid.uuid4().hex
    config = PrometheusConfig(bind_address=address)
    plain = Runtime(telemetry=TelemetryConfig(metrics=config)) if profile == PLAIN else None
    await temporal.namespace("names")
    client = await Client.connect(
        temporal.address, namespace="names", runtime=plain or prometheus_runtime(bind_address=address)
    )
    expected = {metric for metric in SDK_METRICS if not metric.absent_when_healthy}
    async with Worker(
        client,
        task_queue=queue,
        workflows=[Named],
        activities=[named],
        workflow_runner=UnsandboxedWorkflowRunner(),
    ):
        await client.execute_workflow(Named.run, id=queue, task_queue=queue)

        async def missing() -> set[str]:
            lines = httpx.get(f"http://{address}/metrics", timeout=30).text.splitlines()
            exposed = set()
            for metric in expected:
                name, end = profile.sample(metric), "_bucket" if metric.type == "histogram" else ""
                series = [line for line in lines if line.startswith(f"{name}{end}{{")]
                typed = f"# TYPE {name} {metric.type}" in lines
                labels = (*metric.labels, "namespace")
                if typed and any(all(f'{label}="' in line for label in labels) for line in series):
                    exposed.add(metric)
            return {metric.name for metric in expected - exposed}

        async def complete() -> bool:
            return not await missing()

        try:
            await until(complete, deadline=60, what="the SDK's metrics")
        except TimeoutError:
            assert await missing() == set()
