"""Dashboards as files: committed as they are made, for Grafana's provisioning, and for Kubernetes."""

import json
from io import StringIO
from pathlib import Path
from typing import Any

import yaml

from temporal_slo.cli.main import main
from temporal_slo.generate.command import links
from temporal_slo.generate.dashboard_files import SIDECAR_LABEL, files
from temporal_slo.generate.files import Drift, drift, write
from temporal_slo.names.sdk import PLAIN
from temporal_slo.spec.load import load

from .made import ROOT, boards, loaded

SLOS = ROOT / "deploy" / "slos"
GRAFANA = ROOT / "deploy" / "grafana" / "provisioning"
LARGEST = 1 << 20
"""Bytes that Kubernetes takes for a ConfigMap."""


def made(**options: Any) -> dict[str, str]:
    """The files of the reference specs."""
    return dict(files(load([SLOS]).slos, links(None, None, None), **options))


def test_committed() -> None:
    """What is committed is what the reference specs make."""
    assert not any(drift(ROOT / "dashboards", made()))
    assert {name.removesuffix(".json") for name in made() if name.endswith(".json")} == set(boards())


def test_readme() -> None:
    """The page lists every dashboard, with where its picture belongs."""
    page = made()["README.md"]
    for uid in boards():
        assert f"`{uid}.json`" in page
        assert f"(pictures/{uid}.png)" in page
        assert loaded(uid)["title"] in page


def test_drift(tmp_path: Path) -> None:
    """A dashboard that is missing, stale, or made no more is told and mended; somebody else's stays."""
    write(tmp_path, made())
    (tmp_path / "temporal-slo-server.json").unlink()
    (tmp_path / "temporal-slo-detail.json").write_text("by hand")
    (tmp_path / "temporal-slo-former.json").write_text(made()["temporal-slo-workers.json"])
    (tmp_path / "temporal-slo-mine.json").write_text('{"editable": true, "tags": ["temporal-slo"]}')
    found = Drift(["temporal-slo-server.json"], ["temporal-slo-detail.json"], ["temporal-slo-former.json"])
    assert drift(tmp_path, made()) == found == write(tmp_path, made(), prune=True)
    assert not any(drift(tmp_path, made()))
    assert (tmp_path / "temporal-slo-mine.json").exists()


def run(*arguments: str) -> tuple[int, str]:
    """Run `temporal-slo`, and return its exit code and all that it printed."""
    said = StringIO()
    return main(arguments, {}, said, said), said.getvalue()


def test_command(tmp_path: Path) -> None:
    """`generate` puts dashboards beside the alerts, and `--check` tells where they differ."""
    out, beside = tmp_path / "alerts", tmp_path / "dashboards"
    arguments = ["generate", str(SLOS), "--out", str(out)]
    assert run(*arguments)[0] == 0
    assert {path.stem for path in beside.glob("*.json")} == set(boards())
    assert run(*arguments, "--check") == (0, "")
    (beside / "temporal-slo-server.json").unlink()
    assert run(*arguments, "--check") == (1, "temporal-slo-server.json: is missing\n")
    elsewhere = ["--dashboards", str(tmp_path / "elsewhere"), "--sdk-names", "plain"]
    assert run(*arguments, *elsewhere, "--namespace-label", "exported_namespace")[0] == 0
    text = (tmp_path / "elsewhere" / "temporal-slo-workers.json").read_text()
    assert "temporal_request{" in text
    assert "exported_namespace=~" in text


def test_same_folder(tmp_path: Path) -> None:
    """Alerts and dashboards each have a page of their own, so they do not share a folder."""
    code, said = run("generate", str(SLOS), "--out", str(tmp_path), "--dashboards", str(tmp_path))
    assert code == 2
    assert "--dashboards: is the folder of the alerts" in said
    assert not any(tmp_path.iterdir())


def test_config_maps() -> None:
    """For Kubernetes each dashboard is in a ConfigMap that the sidecar of Grafana's chart picks up."""
    maps = {name: text for name, text in made(operator=True).items() if name.endswith(".yaml")}
    assert len(maps) == len(boards())
    for text in maps.values():
        document = yaml.safe_load(text)
        uid = document["metadata"]["name"]
        assert (document["apiVersion"], document["kind"]) == ("v1", "ConfigMap")
        assert document["metadata"]["labels"][SIDECAR_LABEL] == "1"
        assert json.loads(document["data"][f"{uid}.json"]) == loaded(uid)
        assert len(text.encode()) < LARGEST


def test_profile_reaches_files() -> None:
    """Files are made for the names that workers use."""
    assert made(profile=PLAIN)["temporal-slo-workers.json"] == boards(PLAIN)["temporal-slo-workers"]


def test_provider() -> None:
    """Grafana's provisioning files are what it reads, and its data source's interval is a scrape interval."""
    (provider,) = yaml.safe_load((GRAFANA / "dashboards" / "temporal-slo.yaml").read_text())["providers"]
    assert (provider["type"], provider["allowUiUpdates"]) == ("file", False)
    (source,) = yaml.safe_load((GRAFANA / "datasources" / "prometheus.yaml").read_text())["datasources"]
    assert (source["type"], source["url"]) == ("prometheus", "${PROMETHEUS_URL}")
    assert source["jsonData"]["timeInterval"]
