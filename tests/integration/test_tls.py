"""The exporter's connection to a Temporal server behind TLS: one-sided, mutual, and with an API key."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from temporal_slo import settings
from tests.conftest import Temporal

from .front import HOST, Front, Pki
from .polling import polling

KEY = "api-key-of-the-test"


@pytest.fixture
def pki(tmp_path: Path) -> Pki:
    """Certificates for one test."""
    return Pki(tmp_path / "pki")


@pytest.fixture
async def front(temporal: Temporal) -> AsyncIterator[Front]:
    """Where TLS is taken off in front of the session's server, once it is opened."""
    front = Front(temporal.server.port)
    yield front
    await front.close()


async def polls(folder: Path, environ: dict[str, str]) -> str | None:
    """Connect by the environment alone and poll once; return the trouble."""
    async with polling(folder, settings.connection(None, None, None, environ)) as parts:
        await parts.poller.poll()
        return parts.poller.snapshot.error


async def test_server_certificate(front: Front, pki: Pki, tmp_path: Path) -> None:
    """With the server's authority the exporter polls; with another one, or by another name, it says UNAVAILABLE."""
    await front.open(pki.server_context(mutual=False))
    environ = {
        "TEMPORAL_ADDRESS": front.address,
        "TEMPORAL_TLS_SERVER_CA_CERT_PATH": str(pki.ca),
        "TEMPORAL_TLS_SERVER_NAME": HOST,
    }
    assert await polls(tmp_path, environ) is None
    other = {**environ, "TEMPORAL_TLS_SERVER_CA_CERT_PATH": str(Pki(tmp_path / "other").ca)}
    assert (await polls(tmp_path, other) or "").startswith("UNAVAILABLE")
    assert (await polls(tmp_path, {**environ, "TEMPORAL_TLS_SERVER_NAME": "x.example"}) or "").startswith("UNAVAILABLE")


async def test_mutual_tls(front: Front, pki: Pki, tmp_path: Path) -> None:
    """With the authority's, its own certificate and its key the exporter polls; without them it says UNAVAILABLE."""
    await front.open(pki.server_context())
    environ = {
        "TEMPORAL_ADDRESS": front.address,
        "TEMPORAL_TLS_SERVER_CA_CERT_PATH": str(pki.ca),
        "TEMPORAL_TLS_SERVER_NAME": HOST,
        "TEMPORAL_TLS_CLIENT_CERT_PATH": str(pki.certificate),
        "TEMPORAL_TLS_CLIENT_KEY_PATH": str(pki.key),
    }
    assert await polls(tmp_path, environ) is None
    del environ["TEMPORAL_TLS_CLIENT_CERT_PATH"], environ["TEMPORAL_TLS_CLIENT_KEY_PATH"]
    assert (await polls(tmp_path, environ) or "").startswith("UNAVAILABLE")
    assert (await polls(tmp_path, {"TEMPORAL_ADDRESS": front.address}) or "").startswith("UNAVAILABLE")


async def test_api_key(front: Front, pki: Pki, tmp_path: Path) -> None:
    """Every request carries the API key as a bearer; with another one it is refused, and says so."""
    front.key = KEY
    await front.open(pki.server_context(mutual=False))
    environ = {
        "TEMPORAL_ADDRESS": front.address,
        "TEMPORAL_API_KEY": KEY,
        "TEMPORAL_TLS_SERVER_CA_CERT_PATH": str(pki.ca),
        "TEMPORAL_TLS_SERVER_NAME": HOST,
    }
    assert await polls(tmp_path, environ) is None
    assert front.authorizations
    assert set(front.authorizations) == {f"Bearer {KEY}"}
    assert "the token Bearer" in (await polls(tmp_path, {**environ, "TEMPORAL_API_KEY": "another"}) or "")
