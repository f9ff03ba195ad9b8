"""The HTTP server's connections: their number is limited, and silent and slow clients are disconnected."""

import asyncio
import logging
import resource
import socket
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Final, NamedTuple

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from temporal_slo import names
from temporal_slo.names.samples import Sample
from temporal_slo.names.values import OVER_LIMIT, SLOW_REQUEST, SLOW_RESPONSE

CONNECTIONS_MAX: Final = 512
FILES_SHARE: Final = 2
"""Connections take at most one in this number of the files that the process may open.

The others are for the ledger, the connections to Temporal, spec files and credentials.
"""
TIMEOUTS: Final[Mapping[str, float]] = {SLOW_REQUEST: 10.0, SLOW_RESPONSE: 60.0}
"""Seconds that a client has to send a request after it connected, and to receive the response."""
CHECK_INTERVAL: Final = 1.0
SHUTDOWN_TIMEOUT: Final = 2.0
"""Seconds that responses in progress have to end when the server stops."""
ACCEPT_PAUSE: Final = 1.0
"""Seconds without new connections after one could not be accepted."""

log = logging.getLogger(__name__)


def connections_max() -> int:
    """Return the maximum number of connections, from the limit of open files that the process has now."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return CONNECTIONS_MAX if files == resource.RLIM_INFINITY else max(1, min(CONNECTIONS_MAX, files // FILES_SHARE))


class _Phase(NamedTuple):
    """What a connection does, and since when it does so.

    Attributes:
        timeout: Key of `TIMEOUTS` that applies; None for an idle connection, which uvicorn ends.
        cycle: Request and response; None before the first.
    """

    timeout: str | None
    cycle: RequestResponseCycle | None
    since: float


class Connections:
    """Accepts and limits the connections of a server.

    uvicorn limits requests in progress, and how long a connection is idle after a response. It has no limit for clients
    that send no request, send it slowly, or do not read the response. At the maximum a new connection replaces the
    oldest one that has sent no request or is idle; if there is none, it waits until one ends.

    Args:
        maximum: Of connections.
        timeouts: See `TIMEOUTS`.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        maximum: int,
        timeouts: Mapping[str, float] = TIMEOUTS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._maximum = maximum
        self._timeouts = timeouts
        self._clock = clock
        # In the order in which they were accepted.
        self._phases: dict[H11Protocol, _Phase] = {}
        self._disconnects = dict.fromkeys((*TIMEOUTS, OVER_LIMIT), 0)
        self._accept_errors = 0

    def samples(self) -> Iterator[Sample]:
        """Yield how many connections are open, how many the server has ended, and how many it could not accept."""
        yield Sample(names.EXPORTER_HTTP_CONNECTIONS, {}, len(self._phases))
        yield Sample(names.EXPORTER_HTTP_CONNECTIONS_MAX, {}, self._maximum)
        for reason, count in self._disconnects.items():
            yield Sample(names.EXPORTER_HTTP_DISCONNECTS, {names.REASON: reason}, count)
        yield Sample(names.EXPORTER_HTTP_ACCEPT_ERRORS, {}, self._accept_errors)

    async def accept(
        self, listener: socket.socket, protocol: Callable[[], H11Protocol], live: Collection[object]
    ) -> None:
        """Accept connections until cancelled.

        Args:
            listener: Listening socket.
            protocol: Returns the protocol of a new connection.
            live: The protocols whose connection is open.
        """
        loop = asyncio.get_running_loop()
        listener.setblocking(False)  # noqa: FBT003 of the standard library
        while True:
            try:
                accepted, _ = await loop.sock_accept(listener)
                await self._make_room(live)
                _, connection = await loop.connect_accepted_socket(protocol, accepted)
            except OSError as error:
                # Out of files, most likely. asyncio's own server then logs thousands of lines a second.
                self._accept_errors += 1
                if self._accept_errors == 1:
                    log.warning("HTTP connection could not be accepted: %s; further errors are only counted", error)
                await asyncio.sleep(ACCEPT_PAUSE)
                continue
            self._phases[connection] = _Phase(SLOW_REQUEST, None, self._clock())

    async def check_periodically(self, live: Collection[object]) -> None:
        """Disconnect clients that are too slow, until cancelled."""
        while True:
            await asyncio.sleep(CHECK_INTERVAL)
            self._update(live)
            now = self._clock()
            for connection, phase in self._phases.items():
                if phase.timeout and now - phase.since >= self._timeouts[phase.timeout]:
                    self._disconnect(connection, phase.timeout)

    async def _make_room(self, live: Collection[object]) -> None:
        while len(live) >= self._maximum:
            self._update(live)
            if replaced := self._replaceable():
                self._disconnect(replaced, OVER_LIMIT)
            # A disconnected one leaves in the next round of the event loop.
            await asyncio.sleep(0 if replaced else CHECK_INTERVAL)

    def _replaceable(self) -> H11Protocol | None:
        """Return the oldest connection without a request in progress, preferably one that never sent any."""
        free = [
            (phase.cycle is not None, connection)
            for connection, phase in self._phases.items()
            if phase.timeout != SLOW_RESPONSE and not connection.transport.is_closing()
        ]
        return min(free, key=lambda one: one[0], default=(True, None))[1]

    def _update(self, live: Collection[object]) -> None:
        now = self._clock()
        self._phases = {
            connection: _phase(connection, before, now)
            for connection, before in self._phases.items()
            if connection in live
        }

    def _disconnect(self, connection: H11Protocol, reason: str) -> None:
        if not connection.transport.is_closing() or connection.transport.get_write_buffer_size():
            self._disconnects[reason] += 1
        connection.transport.abort()


def _phase(connection: H11Protocol, before: _Phase, now: float) -> _Phase:
    cycle: RequestResponseCycle | None = connection.cycle
    if (cycle and not cycle.response_complete) or connection.transport.get_write_buffer_size():
        timeout: str | None = SLOW_RESPONSE
    else:
        timeout = None if connection.timeout_keep_alive_task else SLOW_REQUEST
    return before if (timeout, cycle) == (before.timeout, before.cycle) else _Phase(timeout, cycle, now)


class LimitedServer(uvicorn.Server):
    """A server that leaves signals to the process, and whose connections are limited.

    Args:
        config: Of uvicorn.
        connections: Accepts and limits them.
    """

    def __init__(self, config: uvicorn.Config, connections: Connections) -> None:
        super().__init__(config)
        self._connections = connections
        self._tasks: list[asyncio.Task[None]] = []

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture no signal."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept connections from now on."""
        # uvicorn's own startup would let asyncio accept them, without a limit.
        self.servers = []
        live = self.server_state.connections
        accepting = [self._connections.accept(listener, self._protocol, live) for listener in sockets or ()]
        self._tasks = [*map(asyncio.create_task, (*accepting, self._connections.check_periodically(live)))]
        for task in self._tasks:
            task.add_done_callback(self._exit)
        self.started = True

    def _protocol(self) -> H11Protocol:
        return H11Protocol(self.config, self.server_state, self.lifespan.state)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept no more connections, and end those that are open; raises what ended the accept loop, if anything."""
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)
        # A client that does not read would delay the exit until uvicorn cancels its response, with a traceback.
        ending = asyncio.get_running_loop().call_later(SHUTDOWN_TIMEOUT, self._abort)
        await super().shutdown(sockets)
        ending.cancel()
        for task in self._tasks:
            if not task.cancelled():
                task.result()

    def _exit(self, _: "asyncio.Task[None]") -> None:
        # A server that no longer accepts connections must not look like one that nobody connects to.
        self.should_exit = True

    def _abort(self) -> None:
        for connection in list(self.server_state.connections):
            connection.transport.abort()
