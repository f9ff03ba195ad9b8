"""The whole reference application for tests: the services, and a worker for each task queue, in the test's process."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from temporalio.client import Client

from temporal_slo.reference.activities.service_client import ServiceClient
from temporal_slo.reference.api.app import create_app
from temporal_slo.reference.api.service_reader import ServiceReader
from temporal_slo.reference.api.temporal_service import TemporalService
from temporal_slo.reference.api.webhooks import PaystackSignature
from temporal_slo.reference.web.serving import listen, serving
from temporal_slo.reference.workers.booking import booking_worker
from temporal_slo.reference.workers.fleet import fleet_worker
from temporal_slo.reference.workers.payment import payment_worker
from temporal_slo.servers.process import LOOPBACK

from .services_process import SECRET, ServicesUnderTest, running_services

BUILDERS = (booking_worker, payment_worker, fleet_worker)


@asynccontextmanager
async def application(
    client: Client, directory: Path, *, webhook_url: str | None = None, concurrency: int = 50
) -> AsyncIterator[ServicesUnderTest]:
    """Run services and workers inside the context; the namespace of *client* must have no other workers.

    Args:
        client: Client of the namespace.
        directory: Directory of the books.
        webhook_url: Receives the events of payments; None for no delivery.
        concurrency: Maximum of concurrent activities of each worker.
    """
    async with (
        running_services(directory, webhook_url=webhook_url) as services,
        ServiceClient(services.url) as service_client,
        AsyncExitStack() as workers,
    ):
        for build in BUILDERS:
            await workers.enter_async_context(build(client, service_client, max_concurrent_activities=concurrency))
        yield services


@asynccontextmanager
async def application_with_api(client: Client, directory: Path) -> AsyncIterator[tuple[ServicesUnderTest, str]]:
    """Run services, workers and API inside the context; the context is the services and the base URL of the API."""
    with listen(LOOPBACK, 0) as listener:
        url = f"http://{LOOPBACK}:{listener.getsockname()[1]}"
        async with (
            application(client, directory, webhook_url=f"{url}/api/v1/webhooks/paystack") as services,
            ServiceReader(services.url) as reader,
            serving(create_app(TemporalService(client), reader, PaystackSignature(SECRET)), listener),
        ):
            yield services, url
