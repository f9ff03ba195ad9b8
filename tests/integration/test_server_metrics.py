"""The Temporal server's metrics have the names, types and labels that rules and dashboards use."""

import uuid

import httpx
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families
from temporalio.worker import Worker

from temporal_slo.names.server import FRONTEND, SERVER_METRICS, SERVICE_NAME, VISIBILITY_CLOSE_TASK
from temporal_slo.names.server import TASK_LATENCY as TASK_LATENCY_METRIC
from temporal_slo.servers.process import until
from tests.conftest import Temporal

from .endings import Booking


async def test_server_metrics(temporal: Temporal) -> None:
    """Every metric is present with its type and labels after a workflow has run, except those of failures."""
    client, queue = await temporal.namespace("server-metrics"), uuid.uuid4().hex
    async with Worker(client, task_queue=queue, workflows=[Booking]):
        await client.execute_workflow(Booking.run, "CONFIRMED", id=queue, task_queue=queue)
    found: dict[str, Metric] = {}

    async def all_present() -> bool:
        response = httpx.get(f"http://{temporal.server.metrics}/metrics", timeout=30)
        found.update((family.name, family) for family in text_string_to_metric_families(response.text))
        return not missing(found)

    try:
        await until(all_present, deadline=60, what="the server's metrics")
    except TimeoutError:
        assert missing(found) == []
    assert [
        metric for metric in SERVER_METRICS if metric.name in found and found[metric.name].type != metric.type
    ] == []
    services = {sample.labels[SERVICE_NAME] for sample in found["service_requests"].samples}
    assert FRONTEND in services
    assert any(
        sample.labels["operation"] == VISIBILITY_CLOSE_TASK for sample in found[TASK_LATENCY_METRIC.name].samples
    )


def missing(found: dict[str, Metric]) -> list[str]:
    """Return the metrics that are absent although the server is healthy, or lack a label in some series."""
    wanted = [metric for metric in SERVER_METRICS if not metric.absent_when_healthy or metric.name in found]
    return [
        metric.name
        for metric in wanted
        if metric.name not in found
        or not all(set(metric.labels) <= set(sample.labels) for sample in found[metric.name].samples)
    ]
