"""A way to a PostgreSQL server on which a COMMIT, or the answer to one, can be lost."""

import asyncio

from temporal_slo.servers.process import LOOPBACK


class Lossy:
    """A way to a server; with what is lost the connection is.

    Args:
        port: The server's.

    Attributes:
        lose: The answer to which COMMIT from now on is lost; 0 for none.
        swallow: Which COMMIT from now on never reaches the server; 0 for none.
        lost: How many answers were lost.
    """

    def __init__(self, port: int) -> None:
        self._target = port
        self.lose = self.swallow = self.lost = 0

    async def listen(self) -> int:
        """Start and return the port."""
        self._server = await asyncio.start_server(self._serve, LOOPBACK, 0)
        return int(self._server.sockets[0].getsockname()[1])

    def close(self) -> None:
        """Stop."""
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(LOOPBACK, self._target)
        silent = asyncio.Event()
        back = asyncio.create_task(self._back(far_reader, writer, silent))
        while data := await reader.read(65536):
            if b"COMMIT" in data:
                if self._is_due("swallow"):
                    break
                if self._is_due("lose"):
                    silent.set()
            far_writer.write(data)
        far_writer.close()
        await back

    def _is_due(self, what: str) -> bool:
        left = getattr(self, what)
        if left:
            setattr(self, what, left - 1)
        return bool(left == 1)

    async def _back(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, silent: asyncio.Event) -> None:
        while data := await reader.read(65536):
            if silent.is_set():
                self.lost += 1
                break
            writer.write(data)
        writer.close()
