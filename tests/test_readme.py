"""The README and the guides agree with the code: what they show is generated, what they name exists."""

import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from temporal_slo import names
from temporal_slo.cli.main import main
from temporal_slo.spec.load import load

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
MORE = " …"
"""Ends an expression that is shown only in part."""

OPTIONS = README.split("temporal-slo generate slos/ --out alerts/ ")[1].splitlines()[0].split()
"""Further options of `temporal-slo generate` in the README."""

SPEC, *EXCERPTS = (yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", README, re.DOTALL))


@pytest.fixture
def slos(tmp_path: Path) -> Path:
    """The directory with the spec that the README shows."""
    (tmp_path / "slos").mkdir()
    (tmp_path / "slos" / "spec.yaml").write_text(yaml.safe_dump(SPEC))
    return tmp_path / "slos"


def generated(slos: Path) -> list[dict[str, Any]]:
    """Return all rules that `temporal-slo generate` makes of the specs, with the README's options."""
    out = slos.parent / "alerts"
    stderr = io.StringIO()
    assert main(["generate", str(slos), "--out", str(out), *OPTIONS], {}, io.StringIO(), stderr) == 0, stderr.getvalue()
    files = [yaml.safe_load(path.read_text()) for path in out.glob("*.rules.yaml")]
    return [rule for file in files for group in file["groups"] for rule in group["rules"]]


def occurs(shown: object, made: object) -> bool:
    """Whether the generated object has everything that is shown; a text may be wrapped, and cut by an ellipsis."""
    if isinstance(shown, dict):
        return isinstance(made, dict) and all(key in made and occurs(value, made[key]) for key, value in shown.items())
    wanted, found = (" ".join(str(value).split()) for value in (shown, made))
    return found.startswith(wanted.removesuffix(MORE)) if wanted.endswith(MORE) else found == wanted


def test_spec_is_valid(slos: Path) -> None:
    """The spec of the README validates without a warning."""
    stdout, stderr = io.StringIO(), io.StringIO()
    assert main(["validate", str(slos)], {}, stdout, stderr) == 0
    assert "warning" not in stdout.getvalue() + stderr.getvalue()


def test_spec_is_the_demo_spec_in_short(slos: Path) -> None:
    """The SLO of the README is one of the demo's spec, to the letter."""
    ours, demo = load([slos]).slos, load([ROOT / "deploy" / "slos"]).slos
    assert len(ours) == 1
    assert ours[0] in demo


def test_excerpts_are_generated(slos: Path) -> None:
    """Each rule and alert of the README occurs in what `generate` makes of its spec."""
    rules = generated(slos)
    shown = [rule for excerpt in EXCERPTS for rule in excerpt]
    assert [set(rule) & {"record", "alert"} for rule in shown] == [{"record"}, {"alert"}]
    for rule in shown:
        assert any(occurs(rule, made) for made in rules), rule


def test_excerpts_are_compared(slos: Path) -> None:
    """An excerpt with another threshold, label or summary occurs in no rule."""
    rules = generated(slos)
    alert = EXCERPTS[1][0]
    for wrong in (
        alert | {"expr": alert["expr"].replace("0.072", "0.073")},
        alert | {"labels": alert["labels"] | {"long": "2h"}},
        alert | {"annotations": {"summary": alert["annotations"]["summary"] + "!"}},
    ):
        assert not any(occurs(wrong, made) for made in rules), wrong


def series() -> Iterator[str]:
    """Yield the names of all series that are declared."""
    for family in (*names.EXPORTER_FAMILIES, *names.INTERCEPTOR_FAMILIES):
        yield family.sample
        yield family.name


def test_metrics_exist() -> None:
    """Every metric that the README and the guides name is declared."""
    named = {(page.name, name) for page in PAGES for name in re.findall(r"\btemporal_slo_\w+", page.read_text())}
    assert len(named) > 10, "no metric was found: this test is blind"
    assert {name for _, name in named} <= set(series())


def test_worker_metrics_are_listed() -> None:
    """The guide to the worker plugin lists every metric of it."""
    listed = set(re.findall(r"`(temporal_slo_\w+)`", (ROOT / "docs" / "workers.md").read_text()))
    assert {family.sample for family in names.INTERCEPTOR_FAMILIES} <= listed


def test_worker_examples_compile() -> None:
    """The Python of the guide to the worker plugin compiles, and imports what is there."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "workers.md").read_text(), re.DOTALL)
    assert blocks
    imports = "\n".join(line for block in blocks for line in block.splitlines() if line.startswith("from "))
    for block in blocks:
        compile(block, "docs/workers.md", "exec")
    exec(imports, {})  # noqa: S102 the imports of our own guide


def test_readme_is_short() -> None:
    """The README has at most 120 lines, and says in its first sentence what this is."""
    lines = README.splitlines()
    assert len(lines) <= 120
    assert "SLO monitoring for [Temporal]" in lines[2]
