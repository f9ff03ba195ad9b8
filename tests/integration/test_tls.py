"""The exporter's connection to a Temporal server with TLS, mutual TLS and an API key."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from temporal_slo import settings
from tests.conftest import Temporal

from .polling import polling
from .tls_proxy import HOST, Pki, TlsProxy

KEY = "api-key-of-the-test"


@pytest.fixture
def pki(tmp_path: Path) -> Pki:
    """Certificates for one test."""
    return Pki(tmp_path / "pki")


@pytest.fixture
async def proxy(temporal: Temporal) -> AsyncIterator[TlsProxy]:
    """A TLS proxy for the session's server; it listens once it is opened."""
    proxy = TlsProxy(temporal.server.port)
    yield proxy
    await proxy.close()


async def poll_error(folder: Path, environ: dict[str, str]) -> str | None:
    """Connect with settings from the environment only, poll once, and return the error."""
    async with polling(folder, settings.connection(None, None, None, environ)) as parts:
        await parts.poller.poll()
        return parts.poller.snapshot.error


async def test_server_certificate(proxy: TlsProxy, pki: Pki, tmp_path: Path) -> None:
    """Polls succeed with the server's authority; with another one or another name the error is UNAVAILABLE."""
    await proxy.open(pki.server_context(mutual=False))
    environ = {
        "TEMPORAL_ADDRESS": proxy.address,
        "TEMPORAL_TLS_SERVER_CA_CERT_PATH": str(pki.ca),
        "TEMPORAL_TLS_SERVER_NAME": HOST,
    }
    assert await poll_error(tmp_path, environ) is None
    other = {**environ, "TEMPORAL_TLS_SERVER_CA_CERT_PATH": str(Pki(tmp_path / "other").ca)}
    assert (await poll_error(tmp_path, other) or "").startswith("UNAVAILABLE")
    assert (await poll_error(tmp_path, {**environ, "TEMPORAL_TLS_SERVER_NAME": "x.example"}) or "").startswith(
        "UNAVAILABLE"
    )


async def test_mutual_tls(proxy: TlsProxy, pki: Pki, tmp_path: Path) -> None:
    """Polls succeed with a client certificate and key; without them the error is UNAVAILABLE."""
    await proxy.open(pki.server_context())
    environ = {
        "TEMPORAL_ADDRESS": proxy.address,
        "TEMPORAL_TLS_SERVER_CA_CERT_PATH": str(pki.ca),
        "TEMPORAL_TLS_SERVER_NAME": HOST,
        "TEMPORAL_TLS_CLIENT_CERT_PATH": str(pki.certificate),
        "TEMPORAL_TLS_CLIENT_KEY_PATH": str(pki.key),
    }
    assert await poll_error(tmp_path, environ) is None
    del environ["TEMPORAL_TLS_CLIENT_CERT_PATH"], environ["TEMPORAL_TLS_CLIENT_KEY_PATH"]
    assert (await poll_error(tmp_path, environ) or "").startswith("UNAVAILABLE")
    assert (await poll_error(tmp_path, {"TEMPORAL_ADDRESS": proxy.address}) or "").startswith("UNAVAILABLE")


async def test_api_key(proxy: TlsProxy, pki: Pki, tmp_path: Path) -> None:
    """Every request has the API key as bearer token; with another key polls fail with the server's message."""
    proxy.key = KEY
    await proxy.open(pki.server_context(mutual=False))
    environ = {
        "TEMPORAL_ADDRESS": proxy.address,
        "TEMPORAL_API_KEY": KEY,
        "TEMPORAL_TLS_SERVER_CA_CERT_PATH": str(pki.ca),
        "TEMPORAL_TLS_SERVER_NAME": HOST,
    }
    assert await poll_error(tmp_path, environ) is None
    assert proxy.authorizations
    assert set(proxy.authorizations) == {f"Bearer {KEY}"}
    assert "the token Bearer" in (await poll_error(tmp_path, {**environ, "TEMPORAL_API_KEY": "another"}) or "")
