"""The exporter as an HTTP service: `/metrics`, `/healthz`, `/readyz`, `/debug/poll`."""

import asyncio
import logging
import socket
from collections.abc import Coroutine, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from fastapi import FastAPI

from temporal_slo.errors import UsageError
from temporal_slo.exporter.http import create_app
from temporal_slo.exporter.namespace import Common
from temporal_slo.exporter.spec_reload import Specs, follow
from temporal_slo.exporter.supervisor import Fleet
from temporal_slo.ledger.ledger import Ledger
from temporal_slo.settings import ExporterSettings
from temporal_slo.temporal.namespaces import namespace_lister

SHUTDOWN_DEADLINE = 3

log = logging.getLogger(__name__)


async def serve(settings: ExporterSettings) -> None:
    """Run the exporter until it is told to stop by SIGTERM or SIGINT.

    Raises:
        UsageError: The port is taken; a spec is bad; or, with `fail_fast`, a first poll failed.
    """
    listener = _listen(settings)
    with listener:
        specs = Specs(settings.specs)
        ledger = Ledger(settings.ledger)
        try:
            await _serve(settings, specs, ledger, listener)
        finally:
            ledger.close()


async def _serve(settings: ExporterSettings, specs: Specs, ledger: Ledger, listener: socket.socket) -> None:
    common = await Common.of(settings, ledger, lambda: (*specs.samples(), *fleet.samples()))
    fleet = Fleet(common, specs, namespace_lister(common.client) if settings.all_namespaces else None)
    await fleet.prepare()
    if settings.fail_fast:
        await _check(settings, fleet)
    host, port = listener.getsockname()[:2]
    watched = "all Temporal namespaces" if settings.all_namespaces else ", ".join(settings.namespaces)
    log.info("serving /metrics of %s on %s:%d", watched, host, port)
    app = create_app(common.board, fleet.told, debug_anywhere=settings.debug_anywhere)
    following = follow(specs, fleet.adopt, common.board.renew), common.connection.reload_periodically()
    await _run(app, listener, fleet, following)


async def _check(settings: ExporterSettings, fleet: Fleet) -> None:
    for parts in fleet.parts.values():
        await parts.poller.poll()
    polled = [parts.poller.snapshot.trouble for parts in fleet.parts.values()]
    for trouble in filter(None, (fleet.trouble, *polled)):
        raise UsageError(
            f"Temporal at {settings.connection['target_host']}",
            trouble,
            "check address and namespace, or leave out --fail-fast to wait for them",
        )


class _Server(uvicorn.Server):
    """A server that leaves signals to the process that it runs in."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield


async def _run(
    app: FastAPI, listener: socket.socket, fleet: Fleet, following: Iterable[Coroutine[Any, Any, None]]
) -> None:
    """Watch, follow what may change and serve until cancelled, or until one of them ends.

    All but the last never return: one that ends has crashed, and an exporter that no longer polls must not go on
    answering as if all were well.
    """
    config = uvicorn.Config(
        app, log_config=None, access_log=False, lifespan="off", timeout_graceful_shutdown=SHUTDOWN_DEADLINE
    )
    server = _Server(config)
    working = [asyncio.create_task(fleet.run()), *map(asyncio.create_task, following)]
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
        # The standard library appends the address, which the message has already.
        reason = str(error.strerror).partition(" (")[0]
        raise UsageError(
            f"--listen {host}:{port}", f"cannot listen there: {reason}", "give a free port or another address"
        ) from error
    # asyncio sets it only on sockets of its own making; without it a small answer waits 40 ms for an acknowledgement.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener
