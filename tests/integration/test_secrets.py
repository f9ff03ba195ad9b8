"""Secrets stay secret in an exporter that fails in every way, and certificates rotate in one that runs."""

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
from .front import HOST, Front, Pki

HIDDEN = "sekret-of-the-test"
BAD_PROFILES = (
    f'api_key = "{HIDDEN}',
    f"api_key = {HIDDEN}",
    f'api_key = ["{HIDDEN}"]',
    f'tls = "{HIDDEN}"',
    f'api_key = "{HIDDEN}"\nclient_key_data = ',
    f'[profile.default.tls]\nclient_cert_data = "x"\nclient_key_data = "{HIDDEN}"',
    f'[profile.default.tls]\nclient_key_data = "-----BEGIN PRIVATE KEY-----{HIDDEN}"',
)
BAD_LEDGERS = (
    f"postgresql://u:{HIDDEN}@{LOOPBACK}:1/slo",
    f"postgresql://u:{HIDDEN}@{LOOPBACK}:port/slo",
    f"mysql://u:{HIDDEN}@{LOOPBACK}/slo",
    f"u:{HIDDEN}@{LOOPBACK}/slo",
)


@pytest.fixture
async def front(temporal: Temporal) -> AsyncIterator[Front]:
    """Where TLS is taken off in front of the session's server, once it is opened."""
    front = Front(temporal.server.port)
    yield front
    await front.close()


def refused(folder: Path, **environ: str) -> str:
    """What an exporter says that ends at once because of the user's mistake."""
    places = {"TEMPORAL_SLO_LEDGER": f"sqlite:///{folder / 'ledger.db'}", "TEMPORAL_SLO_LISTEN": f"{LOOPBACK}:0"}
    argv = ["exporter", "--temporal-address", f"{LOOPBACK}:1", "--fail-fast"]
    stdout, stderr = io.StringIO(), io.StringIO()
    assert main(argv, {**os.environ, **places, **environ}, stdout, stderr) == 2
    return stdout.getvalue() + stderr.getvalue()


def test_mistakes(tmp_path: Path) -> None:
    """Whatever is wrong with a profile, a ledger or a codec endpoint, its secrets are not in what is said."""
    said = []
    for number, profile in enumerate(BAD_PROFILES):
        file = tmp_path / f"{number}.toml"
        file.write_text(f"[profile.default]\n{profile}\n")
        said.append(refused(tmp_path, TEMPORAL_CONFIG_FILE=str(file)))
    said += [refused(tmp_path, TEMPORAL_SLO_LEDGER=url) for url in BAD_LEDGERS]
    said.append(refused(tmp_path, TEMPORAL_SLO_CODEC_ENDPOINT=f"http://u:{HIDDEN}@host:port/"))
    said.append(refused(tmp_path, TEMPORAL_API_KEY=HIDDEN, TEMPORAL_SLO_CODEC_AUTHORIZATION=HIDDEN))
    assert all(text.startswith("temporal-slo: ") for text in said)
    assert not [text for text in said if HIDDEN in text]
    assert "line 2" in said[0]


async def told(exporter: Exporter) -> str:
    """Whatever an exporter tells of itself."""
    accept = {"Accept": "application/openmetrics-text"}
    answers = [await exporter.http.get(path, headers=accept) for path in ("/metrics", "/readyz", "/debug/poll")]
    return "\n".join([*(answer.text for answer in answers), exporter.child.tail(10_000)])


async def test_running(front: Front, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An exporter whose certificates and key rotate goes on by itself, and tells none of its secrets meanwhile."""
    pki = Pki(tmp_path / "pki")
    front.key = HIDDEN
    await front.open(pki.server_context())
    file = tmp_path / "temporal.toml"
    profile = f"""[profile.default]
api_key = "{{}}"
[profile.default.tls]
server_name = "{HOST}"
server_ca_cert_path = "{pki.ca}"
client_cert_path = "{pki.certificate}"
client_key_path = "{pki.key}"
"""
    file.write_text(profile.format(HIDDEN))
    monkeypatch.setenv("TEMPORAL_CONFIG_FILE", str(file))
    monkeypatch.setenv("TEMPORAL_SLO_CODEC_AUTHORIZATION", HIDDEN)
    exporter = Exporter(tmp_path, front.address, "default", "--codec-endpoint", f"http://{LOOPBACK}:{free_port()}")
    await exporter.started()
    try:
        await exporter.becomes(names.EXPORTER_UP, 1)
        front.key = f"another {HIDDEN}"
        await exporter.becomes(names.EXPORTER_UP, 0)
        await hidden(exporter)
        texts = [await told(exporter)]
        file.write_text(profile.format(front.key))
        await exporter.becomes(names.EXPORTER_UP, 1)
        key = pki.key.read_text()
        await front.open(Pki(tmp_path / "pki").server_context())
        await exporter.becomes(names.EXPORTER_UP, 0)
        await exporter.becomes(names.EXPORTER_UP, 1)
        texts.append(await told(exporter))
    finally:
        await exporter.stop()
    hidden_too = [HIDDEN, *key.splitlines()[1:-1], *pki.key.read_text().splitlines()[1:-1]]
    assert not [secret for secret in hidden_too if any(secret in text for text in texts)]


async def hidden(exporter: Exporter) -> None:
    """Wait until the server has quoted the key that it refuses."""

    async def quoted() -> bool:
        await asyncio.sleep(0)
        return "the token" in await told(exporter)

    await until(quoted, deadline=60, what="a refusal")
