"""A TCP proxy to a PostgreSQL server that can lose a COMMIT or its confirmation."""

import asyncio

from temporal_slo.servers.process import LOOPBACK


class LossyProxy:
    """A proxy that closes the connection when it loses a message.

    Args:
        port: Port of the server.

    Attributes:
        drop_confirmation: Which of the next COMMITs loses its confirmation, from 1; 0 for none.
        drop_commit: Which of the next COMMITs never reaches the server, from 1; 0 for none.
        dropped: Number of confirmations lost.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self.drop_confirmation = self.drop_commit = self.dropped = 0

    async def listen(self) -> int:
        """Start listening and return the port."""
        self._server = await asyncio.start_server(self._serve, LOOPBACK, 0)
        return int(self._server.sockets[0].getsockname()[1])

    def close(self) -> None:
        """Stop listening."""
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server_reader, server_writer = await asyncio.open_connection(LOOPBACK, self._port)
        drop = asyncio.Event()
        responses = asyncio.create_task(self._forward_responses(server_reader, writer, drop))
        while data := await reader.read(65536):
            if b"COMMIT" in data:
                if self._is_due("drop_commit"):
                    break
                if self._is_due("drop_confirmation"):
                    drop.set()
            server_writer.write(data)
        server_writer.close()
        await responses

    def _is_due(self, name: str) -> bool:
        remaining = getattr(self, name)
        if remaining:
            setattr(self, name, remaining - 1)
        return bool(remaining == 1)

    async def _forward_responses(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, drop: asyncio.Event
    ) -> None:
        while data := await reader.read(65536):
            if drop.is_set():
                self.dropped += 1
                break
            writer.write(data)
        writer.close()
