"""The worker and the load as processes: they connect, run until cancelled, and stop in good order."""

import asyncio
import logging
from collections.abc import Sequence

from temporalio.client import Client, Plugin
from temporalio.envconfig import ClientConnectConfig
from temporalio.runtime import Runtime
from temporalio.service import RPCError

from temporal_slo.errors import UsageError
from temporal_slo.reference.load import Load, Tally, run
from temporal_slo.reference.services.faults import Reigning, peace
from temporal_slo.reference.services.simulated import Services
from temporal_slo.reference.workers import booking_worker


async def worker(
    connection: ClientConnectConfig,
    *,
    plugins: Sequence[Plugin] = (),
    runtime: Runtime | None = None,
    chaos: Reigning = peace,
) -> None:
    """Run the booking worker until cancelled.

    Args:
        connection: How to connect.
        plugins: Of its client.
        runtime: Where its metrics go; the default runtime if it is None.
        chaos: Asked at each call of a service what goes wrong for everybody.

    Raises:
        UsageError: Temporal does not answer, or lacks the namespace.
    """
    # Activities fail here on purpose, and each would log a traceback.
    logging.getLogger("temporalio.activity").setLevel(logging.ERROR)
    client = await _connect(connection, plugins, runtime)
    async with booking_worker(client, Services(chaos=chaos)):
        await asyncio.Event().wait()


async def load(connection: ClientConnectConfig, load: Load) -> Tally:
    """Start bookings until the load is done or this is cancelled; then end the calls that are under way.

    Raises:
        UsageError: Temporal does not answer, or lacks the namespace.
    """
    stop = asyncio.Event()
    running = asyncio.ensure_future(run(await _connect(connection), load, stop=stop))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        stop.set()
        return await running


async def _connect(
    connection: ClientConnectConfig, plugins: Sequence[Plugin] = (), runtime: Runtime | None = None
) -> Client:
    try:
        client = await Client.connect(**connection, plugins=plugins, runtime=runtime)
        await client.count_workflows()
    except (RuntimeError, RPCError) as error:
        raise UsageError(
            f"Temporal at {connection['target_host']}",
            str(error),
            "check address and namespace, or start the server first",
        ) from error
    return client
