"""The whole reference application for tests: the services, and a worker for each task queue, in the test's process."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from temporalio.client import Client

from temporal_slo.reference.activities.service_client import ServiceClient
from temporal_slo.reference.workers.booking import booking_worker
from temporal_slo.reference.workers.fleet import fleet_worker
from temporal_slo.reference.workers.payment import payment_worker

from .services_process import ServicesUnderTest, running_services

BUILDERS = (booking_worker, payment_worker, fleet_worker)


@asynccontextmanager
async def application(client: Client, directory: Path, *, concurrency: int = 50) -> AsyncIterator[ServicesUnderTest]:
    """Run services and workers inside the context; the namespace of *client* must have no other workers.

    Args:
        client: Client of the namespace.
        directory: Directory of the books.
        concurrency: Maximum of concurrent activities of each worker.
    """
    async with (
        running_services(directory) as services,
        ServiceClient(services.url) as service_client,
        AsyncExitStack() as workers,
    ):
        for build in BUILDERS:
            await workers.enter_async_context(build(client, service_client, max_concurrent_activities=concurrency))
        yield services
