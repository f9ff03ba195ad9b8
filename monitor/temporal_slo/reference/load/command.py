"""The load generator as a process: connect, install its fault rules, start workflows until cancelled."""

import asyncio

from temporalio.envconfig import ClientConnectConfig

from temporal_slo.errors import UsageError
from temporal_slo.reference.connection import connect
from temporal_slo.reference.load.calls import RefusedError, UnavailableError
from temporal_slo.reference.load.model import Load, Tally
from temporal_slo.reference.load.run import run


async def run_load(connection: ClientConnectConfig, load: Load) -> Tally:
    """Start workflows until the load is complete or this is cancelled; then finish the calls in flight.

    Raises:
        UsageError: Temporal or the services are unreachable, or the namespace does not exist.
    """
    stop = asyncio.Event()
    running = asyncio.ensure_future(_run(connection, load, stop))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        stop.set()
        return await running


async def _run(connection: ClientConnectConfig, load: Load, stop: asyncio.Event) -> Tally:
    try:
        return await run(await connect(connection), load, stop=stop)
    except (RefusedError, UnavailableError) as error:
        raise UsageError(
            f"--services {load.services}", str(error), "start temporal-slo services, or correct the URL"
        ) from error
