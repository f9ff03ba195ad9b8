"""The exporter's HTTP server in this process, with slow clients."""

import asyncio
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
import uvicorn

from temporal_slo import names
from temporal_slo.exporter.connections import Connections, LimitedServer
from temporal_slo.exporter.exposition.publisher import Publisher
from temporal_slo.exporter.exposition.snapshot import Snapshot
from temporal_slo.exporter.http import CHUNK, create_app
from temporal_slo.names.samples import Sample
from temporal_slo.names.values import OVER_LIMIT, SLOW_REQUEST, SLOW_RESPONSE
from temporal_slo.servers.process import LOOPBACK, until

from .exposition.test_publisher import FakeMemory

TYPES = 30_000
SCRAPE = b"GET /metrics HTTP/1.1\r\nhost: exporter\r\nx-prometheus-scrape-timeout-seconds: 1\r\n\r\n"
HEALTH = b"GET /healthz HTTP/1.1\r\nhost: exporter\r\n\r\n"


@dataclass
class Serving:
    """A running server."""

    connections: Connections
    server: LimitedServer
    publisher: Publisher
    address: tuple[str, int]

    async def connect(self, request: bytes = b"") -> socket.socket:
        """Connect, and send *request*; nothing is received."""
        client = socket.socket()
        # As little as the kernel allows, or it would receive for a client that does not read.
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        client.setblocking(False)  # noqa: FBT003 of the standard library
        loop = asyncio.get_running_loop()
        await loop.sock_connect(client, self.address)
        await loop.sock_sendall(client, request)
        return client

    def ended(self) -> dict[str, float]:
        """Return how many connections the server has ended, by reason; without those of which there are none."""
        found = [sample for sample in self.connections.samples() if sample.family is names.EXPORTER_HTTP_DISCONNECTS]
        return {sample.labels[names.REASON]: sample.value for sample in found if sample.value}  # type: ignore[misc] # a counter's value is a number


@asynccontextmanager
async def serving(maximum: int, **timeouts: float) -> AsyncIterator[Serving]:
    """A server of a large exposition."""
    publisher = Publisher(FakeMemory())
    labels = [{"workflow_type": f"Type{number}", "task_queue": "rides"} for number in range(TYPES)]
    await publisher.put(Snapshot("shop", tuple(Sample(names.WORKFLOWS_RUNNING, one, 7) for one in labels)))
    connections = Connections(maximum, {SLOW_REQUEST: 30, SLOW_RESPONSE: 30, **timeouts})
    listener = socket.create_server((LOOPBACK, 0), backlog=128)
    config = uvicorn.Config(create_app(publisher), log_config=None, lifespan="off")
    server = LimitedServer(config, connections)
    task = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        yield Serving(connections, server, publisher, listener.getsockname())
    finally:
        server.should_exit = True
        await task


async def answers(client: socket.socket) -> bool:
    """Return whether the server answers within some seconds; False if it has disconnected."""
    try:
        async with asyncio.timeout(5):
            return bool(await asyncio.get_running_loop().sock_recv(client, 4096))
    except (OSError, TimeoutError):
        return False


def close(clients: Sequence[socket.socket]) -> None:
    """Close the clients."""
    for client in clients:
        client.close()


async def test_slow_readers() -> None:
    """A client that does not read the response is disconnected in time, and holds two chunks of it until then.

    It has received nothing for sure, so it releases no series.
    """
    async with serving(100, slow_response=3.0) as running:
        served: list[object] = []
        running.publisher.served = lambda *what: served.append(what)  # type: ignore[method-assign] # records them
        body = running.publisher.response("", "")[0].body
        clients = [await running.connect(SCRAPE) for _ in range(20)]

        async def all_waiting() -> bool:
            live = list(running.server.server_state.connections)
            return len(live) == 20 and all(one.transport.get_write_buffer_size() for one in live)

        await until(all_waiting, deadline=10, what="full buffers")
        held = [one.transport.get_write_buffer_size() for one in running.server.server_state.connections]
        assert max(held) <= 2 * CHUNK < len(body) / 10

        async def all_ended() -> bool:
            return running.ended() == {SLOW_RESPONSE: 20} and not running.server.server_state.connections

        await until(all_ended, deadline=15, what="disconnects")
        assert served == []
        close(clients)


async def test_complete_scrape() -> None:
    """A scrape that was received completely is recorded once, with what identifies the scraper; HEAD is not."""
    async with serving(100) as running:
        served: list[object] = []
        running.publisher.served = lambda *what: served.append(what)  # type: ignore[method-assign] # records them
        for request in (SCRAPE, SCRAPE.replace(b"GET", b"HEAD")):
            reader, writer = await asyncio.open_connection(*running.address)
            writer.write(request.replace(b"host", b"connection: close\r\nhost"))
            head, _, body = (await reader.read()).partition(b"\r\n\r\n")
            assert f"content-length: {len(running.publisher.response('', '')[0].body)}".encode() in head
            assert body == (b"" if request.startswith(b"HEAD") else running.publisher.response("", "")[0].body)
            writer.close()
        assert served == [(1, (LOOPBACK, "", "1"))]


async def test_replaced_connections() -> None:
    """At the maximum a new client gets the place of the oldest silent one, then of an idle one, never of a busy one."""
    async with serving(3, slow_response=30.0) as running:
        busy = await running.connect(SCRAPE)
        idle = await running.connect(HEALTH)
        assert await answers(idle)
        silent = await running.connect()
        first = await running.connect(HEALTH)
        assert await answers(first)
        assert not await answers(silent)
        second = await running.connect(HEALTH)
        assert await answers(second)
        assert not await answers(idle)
        assert running.ended() == {OVER_LIMIT: 2}
        assert await answers(busy)
        close([busy, idle, silent, first, second])


async def test_maximum_of_busy_connections() -> None:
    """If all connections are busy, a new client waits until one of them ends, and is answered then."""
    async with serving(2) as running:
        busy = [await running.connect(SCRAPE) for _ in range(2)]

        async def all_busy() -> bool:
            live = running.server.server_state.connections
            return len(live) == 2 and all(one.transport.get_write_buffer_size() for one in live)

        await until(all_busy, deadline=10, what="full buffers")
        waiting = await running.connect(HEALTH)
        close(busy[:1])
        assert await answers(waiting)
        assert running.ended() == {}
        close([*busy, waiting])


@pytest.mark.parametrize(("before", "sent"), [(b"", b""), (b"", b"GET /metrics"), (HEALTH, b"GET")])
async def test_silent_client(before: bytes, sent: bytes) -> None:
    """A client that sends no request, a part of one, or a part of a further one is disconnected in time."""
    async with serving(100, slow_request=1.0) as running:
        client = await running.connect(before)
        if before:
            assert await answers(client)
        await asyncio.get_running_loop().sock_sendall(client, sent)

        async def ended() -> bool:
            return running.ended() == {SLOW_REQUEST: 1}

        await until(ended, deadline=15, what="the disconnect")
        close([client])


async def test_crash() -> None:
    """A server whose accept loop crashes ends with that error, instead of running without accepting connections."""

    def broken() -> float:
        raise RuntimeError("no clock")

    listener = socket.create_server((LOOPBACK, 0))
    config = uvicorn.Config(create_app(Publisher(FakeMemory())), log_config=None, lifespan="off")
    server = LimitedServer(config, Connections(10, clock=broken))
    task = asyncio.create_task(server.serve(sockets=[listener]))
    client = socket.create_connection(listener.getsockname())
    with pytest.raises(RuntimeError, match="no clock"):
        await asyncio.wait_for(task, 20)
    close([client])
