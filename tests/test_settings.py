from datetime import timedelta
from pathlib import Path

import pytest

from temporal_slo import settings

PROFILE = """
[profile.default]
address = "from-file:1111"
namespace = "file-namespace"
api_key = "file-secret"

[profile.other]
address = "other:2222"
"""


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """Environment variables that point to a configuration file with two profiles."""
    file = tmp_path / "temporal.toml"
    file.write_text(PROFILE)
    return {"TEMPORAL_CONFIG_FILE": str(file)}


def test_defaults() -> None:
    """The default is Temporal's own default address and namespace."""
    config = settings.connection(None, None, None, {"HOME": "/nowhere"})
    assert (config["target_host"], config["namespace"]) == ("localhost:7233", "default")


def test_precedence(environ: dict[str, str]) -> None:
    """Options override variables, which override the profile."""
    assert settings.connection(None, None, None, environ)["target_host"] == "from-file:1111"
    environ["TEMPORAL_ADDRESS"] = "from-env:3333"
    assert settings.connection(None, None, None, environ)["target_host"] == "from-env:3333"
    config = settings.connection("option:4444", "option-namespace", None, environ)
    assert (config["target_host"], config["namespace"]) == ("option:4444", "option-namespace")


def test_profile(environ: dict[str, str]) -> None:
    """The profile is selected by option or by TEMPORAL_PROFILE."""
    assert settings.connection(None, None, "other", environ)["target_host"] == "other:2222"
    assert (
        settings.connection(None, None, None, {**environ, "TEMPORAL_PROFILE": "other"})["target_host"] == "other:2222"
    )


def test_api_key(environ: dict[str, str]) -> None:
    """An API key enables TLS, and is not in the repr of the settings."""
    config = settings.connection(None, None, None, environ)
    assert (config["api_key"], config["tls"]) == ("file-secret", True)
    chosen = settings.exporter(config, {}, {})
    assert "file-secret" not in f"{chosen} {chosen!r}"


def test_exporter() -> None:
    """Exporter options override TEMPORAL_SLO_* variables, which override defaults."""
    config = settings.connection(None, None, None, {})
    chosen = settings.exporter(config, {}, {})
    assert (chosen.listen, chosen.poll_interval) == (("127.0.0.1", 9464), timedelta(seconds=15))
    environ = {"TEMPORAL_SLO_LISTEN": "[::1]:99", "TEMPORAL_SLO_POLL_INTERVAL": "1m"}
    chosen = settings.exporter(config, {"poll-interval": "7s"}, environ, ["fail-fast"])
    assert (chosen.listen, chosen.poll_interval, chosen.fail_fast) == (("::1", 99), timedelta(seconds=7), True)


def test_sources() -> None:
    """Each source has an interval and can be disabled."""
    config = settings.connection(None, None, None, {})
    assert settings.exporter(config, {}, {}).sources["task_queues"] == timedelta(seconds=30)
    chosen = settings.exporter(config, {"sources": "schedules=off,task_queues=5s"}, {})
    assert (chosen.sources["task_queues"], "schedules" in chosen.sources) == (timedelta(seconds=5), False)


def test_namespaces() -> None:
    """Namespaces are comma-separated, without duplicates; the connection uses the first."""
    config = settings.connection(None, "shop, fleet,shop", None, {})
    chosen = settings.exporter(config, {}, {})
    assert (chosen.namespaces, chosen.connection["namespace"]) == (("shop", "fleet"), "shop")


def test_backfill() -> None:
    """Backfill is off by default, and takes a duration or the server's retention."""
    config = settings.connection(None, None, None, {})
    texts: list[str | None] = [None, "30d", "retention"]
    found = [settings.exporter(config, {"backfill": text}, {}).backfill for text in texts]
    assert found == [None, timedelta(days=30), settings.RETENTION]
