"""What stands before the session's Temporal server: takes off TLS, and asks for API keys if it is told to."""

import asyncio
import ssl
from collections.abc import Iterator
from pathlib import Path

import trustme
from hpack import Decoder, Encoder

from temporal_slo.servers.process import LOOPBACK

HOST = "temporal.example"
PREFACE = 24
FRAME = 9
HEADERS, SETTINGS, CONTINUATION = 1, 4, 9
ACK, END_STREAM, END_HEADERS, PADDED, PRIORITY = 0x1, 0x1, 0x4, 0x8, 0x20


class Pki:
    """A certificate authority with a server's and a client's certificate, as files.

    Args:
        folder: Gets the files.
        authority: Another one's authority; a new one if none is given.
    """

    def __init__(self, folder: Path, authority: trustme.CA | None = None) -> None:
        folder.mkdir(exist_ok=True)
        self.authority = authority or trustme.CA()
        self.ca = folder / "ca.pem"
        self.certificate, self.key = folder / "client.pem", folder / "client.key"
        self.authority.cert_pem.write_to_path(str(self.ca))
        client = self.authority.issue_cert("client.example")
        client.cert_chain_pems[0].write_to_path(str(self.certificate))
        client.private_key_pem.write_to_path(str(self.key))

    def server_context(self, *, mutual: bool = True) -> ssl.SSLContext:
        """For a server that wants a certificate of each client, or of none."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self.authority.issue_cert(HOST).configure_cert(context)
        if mutual:
            self.authority.configure_trust(context)
            context.verify_mode = ssl.CERT_REQUIRED
        context.set_alpn_protocols(["h2"])
        return context


class Front:
    """Listens with TLS and hands on to the server behind it.

    Args:
        behind: The server's port.
        key: The one API key that it lets through; None if it asks for none.

    Attributes:
        key: May be changed: who comes with another one then is refused, and told which one that was.
        authorizations: What requests came with, in their order.
    """

    def __init__(self, behind: int, key: str | None = None) -> None:
        self.key = key
        self.authorizations: list[str | None] = []
        self._behind = behind
        self._server: asyncio.Server | None = None
        self._port = 0
        self._writers: set[asyncio.StreamWriter] = set()

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"{LOOPBACK}:{self._port}"

    async def open(self, context: ssl.SSLContext) -> None:
        """Listen, always at the same port; if it did so before, begin anew and cut all connections."""
        await self.close()
        self._server = await asyncio.start_server(self._accept, LOOPBACK, self._port, ssl=context)
        self._port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Listen no longer, and cut all connections."""
        if self._server:
            self._server.close()
        for writer in self._writers:
            writer.close()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream_reader, upstream_writer = await asyncio.open_connection(LOOPBACK, self._behind)
        self._writers |= {writer, upstream_writer}
        try:
            await asyncio.gather(self._forward(reader, writer, upstream_writer), pump(upstream_reader, writer))
        finally:
            self._writers -= {writer, upstream_writer}

    async def _forward(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, upstream: asyncio.StreamWriter
    ) -> None:
        requests, refused = Requests(), False
        try:
            while data := await reader.read(65536):
                for stream, headers in requests.feed(data):
                    self.authorizations.append(headers.get("authorization"))
                    if self.key and headers.get("authorization") != f"Bearer {self.key}":
                        writer.write(refusal(stream, str(headers.get("authorization")), first=not refused))
                        refused = True
                if not refused:
                    upstream.write(data)
                await asyncio.gather(writer.drain(), upstream.drain())
        except (ConnectionError, ssl.SSLError):
            pass
        finally:
            upstream.close()


class Requests:
    """Reads the headers of requests in what an HTTP/2 client sends."""

    def __init__(self) -> None:
        self._decoder = Decoder()
        self._left, self._block = b"", b""
        self._preface = PREFACE

    def feed(self, data: bytes) -> Iterator[tuple[int, dict[str, str]]]:
        """Yield stream and headers of each request that is complete with *data*."""
        self._left += data
        if len(self._left) < self._preface:
            return
        self._left, self._preface = self._left[self._preface :], 0
        while len(self._left) >= FRAME and len(self._left) >= (end := FRAME + int.from_bytes(self._left[:3])):
            kind, flags, stream = self._left[3], self._left[4], int.from_bytes(self._left[5:FRAME])
            payload, self._left = self._left[FRAME:end], self._left[end:]
            if kind in {HEADERS, CONTINUATION}:
                self._block += _unpadded(payload, flags) if kind == HEADERS else payload
                if flags & END_HEADERS:
                    yield stream, {str(name): str(value) for name, value in self._decoder.decode(self._block)}
                    self._block = b""


def _unpadded(payload: bytes, flags: int) -> bytes:
    if flags & PADDED:
        payload = payload[1 : len(payload) - payload[0]]
    return payload[5:] if flags & PRIORITY else payload


def refusal(stream: int, quoted: str, *, first: bool) -> bytes:
    """What a gRPC server sends that takes no request with such a key, and quotes it."""
    headers = Encoder().encode(
        [
            (":status", "200"),
            ("content-type", "application/grpc"),
            ("grpc-status", "16"),
            ("grpc-message", f"the token {quoted} is not known"),
        ]
    )
    hello = frame(SETTINGS, 0, 0, b"") + frame(SETTINGS, ACK, 0, b"") if first else b""
    return hello + frame(HEADERS, END_STREAM | END_HEADERS, stream, headers)


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """One frame of HTTP/2."""
    return len(payload).to_bytes(3) + bytes([kind, flags]) + stream.to_bytes(4) + payload


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Copy bytes until the sender is done."""
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except (ConnectionError, ssl.SSLError):
        pass
    finally:
        writer.close()
