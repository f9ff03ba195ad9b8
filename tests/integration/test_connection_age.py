"""A server that closes connections after some time, as every Temporal server does."""

import asyncio
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest, PollWorkflowTaskQueueRequest
from temporalio.client import Client
from temporalio.service import RPCError

from temporal_slo.servers.process import until
from temporal_slo.servers.temporal import TemporalServer
from temporal_slo.temporal.gateway import UNSENT_MESSAGE, Gateway
from temporal_slo.temporal.rpc import DESCRIBE_NAMESPACE

NAMESPACE = "default"
OPTIONS = ["--headless", "--dynamic-config-value", 'frontend.keepAliveMaxConnectionAge="1s"']
REQUEST = DescribeNamespaceRequest(namespace=NAMESPACE)
CLOSED = 2


async def poll(client: Client) -> None:
    """Keep a request in progress."""
    request = PollWorkflowTaskQueueRequest(namespace=NAMESPACE, task_queue=TaskQueue(name="empty"))
    while True:
        with suppress(RPCError):
            await client.workflow_service.poll_workflow_task_queue(request, timeout=timedelta(seconds=5))


async def test_requests_in_progress(tmp_path: Path) -> None:
    """A connection that the server closes while a request is in progress fails no request of the gateway."""
    server = TemporalServer(tmp_path, options=OPTIONS)
    try:
        plain = await server.ready()
        client = await Client.connect(server.address)
        gateway = Gateway(client, NAMESPACE)
        polls = [asyncio.create_task(poll(each)) for each in (plain, client)]
        errors: list[str] = []

        async def closed() -> bool:
            await gateway.call(DESCRIBE_NAMESPACE, REQUEST, limiter=None)
            try:
                await plain.workflow_service.describe_namespace(REQUEST)
            except RPCError as error:
                errors.append(error.message)
            return len(errors) == CLOSED

        await until(closed, deadline=60, what=f"{CLOSED} connections closed")
        assert errors == [UNSENT_MESSAGE] * CLOSED
        assert set(gateway.requests) == {("DescribeNamespace", "OK")}
        for task in polls:
            task.cancel()
        await asyncio.gather(*polls, return_exceptions=True)
    finally:
        server.child.stop()
