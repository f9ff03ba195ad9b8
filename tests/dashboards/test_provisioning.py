"""Dashboard files: the committed ones, Grafana provisioning, and Kubernetes ConfigMaps."""

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

from .rendered import ROOT, loaded, rendered

SLOS = ROOT / "deploy" / "slos"
GRAFANA = ROOT / "deploy" / "grafana" / "provisioning"
MAX_CONFIG_MAP_BYTES = 1 << 20


def reference_files(**options: Any) -> dict[str, str]:
    """The files generated from the reference specs."""
    return dict(files(load([SLOS]).slos, links(None, None, None), **options))


def test_committed() -> None:
    """The committed files are those generated from the reference specs."""
    assert not any(drift(ROOT / "dashboards", reference_files()))
    assert {name.removesuffix(".json") for name in reference_files() if name.endswith(".json")} == set(rendered())


def test_readme() -> None:
    """The README lists every dashboard with its file, title and picture."""
    page = reference_files()["README.md"]
    for uid in rendered():
        assert f"`{uid}.json`" in page
        assert f"(pictures/{uid}.png)" in page
        assert loaded(uid)["title"] in page


def test_drift(tmp_path: Path) -> None:
    """Missing, stale and orphaned dashboards are reported and fixed; dashboards of others are kept."""
    write(tmp_path, reference_files())
    (tmp_path / "temporal-slo-server.json").unlink()
    (tmp_path / "temporal-slo-detail.json").write_text("by hand")
    (tmp_path / "temporal-slo-former.json").write_text(reference_files()["temporal-slo-workers.json"])
    (tmp_path / "temporal-slo-mine.json").write_text('{"editable": true, "tags": ["temporal-slo"]}')
    found = Drift(["temporal-slo-server.json"], ["temporal-slo-detail.json"], ["temporal-slo-former.json"])
    assert drift(tmp_path, reference_files()) == found == write(tmp_path, reference_files(), prune=True)
    assert not any(drift(tmp_path, reference_files()))
    assert (tmp_path / "temporal-slo-mine.json").exists()


def run(*arguments: str) -> tuple[int, str]:
    """Run `temporal-slo`, and return its exit code and its output."""
    output = StringIO()
    return main(arguments, {}, output, output), output.getvalue()


def test_command(tmp_path: Path) -> None:
    """`generate` writes dashboards next to the alerts, and `--check` reports differences."""
    out, dashboards = tmp_path / "alerts", tmp_path / "dashboards"
    arguments = ["generate", str(SLOS), "--out", str(out)]
    assert run(*arguments)[0] == 0
    assert {path.stem for path in dashboards.glob("*.json")} == set(rendered())
    assert run(*arguments, "--check") == (0, "")
    (dashboards / "temporal-slo-server.json").unlink()
    assert run(*arguments, "--check") == (1, "temporal-slo-server.json: is missing\n")
    elsewhere = ["--dashboards", str(tmp_path / "elsewhere"), "--sdk-names", "plain"]
    assert run(*arguments, *elsewhere, "--namespace-label", "exported_namespace")[0] == 0
    text = (tmp_path / "elsewhere" / "temporal-slo-workers.json").read_text()
    assert "temporal_request{" in text
    assert "exported_namespace=~" in text


def test_same_folder(tmp_path: Path) -> None:
    """Alerts and dashboards cannot share a folder, since each has a README."""
    code, output = run("generate", str(SLOS), "--out", str(tmp_path), "--dashboards", str(tmp_path))
    assert code == 2
    assert "--dashboards: is the same folder as --out" in output
    assert not any(tmp_path.iterdir())


def test_config_maps() -> None:
    """For Kubernetes each dashboard is a ConfigMap with the label of the Grafana chart's sidecar."""
    maps = {name: text for name, text in reference_files(operator=True).items() if name.endswith(".yaml")}
    assert len(maps) == len(rendered())
    for text in maps.values():
        document = yaml.safe_load(text)
        uid = document["metadata"]["name"]
        assert (document["apiVersion"], document["kind"]) == ("v1", "ConfigMap")
        assert document["metadata"]["labels"][SIDECAR_LABEL] == "1"
        assert json.loads(document["data"][f"{uid}.json"]) == loaded(uid)
        assert len(text.encode()) < MAX_CONFIG_MAP_BYTES


def test_profile_reaches_files() -> None:
    """The dashboard files use the profile of SDK metric names."""
    assert reference_files(profile=PLAIN)["temporal-slo-workers.json"] == rendered(PLAIN)["temporal-slo-workers"]


def test_provider() -> None:
    """Grafana's provisioning files have the expected keys, and the data source has a scrape interval."""
    (provider,) = yaml.safe_load((GRAFANA / "dashboards" / "temporal-slo.yaml").read_text())["providers"]
    assert (provider["type"], provider["allowUiUpdates"]) == ("file", False)
    (source,) = yaml.safe_load((GRAFANA / "datasources" / "prometheus.yaml").read_text())["datasources"]
    assert (source["type"], source["url"]) == ("prometheus", "${PROMETHEUS_URL}")
    assert source["jsonData"]["timeInterval"]
