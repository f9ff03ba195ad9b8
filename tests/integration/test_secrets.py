"""No secret is exposed by an exporter that fails, or by one whose credentials rotate."""

import asyncio
import io
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from temporal_slo import names
from temporal_slo.cli.main import main
from temporal_slo.servers.process import LOOPBACK, free_port, until
from tests.conftest import Temporal

from .exporter import Exporter
from .tls_proxy import HOST, Pki, TlsProxy

SENTINEL = "sekret-of-the-test"
BAD_PROFILES = (
    f'api_key = "{SENTINEL}',
    f"api_key = {SENTINEL}",
    f'api_key = ["{SENTINEL}"]',
    f'tls = "{SENTINEL}"',
    f'api_key = "{SENTINEL}"\nclient_key_data = ',
    f'[profile.default.tls]\nclient_cert_data = "x"\nclient_key_data = "{SENTINEL}"',
    f'[profile.default.tls]\nclient_key_data = "-----BEGIN PRIVATE KEY-----{SENTINEL}"',
)
BAD_LEDGERS = (
    f"postgresql://u:{SENTINEL}@{LOOPBACK}:1/slo",
    f"postgresql://u:{SENTINEL}@{LOOPBACK}:port/slo",
    f"mysql://u:{SENTINEL}@{LOOPBACK}/slo",
    f"u:{SENTINEL}@{LOOPBACK}/slo",
)


@pytest.fixture
async def proxy(temporal: Temporal) -> AsyncIterator[TlsProxy]:
    """A TLS proxy for the session's server; it listens once it is opened."""
    proxy = TlsProxy(temporal.server.port)
    yield proxy
    await proxy.close()


def error_of(folder: Path, **environ: str) -> str:
    """Return the output of an exporter that exits because of a mistake of the user."""
    defaults = {"TEMPORAL_SLO_LEDGER": f"sqlite:///{folder / 'ledger.db'}", "TEMPORAL_SLO_LISTEN": f"{LOOPBACK}:0"}
    argv = ["exporter", "--temporal-address", f"{LOOPBACK}:1", "--fail-fast"]
    stdout, stderr = io.StringIO(), io.StringIO()
    assert main(argv, {**os.environ, **defaults, **environ}, stdout, stderr) == 2
    return stdout.getvalue() + stderr.getvalue()


def test_mistakes(tmp_path: Path) -> None:
    """Error lines about a profile, a ledger or a codec endpoint contain no secrets."""
    errors = []
    for number, profile in enumerate(BAD_PROFILES):
        file = tmp_path / f"{number}.toml"
        file.write_text(f"[profile.default]\n{profile}\n")
        errors.append(error_of(tmp_path, TEMPORAL_CONFIG_FILE=str(file)))
    errors += [error_of(tmp_path, TEMPORAL_SLO_LEDGER=url) for url in BAD_LEDGERS]
    errors.append(error_of(tmp_path, TEMPORAL_SLO_CODEC_ENDPOINT=f"http://u:{SENTINEL}@host:port/"))
    errors.append(error_of(tmp_path, TEMPORAL_API_KEY=SENTINEL, TEMPORAL_SLO_CODEC_AUTHORIZATION=SENTINEL))
    assert all(text.startswith("temporal-slo: ") for text in errors)
    assert not [text for text in errors if SENTINEL in text]
    assert "line 2" in errors[0]


async def output(exporter: Exporter) -> str:
    """Return the metrics, the readiness, the debug output and the log of an exporter."""
    accept = {"Accept": "application/openmetrics-text"}
    responses = [await exporter.http.get(path, headers=accept) for path in ("/metrics", "/readyz", "/debug/poll")]
    return "\n".join([*(response.text for response in responses), exporter.child.tail(10_000)])


async def test_rotation(proxy: TlsProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An exporter whose certificates and API key rotate recovers by itself, and exposes no secret."""
    pki = Pki(tmp_path / "pki")
    proxy.key = SENTINEL
    await proxy.open(pki.server_context())
    file = tmp_path / "temporal.toml"
    profile = f"""[profile.default]
api_key = "{{}}"
[profile.default.tls]
server_name = "{HOST}"
server_ca_cert_path = "{pki.ca}"
client_cert_path = "{pki.certificate}"
client_key_path = "{pki.key}"
"""
    file.write_text(profile.format(SENTINEL))
    monkeypatch.setenv("TEMPORAL_CONFIG_FILE", str(file))
    monkeypatch.setenv("TEMPORAL_SLO_CODEC_AUTHORIZATION", SENTINEL)
    exporter = Exporter(tmp_path, proxy.address, "default", "--codec-endpoint", f"http://{LOOPBACK}:{free_port()}")
    await exporter.started()
    try:
        await exporter.becomes(names.EXPORTER_UP, 1)
        proxy.key = f"another {SENTINEL}"
        await exporter.becomes(names.EXPORTER_UP, 0)
        await key_quoted(exporter)
        texts = [await output(exporter)]
        file.write_text(profile.format(proxy.key))
        await exporter.becomes(names.EXPORTER_UP, 1)
        key = pki.key.read_text()
        await proxy.open(Pki(tmp_path / "pki").server_context())
        await exporter.becomes(names.EXPORTER_UP, 0)
        await exporter.becomes(names.EXPORTER_UP, 1)
        texts.append(await output(exporter))
    finally:
        await exporter.stop()
    secrets = [SENTINEL, *key.splitlines()[1:-1], *pki.key.read_text().splitlines()[1:-1]]
    assert not [secret for secret in secrets if any(secret in text for text in texts)]


async def key_quoted(exporter: Exporter) -> None:
    """Wait until the server has quoted the rejected key."""

    async def quoted() -> bool:
        await asyncio.sleep(0)
        return "the token" in await output(exporter)

    await until(quoted, deadline=60, what="a rejection")
