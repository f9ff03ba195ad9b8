"""The exporter's connection to a Temporal server behind mutual TLS."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trustme

from temporal_slo import settings
from temporal_slo.servers.process import LOOPBACK
from tests.conftest import Temporal

from .polling import polling

HOST = "temporal.example"


class Pki:
    """A certificate authority with a server's and a client's certificate, as files."""

    def __init__(self, folder: Path) -> None:
        self.authority = trustme.CA()
        self.ca = folder / "ca.pem"
        self.certificate, self.key = folder / "client.pem", folder / "client.key"
        self.authority.cert_pem.write_to_path(str(self.ca))
        client = self.authority.issue_cert("client.example")
        client.cert_chain_pems[0].write_to_path(str(self.certificate))
        client.private_key_pem.write_to_path(str(self.key))

    def server_context(self) -> ssl.SSLContext:
        """For a server that wants a certificate of each client."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self.authority.issue_cert(HOST).configure_cert(context)
        self.authority.configure_trust(context)
        context.verify_mode = ssl.CERT_REQUIRED
        context.set_alpn_protocols(["h2"])
        return context


@pytest.fixture
def pki(tmp_path: Path) -> Pki:
    """Certificates for one test."""
    return Pki(tmp_path)


@pytest.fixture
async def address(temporal: Temporal, pki: Pki) -> AsyncIterator[str]:
    """Where TLS is taken off in front of the session's server."""

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream_reader, upstream_writer = await asyncio.open_connection(LOOPBACK, temporal.server.port)
        await asyncio.gather(pump(reader, upstream_writer), pump(upstream_reader, writer))

    proxy = await asyncio.start_server(forward, LOOPBACK, ssl=pki.server_context())
    yield f"{LOOPBACK}:{proxy.sockets[0].getsockname()[1]}"
    proxy.close()


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Copy bytes until the sender is done."""
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()


async def polls(folder: Path, environ: dict[str, str]) -> str | None:
    """Connect by the environment alone and poll once; return the trouble."""
    async with polling(folder, settings.connection(None, None, None, environ)) as parts:
        await parts.poller.poll()
        return parts.poller.snapshot.trouble


async def test_mutual_tls(address: str, pki: Pki, tmp_path: Path) -> None:
    """With the authority's, its own certificate and its key the exporter polls; without them it says UNAVAILABLE."""
    environ = {
        "TEMPORAL_ADDRESS": address,
        "TEMPORAL_TLS_SERVER_CA_CERT_PATH": str(pki.ca),
        "TEMPORAL_TLS_SERVER_NAME": HOST,
        "TEMPORAL_TLS_CLIENT_CERT_PATH": str(pki.certificate),
        "TEMPORAL_TLS_CLIENT_KEY_PATH": str(pki.key),
    }
    assert await polls(tmp_path, environ) is None
    del environ["TEMPORAL_TLS_CLIENT_CERT_PATH"], environ["TEMPORAL_TLS_CLIENT_KEY_PATH"]
    assert (await polls(tmp_path, environ) or "").startswith("UNAVAILABLE")
    assert (await polls(tmp_path, {"TEMPORAL_ADDRESS": address}) or "").startswith("UNAVAILABLE")
