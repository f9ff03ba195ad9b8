"""The worker and the load generator as processes: connect, run until cancelled, shut down gracefully."""

import asyncio
import logging
from collections.abc import Sequence

from temporalio.client import Plugin
from temporalio.envconfig import ClientConnectConfig
from temporalio.runtime import Runtime

from temporal_slo.reference.connection import connect
from temporal_slo.reference.load import Load, Tally, run
from temporal_slo.reference.services.faults import ActiveFaults, no_faults
from temporal_slo.reference.services.simulated import Services
from temporal_slo.reference.workers.simulated import simulated_worker


async def worker(
    connection: ClientConnectConfig,
    *,
    plugins: Sequence[Plugin] = (),
    runtime: Runtime | None = None,
    faults: ActiveFaults = no_faults,
) -> None:
    """Run the booking worker until cancelled.

    Args:
        connection: Connection to Temporal.
        plugins: Plugins of the client.
        runtime: Runtime that exports the metrics; None for the default runtime.
        faults: Called at each service call; returns the faults that affect every user.

    Raises:
        UsageError: Temporal is unreachable, or the namespace does not exist.
    """
    # Activities fail on purpose, and each failure would log a traceback.
    logging.getLogger("temporalio.activity").setLevel(logging.ERROR)
    client = await connect(connection, runtime, *plugins)
    async with simulated_worker(client, Services(faults=faults)):
        await asyncio.Event().wait()


async def load(connection: ClientConnectConfig, load: Load) -> Tally:
    """Start bookings until the load is complete or this is cancelled; then finish the calls in flight.

    Raises:
        UsageError: Temporal is unreachable, or the namespace does not exist.
    """
    stop = asyncio.Event()
    running = asyncio.ensure_future(run(await connect(connection), load, stop=stop))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        stop.set()
        return await running
