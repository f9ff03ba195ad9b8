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
    """An environment that points at a configuration file with two profiles."""
    file = tmp_path / "temporal.toml"
    file.write_text(PROFILE)
    return {"TEMPORAL_CONFIG_FILE": str(file)}


def test_defaults() -> None:
    """With nothing given, Temporal is at its own default address and namespace."""
    config = settings.connection(None, None, None, {"HOME": "/nowhere"})
    assert (config["target_host"], config["namespace"]) == ("localhost:7233", "default")


def test_precedence(environ: dict[str, str]) -> None:
    """An option beats the variable, which beats the profile."""
    assert settings.connection(None, None, None, environ)["target_host"] == "from-file:1111"
    environ["TEMPORAL_ADDRESS"] = "from-env:3333"
    assert settings.connection(None, None, None, environ)["target_host"] == "from-env:3333"
    config = settings.connection("option:4444", "option-namespace", None, environ)
    assert (config["target_host"], config["namespace"]) == ("option:4444", "option-namespace")


def test_profile(environ: dict[str, str]) -> None:
    """A profile is chosen by option or by TEMPORAL_PROFILE."""
    assert settings.connection(None, None, "other", environ)["target_host"] == "other:2222"
    assert (
        settings.connection(None, None, None, {**environ, "TEMPORAL_PROFILE": "other"})["target_host"] == "other:2222"
    )


def test_api_key(environ: dict[str, str]) -> None:
    """An API key turns TLS on, and is not shown by the settings that hold it."""
    config = settings.connection(None, None, None, environ)
    assert (config["api_key"], config["tls"]) == ("file-secret", True)
    chosen = settings.exporter(config, {}, {})
    assert "file-secret" not in f"{chosen} {chosen!r}"


def test_exporter() -> None:
    """The exporter's options have defaults, and variables of their own."""
    config = settings.connection(None, None, None, {})
    chosen = settings.exporter(config, {}, {})
    assert (chosen.listen, chosen.poll_interval) == (("127.0.0.1", 9464), timedelta(seconds=15))
    environ = {"TEMPORAL_SLO_LISTEN": "[::1]:99", "TEMPORAL_SLO_POLL_INTERVAL": "1m"}
    chosen = settings.exporter(config, {"poll-interval": "7s"}, environ, ["fail-fast"])
    assert (chosen.listen, chosen.poll_interval, chosen.fail_fast) == (("::1", 99), timedelta(seconds=7), True)


def test_sources() -> None:
    """Each source has its interval, and can be switched off."""
    config = settings.connection(None, None, None, {})
    assert settings.exporter(config, {}, {}).sources["task_queues"] == timedelta(seconds=30)
    chosen = settings.exporter(config, {"sources": "schedules=off,task_queues=5s"}, {})
    assert (chosen.sources["task_queues"], "schedules" in chosen.sources) == (timedelta(seconds=5), False)


def test_namespaces() -> None:
    """Several namespaces are divided by commas; the connection gets the first."""
    config = settings.connection(None, "shop, fleet,shop", None, {})
    chosen = settings.exporter(config, {}, {})
    assert (chosen.namespaces, chosen.connection["namespace"]) == (("shop", "fleet"), "shop")
