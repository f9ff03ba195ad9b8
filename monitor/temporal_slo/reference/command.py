"""The worker and the load as processes: they connect, run until a signal comes, and stop in good order."""

import asyncio
import logging
import signal

from temporalio.client import Client
from temporalio.envconfig import ClientConnectConfig

from temporal_slo.errors import UsageError
from temporal_slo.reference.load import Load, Tally, run
from temporal_slo.reference.services import Services
from temporal_slo.reference.worker import booking_worker


async def worker(connection: ClientConnectConfig) -> None:
    """Run the booking worker until SIGINT or SIGTERM.

    Raises:
        UsageError: Temporal does not answer.
    """
    stop = _stop_at_signal()
    # Activities fail here on purpose, and each would log a traceback.
    logging.getLogger("temporalio.activity").setLevel(logging.ERROR)
    async with booking_worker(await _connect(connection), Services()):
        await stop.wait()


async def load(connection: ClientConnectConfig, load: Load) -> Tally:
    """Start bookings until the load is done, or SIGINT or SIGTERM comes.

    Raises:
        UsageError: Temporal does not answer.
    """
    return await run(await _connect(connection), load, stop=_stop_at_signal())


async def _connect(connection: ClientConnectConfig) -> Client:
    try:
        return await Client.connect(**connection)
    except RuntimeError as error:
        raise UsageError(
            f"Temporal at {connection['target_host']}", str(error), "check the address, or start the server first"
        ) from error


def _stop_at_signal() -> asyncio.Event:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop
