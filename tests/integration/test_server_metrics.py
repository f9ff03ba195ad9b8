"""The Temporal server's own metrics are named and labelled as rules and dashboards take for granted."""

import uuid

import httpx
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families
from temporalio.worker import Worker

from temporal_slo.names.server import FRONTEND, SERVER_METRICS, SERVICE_NAME, VISIBILITY_CLOSE_TASK
from temporal_slo.names.server import TASK_LATENCY as SHOWN
from temporal_slo.servers.process import until
from tests.conftest import Temporal

from .endings import Booking


async def test_server_metrics(temporal: Temporal) -> None:
    """Each is there with its type and labels once a workflow has run, but for those that only trouble brings."""
    client, queue = await temporal.namespace("server-metrics"), uuid.uuid4().hex
    async with Worker(client, task_queue=queue, workflows=[Booking]):
        await client.execute_workflow(Booking.run, "well", id=queue, task_queue=queue)
    found: dict[str, Metric] = {}

    async def all_there() -> bool:
        answer = httpx.get(f"http://{temporal.server.metrics}/metrics", timeout=30)
        found.update((family.name, family) for family in text_string_to_metric_families(answer.text))
        return not missing(found)

    try:
        await until(all_there, deadline=60, what="the server's metrics")
    except TimeoutError:
        assert missing(found) == []
    assert [
        metric for metric in SERVER_METRICS if metric.name in found and found[metric.name].type != metric.type
    ] == []
    services = {sample.labels[SERVICE_NAME] for sample in found["service_requests"].samples}
    assert FRONTEND in services
    assert any(sample.labels["operation"] == VISIBILITY_CLOSE_TASK for sample in found[SHOWN.name].samples)


def missing(found: dict[str, Metric]) -> list[str]:
    """What is not there of all that needs no trouble, or lacks a label in some series."""
    wanted = [metric for metric in SERVER_METRICS if not metric.absent_when_healthy or metric.name in found]
    return [
        metric.name
        for metric in wanted
        if metric.name not in found
        or not all(set(metric.labels) <= set(sample.labels) for sample in found[metric.name].samples)
    ]
