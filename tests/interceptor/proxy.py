"""A TCP proxy that can drop the server's responses."""

import asyncio
from contextlib import suppress


class Proxy:
    """Forwards bytes between clients and a server, and drops the server's responses on demand.

    Args:
        server: Address of the server, as `host:port`.

    Attributes:
        dropping: Whether responses are dropped.
    """

    def __init__(self, server: str) -> None:
        self._server = server.rsplit(":", 1)
        self._writers: set[asyncio.StreamWriter] = set()
        self._listener: asyncio.Server | None = None
        self.dropping = False

    async def start(self) -> str:
        """Start listening; return the address."""
        self._listener = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        host, port = self._listener.sockets[0].getsockname()
        return f"{host}:{port}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream_reader, upstream = await asyncio.open_connection(self._server[0], int(self._server[1]))
        self._writers |= {writer, upstream}
        await asyncio.gather(
            self._pump(reader, upstream, responses=False), self._pump(upstream_reader, writer, responses=True)
        )

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, responses: bool) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                if not (responses and self.dropping):
                    writer.write(data)
                    await writer.drain()
        writer.close()

    def drop(self) -> None:
        """Drop responses until the connections are closed; may be called from any thread."""
        self.dropping = True

    def close_connections(self) -> None:
        """Close all connections; new ones work again."""
        for writer in self._writers:
            writer.close()
        self._writers.clear()
        self.dropping = False

    async def stop(self) -> None:
        """Stop listening and close all connections."""
        if self._listener:
            self._listener.close()
        self.close_connections()
