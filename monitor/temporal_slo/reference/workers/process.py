"""A process with one or more workers: start them, run until cancelled, drain."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from temporalio.client import Client
from temporalio.envconfig import ClientConnectConfig
from temporalio.runtime import Runtime
from temporalio.worker import Worker, WorkerDeploymentConfig

from temporal_slo.reference.activities.service_client import ServiceClient
from temporal_slo.reference.connection import connect
from temporal_slo.reference.workers.booking import booking_worker
from temporal_slo.reference.workers.fleet import create_schedule, fleet_worker
from temporal_slo.reference.workers.payment import payment_worker

_log = logging.getLogger(__name__)


class Build(Protocol):
    """Returns a worker of the application, not started."""

    def __call__(
        self,
        client: Client,
        services: ServiceClient,
        *,
        spec: Sequence[str] | None = None,
        deployment: WorkerDeploymentConfig | None = None,
    ) -> Worker:
        """See `booking_worker`."""


@dataclass(frozen=True)
class Entry:
    """A worker that `temporal-slo worker` can run.

    Attributes:
        build: Returns the worker.
        prepare: Called before the worker starts, to create what it needs in its namespace; None for nothing.
    """

    build: Build
    prepare: Callable[[Client], Awaitable[None]] | None = None


WORKERS: Final[Mapping[str, Entry]] = {
    "booking": Entry(booking_worker),
    "payment": Entry(payment_worker),
    "fleet": Entry(fleet_worker, prepare=create_schedule),
}
"""The workers by name, in the order in which they start."""


async def run_workers(
    connection: ClientConnectConfig,
    names: Sequence[str],
    services: str,
    *,
    runtime: Runtime | None = None,
    spec: Sequence[str] | None = None,
    deployment: WorkerDeploymentConfig | None = None,
) -> None:
    """Run workers until cancelled, then let their activities finish.

    Args:
        connection: Connection to Temporal.
        names: Keys of `WORKERS`.
        services: Base URL of the services.
        runtime: Runtime that exports the metrics; None for the default runtime.
        spec: SLO spec files or directories; None for none.
        deployment: Version of the code; None for none.

    Raises:
        UsageError: Temporal is unreachable, or the namespace does not exist.
    """
    # The SDK logs each failed attempt with its traceback; the failure is in the history and in the metrics.
    logging.getLogger("temporalio.activity").setLevel(logging.ERROR)
    client = await connect(connection, runtime)
    async with ServiceClient(services) as service_client:
        workers = []
        for name in names:
            entry = WORKERS[name]
            if entry.prepare:
                await entry.prepare(client)
            workers.append(entry.build(client, service_client, spec=spec, deployment=deployment))
        await run_together(workers)


async def run_together(workers: Sequence[Worker]) -> None:
    """Run *workers* until one fails or this is cancelled; either way, stop and drain all of them together."""
    queues = ", ".join(worker.task_queue for worker in workers)
    running = [asyncio.ensure_future(worker.run()) for worker in workers]
    _log.info("workers started, task queues %s", queues)
    try:
        await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
    finally:
        _log.info("workers stop, running activities may finish, task queues %s", queues)
        # Not by cancelling `run()`, which would interrupt the drain.
        pairs = zip(workers, running, strict=True)
        await asyncio.gather(*(worker.shutdown() for worker, run in pairs if not run.done()))
        await asyncio.gather(*running)
        _log.info("workers stopped, task queues %s", queues)
