"""A TLS proxy in front of the session's Temporal server, which can require client certificates and an API key."""

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
    """A certificate authority, with certificates for a server and a client.

    Args:
        folder: Folder of the PEM files.
        authority: Existing authority; None creates one.
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
        """Return the context of a server; with *mutual* it requires client certificates."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self.authority.issue_cert(HOST).configure_cert(context)
        if mutual:
            self.authority.configure_trust(context)
            context.verify_mode = ssl.CERT_REQUIRED
        context.set_alpn_protocols(["h2"])
        return context


class TlsProxy:
    """A proxy that terminates TLS and forwards to a plain-text Temporal server.

    Args:
        server_port: Port of the server.
        key: API key that it accepts; None accepts all requests.

    Attributes:
        key: The accepted API key; can change at any time. A refusal quotes the rejected key.
        authorizations: The authorization header of each request, in order.
    """

    def __init__(self, server_port: int, key: str | None = None) -> None:
        self.key = key
        self.authorizations: list[str | None] = []
        self._server_port = server_port
        self._server: asyncio.Server | None = None
        self._port = 0
        self._writers: set[asyncio.StreamWriter] = set()

    @property
    def address(self) -> str:
        """The listen address."""
        return f"{LOOPBACK}:{self._port}"

    async def open(self, context: ssl.SSLContext) -> None:
        """Listen, always on the same port; close all earlier connections."""
        await self.close()
        self._server = await asyncio.start_server(self._accept, LOOPBACK, self._port, ssl=context)
        self._port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Stop listening and close all connections."""
        if self._server:
            self._server.close()
        for writer in self._writers:
            writer.close()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream_reader, upstream_writer = await asyncio.open_connection(LOOPBACK, self._server_port)
        self._writers |= {writer, upstream_writer}
        try:
            await asyncio.gather(self._forward(reader, writer, upstream_writer), pump(upstream_reader, writer))
        finally:
            self._writers -= {writer, upstream_writer}

    async def _forward(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, upstream: asyncio.StreamWriter
    ) -> None:
        # Nothing is forwarded before the first request is accepted: a connection has the settings of one server only.
        requests, held, forwarded, refused = Requests(), b"", False, False
        try:
            while data := await reader.read(65536):
                held += data
                for stream, headers in requests.feed(data):
                    self.authorizations.append(headers.get("authorization"))
                    if self.key and headers.get("authorization") != f"Bearer {self.key}":
                        first = not (forwarded or refused)
                        writer.write(refusal(stream, str(headers.get("authorization")), first=first))
                        refused = True
                    elif not refused:
                        forwarded = True
                if forwarded and not refused:
                    upstream.write(held)
                    held = b""
                await asyncio.gather(writer.drain(), upstream.drain())
        except (ConnectionError, ssl.SSLError):
            pass
        finally:
            upstream.close()


class Requests:
    """Parses the request headers in the bytes of an HTTP/2 client."""

    def __init__(self) -> None:
        self._decoder = Decoder()
        self._left, self._block = b"", b""
        self._preface = PREFACE

    def feed(self, data: bytes) -> Iterator[tuple[int, dict[str, str]]]:
        """Yield the stream and the headers of each request that *data* completes."""
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
    """Return the response of a gRPC server that rejects an API key and quotes it."""
    headers = Encoder().encode(
        [
            (":status", "200"),
            ("content-type", "application/grpc"),
            ("grpc-status", "16"),
            ("grpc-message", f"the token {quoted} is not known"),
        ]
    )
    settings = frame(SETTINGS, 0, 0, b"") + frame(SETTINGS, ACK, 0, b"") if first else b""
    return settings + frame(HEADERS, END_STREAM | END_HEADERS, stream, headers)


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """Return an HTTP/2 frame."""
    return len(payload).to_bytes(3) + bytes([kind, flags]) + stream.to_bytes(4) + payload


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Copy bytes until the sender closes the connection."""
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except (ConnectionError, ssl.SSLError):
        pass
    finally:
        writer.close()
