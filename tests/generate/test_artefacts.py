"""Generated files: complete, deterministic, written atomically."""

import re
import subprocess
import time
from pathlib import Path

import promql_parser
import pytest
import yaml

from temporal_slo.errors import UsageError
from temporal_slo.generate.artefacts import render
from temporal_slo.generate.command import generate, links
from temporal_slo.generate.files import MARK, Drift, drift, write
from temporal_slo.spec.bound import LoadedSpecs
from temporal_slo.spec.load import SpecError, load

from .promtool import LINKS
from .test_burn import LATENCY, OVERDUE, SPEC

ROOT = Path(__file__).parents[2]


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    """A spec in a file."""
    path = tmp_path / "spec.yaml"
    path.write_text(SPEC)
    return path


def test_committed() -> None:
    """The committed files are those generated from the reference specs."""
    lines: list[str] = []
    slos, out, receivers = [str(ROOT / "deploy" / "slos")], ROOT / "alerts", str(ROOT / "deploy" / "receivers.yaml")
    up_to_date = generate(
        slos, out, links(None, None, None), lines.append, check=True, operator=False, receivers=receivers
    )
    assert up_to_date, lines


def test_committed_alertmanager(programs: dict[str, Path]) -> None:
    """Alertmanager accepts the committed configuration."""
    command = [str(programs["amtool"]), "check-config", str(ROOT / "alerts" / "alertmanager.yaml")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def test_drift(spec: Path, tmp_path: Path) -> None:
    """Missing, stale and orphaned files are reported, then written or pruned, then no longer reported."""
    out = tmp_path / "alerts"
    files = render(load([spec]), LINKS)
    assert write(out, files).missing == sorted(files)
    assert not any(drift(out, files))
    (out / "shop.rules.yaml").write_text("by hand")
    (out / "causes-shop-prod.rules.yaml").unlink()
    (out / "former.rules.yaml").write_text(f"{MARK}groups: []\n")
    (out / "foreign.rules.yaml").write_bytes(b"groups: [] # \xff\n")
    (out / "alertmanager.yaml").write_text(MARK)
    found = Drift(["causes-shop-prod.rules.yaml"], ["shop.rules.yaml"], ["former.rules.yaml"])
    assert drift(out, files) == found == write(out, files)
    assert drift(out, files) == Drift([], [], found.orphaned) == write(out, files, prune=True)
    assert not any(drift(out, files))
    assert (out / "foreign.rules.yaml").exists()


def test_same_each_time(spec: Path) -> None:
    """The same specs generate the same files."""
    assert render(load([spec]), LINKS) == render(load([spec]), LINKS)


def test_bad_spec_leaves_files(spec: Path, tmp_path: Path) -> None:
    """An invalid spec changes no file."""
    out = tmp_path / "alerts"
    before = dict(render(load([spec]), LINKS))
    write(out, before)
    spec.write_text(SPEC.replace("99.9", "100"))
    with pytest.raises(SpecError):
        generate([str(spec)], out, LINKS, print, check=False, operator=False)
    assert not any(drift(out, before))


def test_disk_is_full(spec: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A failed write leaves the existing file complete, and no temporary file."""
    out = tmp_path / "alerts"
    write(out, {"shop.rules.yaml": "before"})

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(UsageError, match="No space left on device"):
        write(out, render(load([spec]), LINKS))
    assert [path.name for path in out.iterdir()] == ["shop.rules.yaml"]
    assert (out / "shop.rules.yaml").read_text() == "before"


def test_nothing() -> None:
    """Without a spec, generating is an error."""
    with pytest.raises(UsageError, match="contains no spec"):
        render(LoadedSpecs(), LINKS)


def test_operator(spec: Path) -> None:
    """For the Prometheus operator the same groups are in PrometheusRule objects."""
    plain, objects = (render(load([spec]), LINKS, operator=operator) for operator in (False, True))
    for name, text in plain.items():
        if name.endswith(".yaml"):
            made = yaml.safe_load(objects[name])
            assert (made["kind"], made["spec"]) == ("PrometheusRule", yaml.safe_load(text))


@pytest.mark.usefixtures("spec")
def test_several_namespaces(programs: dict[str, Path], tmp_path: Path) -> None:
    """A service may have the same SLO in several namespaces, whatever their names; Prometheus accepts the files."""
    for number, namespace in enumerate(("Shop/Prod {{ x }}", "shop.prod--x", "../shop")):
        (tmp_path / f"more{number}.yaml").write_text(SPEC.replace("shop-prod", f'"{namespace}"'))
    files = render(load([tmp_path]), LINKS)
    assert len([name for name in files if re.fullmatch(r"causes-[a-z0-9-]+\.rules\.yaml", name)]) == 4
    write(tmp_path / "alerts", files)
    rules = sorted(str(path) for path in (tmp_path / "alerts").glob("*.yaml"))
    done = subprocess.run([programs["promtool"], "check", "rules", *rules], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_no_noise(spec: Path) -> None:
    """Numbers are exact and have no superfluous digits."""
    text = render(load([spec]), LINKS)["shop.rules.yaml"]
    assert " > 0.0144" in text
    assert "0000000" not in text
    assert "99999" not in text


def test_braces_stay(spec: Path) -> None:
    """Braces in a description are not a template."""
    spec.write_text(SPEC.replace("- name: rides", "- name: rides\n  description: Of {{ all }}."))
    text = render(load([spec]), LINKS)["shop.rules.yaml"]
    assert 'Of {{ "{{" }} all }}.' in text


def test_many(tmp_path: Path) -> None:
    """500 SLOs take about ten times as long to generate as 50: the time does not grow with the square."""
    few, many = _rendering(tmp_path / "few.yaml", 50), _rendering(tmp_path / "many.yaml", 500)
    print(f"50 SLOs in {few:.1f} s, 500 in {many:.1f} s")
    assert many <= 30 * few  # the square is 100 times; between them lies the noise of a busy machine


def _rendering(path: Path, count: int) -> float:
    """Return the seconds of CPU in which so many SLOs are generated."""
    one = SPEC[SPEC.index("- name") :]
    # Outcomes are of a workflow type: each SLO has a type of its own.
    slos = (one.replace("rides", f"r{n}").replace("[Ride, Walk]", f"Ride{n}") for n in range(count))
    path.write_text(SPEC[: SPEC.index("- name")] + "".join(slos))
    start = time.process_time()
    render(load([path]), LINKS)
    return time.process_time() - start


def test_expressions_parse(spec: Path) -> None:
    """A second PromQL parser accepts every expression, too."""
    spec.write_text(SPEC + LATENCY + OVERDUE)
    texts = [text for name, text in render(load([spec]), LINKS).items() if name.endswith(".yaml")]
    groups = [group for text in texts for group in yaml.safe_load(text)["groups"]]
    expressions = [rule["expr"] for group in groups for rule in group["rules"]]
    assert len(expressions) > 100
    for expression in expressions:
        promql_parser.parse(expression)


def test_groups_differ(tmp_path: Path) -> None:
    """Group names are unique, as Prometheus requires, whatever the names of SLO and namespace."""
    one = SPEC.replace("name: rides", "name: eu-rides")
    (tmp_path / "one.yaml").write_text(one)
    (tmp_path / "other.yaml").write_text(
        SPEC.replace("temporal_namespace: shop-prod", "temporal_namespace: shop-prod-eu")
    )
    files = render(load([tmp_path]), LINKS)
    found = [group["name"] for group in yaml.safe_load(files["shop.rules.yaml"])["groups"]]
    assert len(found) == len(set(found)) == 8


def test_period_is_a_window(tmp_path: Path) -> None:
    """The ratio is recorded once if the period equals a window."""
    (tmp_path / "spec.yaml").write_text(SPEC.replace("period: 30d", "period: 3d"))
    for group in yaml.safe_load(render(load([tmp_path]), LINKS)["shop.rules.yaml"])["groups"]:
        found = [(rule["record"], *rule["labels"].items()) for rule in group["rules"] if "record" in rule]
        assert len(found) == len(set(found))
