"""A way to the server that can lose its answers."""

import asyncio
from contextlib import suppress


class Proxy:
    """Hands bytes on between clients and a server, unless it is told to lose what the server answers.

    Args:
        server: Its address, as `host:port`.

    Attributes:
        losing: Whether answers are lost.
    """

    def __init__(self, server: str) -> None:
        self._server = server.rsplit(":", 1)
        self._writers: set[asyncio.StreamWriter] = set()
        self._listener: asyncio.Server | None = None
        self.losing = False

    async def start(self) -> str:
        """Begin to listen; return the address."""
        self._listener = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        host, port = self._listener.sockets[0].getsockname()
        return f"{host}:{port}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream_reader, upstream = await asyncio.open_connection(self._server[0], int(self._server[1]))
        self._writers |= {writer, upstream}
        await asyncio.gather(
            self._pump(reader, upstream, answers=False), self._pump(upstream_reader, writer, answers=True)
        )

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, answers: bool) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                if not (answers and self.losing):
                    writer.write(data)
                    await writer.drain()
        writer.close()

    def lose(self) -> None:
        """Lose what the server answers from now on, until the connections are cut; from any thread."""
        self.losing = True

    def cut(self) -> None:
        """Close all connections; further ones work again."""
        for writer in self._writers:
            writer.close()
        self._writers.clear()
        self.losing = False

    async def stop(self) -> None:
        """Stop listening, and close all connections."""
        if self._listener:
            self._listener.close()
        self.cut()
