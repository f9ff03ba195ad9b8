"""The exporter as an HTTP service: `/metrics`, `/healthz`, `/readyz`, `/debug/poll`."""

import asyncio
import logging
import socket
from collections.abc import Callable, Coroutine, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import uvicorn
from fastapi import FastAPI

from temporal_slo.errors import UsageError
from temporal_slo.exporter.connections import Connections, LimitedServer, connections_max
from temporal_slo.exporter.discovery import Discovery
from temporal_slo.exporter.http import create_app
from temporal_slo.exporter.namespace import SharedParts
from temporal_slo.exporter.spec_reload import SpecFiles, follow
from temporal_slo.exporter.supervisor import Supervisor
from temporal_slo.ledger.ledger import Ledger
from temporal_slo.names.samples import Sample
from temporal_slo.settings import ExporterSettings
from temporal_slo.temporal.namespaces import namespace_lister

SHUTDOWN_DEADLINE = 3

log = logging.getLogger(__name__)


async def serve(settings: ExporterSettings) -> None:
    """Run the exporter until it is stopped by SIGTERM or SIGINT.

    Raises:
        UsageError: The port is taken; a spec is invalid; or, with `fail_fast`, a first poll failed.
    """
    listener = _listen(settings)
    with listener:
        specs = SpecFiles(settings.specs)
        ledger = Ledger(settings.ledger)
        try:
            await _serve(settings, specs, ledger, listener)
        finally:
            ledger.close()


async def _serve(settings: ExporterSettings, specs: SpecFiles, ledger: Ledger, listener: socket.socket) -> None:
    connections = Connections(connections_max())
    process = _ProcessMetrics([specs.samples, connections.samples])
    shared = await SharedParts.of(settings, ledger, process)
    discovery = (
        Discovery(settings.namespace_filter, specs, namespace_lister(shared.client))
        if settings.all_namespaces
        else None
    )
    supervisor = Supervisor(shared, specs, discovery)
    process.parts.append(supervisor.samples)
    await supervisor.prepare()
    if settings.fail_fast:
        await _check(settings, supervisor)
    host, port = listener.getsockname()[:2]
    monitored = "all Temporal namespaces" if settings.all_namespaces else ", ".join(settings.namespaces)
    log.info("serving /metrics of %s on %s:%d", monitored, host, port)
    app = create_app(shared.publisher, supervisor.debug_info, debug_anywhere=settings.debug_anywhere)
    reloads = follow(specs, supervisor.apply_specs, shared.publisher.renew), shared.connection.reload_periodically()
    await _run(_server(app, connections), listener, supervisor, reloads)


@dataclass(slots=True)
class _ProcessMetrics:
    """Metrics of the process: those of each part."""

    parts: list[Callable[[], Iterable[Sample]]]

    def __call__(self) -> Iterator[Sample]:
        for part in self.parts:
            yield from part()


async def _check(settings: ExporterSettings, supervisor: Supervisor) -> None:
    for monitor in supervisor.monitors.values():
        await monitor.poller.poll()
    polled = [monitor.poller.snapshot.error for monitor in supervisor.monitors.values()]
    for error in filter(None, (supervisor.discovery_error, *polled)):
        raise UsageError(
            f"Temporal at {settings.connection['target_host']}",
            error,
            "check address and namespace, or leave out --fail-fast to wait for them",
        )


def _server(app: FastAPI, connections: Connections) -> LimitedServer:
    config = uvicorn.Config(
        app, log_config=None, access_log=False, lifespan="off", timeout_graceful_shutdown=SHUTDOWN_DEADLINE
    )
    return LimitedServer(config, connections)


async def _run(
    server: LimitedServer, listener: socket.socket, supervisor: Supervisor, reloads: Iterable[Coroutine[Any, Any, None]]
) -> None:
    """Monitor, reload and serve until cancelled, or until one of them ends.

    All but the server never return: one that ends has crashed, and an exporter that no longer polls must not continue
    to serve stale metrics.
    """
    working = [asyncio.create_task(supervisor.run()), *map(asyncio.create_task, reloads)]
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        await asyncio.wait([*working, serving], return_when=asyncio.FIRST_COMPLETED)
    finally:
        server.should_exit = True
        for task in working:
            task.cancel()
        await asyncio.wait([*working, serving])
    for task in (*working, serving):
        if not task.cancelled():
            task.result()


def _listen(settings: ExporterSettings) -> socket.socket:
    host, port = settings.listen
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listener = socket.create_server((host, port), family=family, backlog=128)
    except OSError as error:
        # The standard library appends the address, which the message contains already.
        reason = str(error.strerror).partition(" (")[0]
        raise UsageError(
            f"--listen {host}:{port}", f"cannot listen there: {reason}", "give a free port or another address"
        ) from error
    # asyncio sets it only on sockets that it creates; without it a small response waits 40 ms for an acknowledgement.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener
