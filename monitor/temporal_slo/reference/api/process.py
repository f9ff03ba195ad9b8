"""The API as a process: connect, serve until cancelled, finish the requests in flight."""

import asyncio
import logging

from temporalio.envconfig import ClientConnectConfig

from temporal_slo.reference.api.app import create_app
from temporal_slo.reference.api.service_reader import ServiceReader
from temporal_slo.reference.api.temporal_service import TemporalService
from temporal_slo.reference.api.webhooks import PaystackSignature
from temporal_slo.reference.connection import connect
from temporal_slo.reference.web.serving import listen, serving

log = logging.getLogger(__name__)


async def run_api(connection: ClientConnectConfig, address: tuple[str, int], services: str, secret: str) -> None:
    """Serve the API until cancelled.

    Args:
        connection: Connection to Temporal.
        address: Host and port to listen on.
        services: Base URL of the services.
        secret: Secret key with which Paystack signs webhooks.

    Raises:
        UsageError: Temporal is unreachable, the namespace does not exist, or the port is taken.
    """
    with listen(*address) as listener:
        client = await connect(connection)
        async with ServiceReader(services) as reader:
            app = create_app(TemporalService(client), reader, PaystackSignature(secret))
            async with serving(app, listener) as server:
                log.info("API on %s:%d", *listener.getsockname()[:2])
                # Not awaited itself: a cancellation would interrupt the requests in flight.
                await asyncio.wait([server])
