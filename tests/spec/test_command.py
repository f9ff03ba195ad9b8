"""The commands validate and schema."""

import io
import json
import subprocess
import sys
from pathlib import Path

from temporal_slo.cli.main import main
from temporal_slo.spec.schema import json_schema

SPECS = Path(__file__).parents[1] / "specs"


def run(*argv: str | Path) -> tuple[int, list[str], str]:
    """Run one command; return exit code, the lines of standard output, and standard error."""
    stdout, stderr = io.StringIO(), io.StringIO()
    code = main([str(arg) for arg in argv], {}, stdout, stderr)
    return code, stdout.getvalue().splitlines(), stderr.getvalue()


def test_valid() -> None:
    """Good specs are counted."""
    assert run("validate", SPECS / "good") == (0, ["9 SLOs in 2 files are valid"], "")


def test_one(tmp_path: Path) -> None:
    """A single SLO is counted in the singular."""
    slo = "{name: a, workflow: A, objective: 99, sli: {latency: {threshold: 3s}}}"
    text = "version: temporal-slo/v1\nservice: a\ntemporal_namespace: a\nowner: a\nperiod: 30d\n"
    (tmp_path / "a.yaml").write_text(f"{text}slos: [{slo}]\n")
    assert run("validate", tmp_path) == (0, ["1 SLO in 1 file is valid"], "")


def test_warned() -> None:
    """Warnings are printed, and the specs are still valid."""
    path = SPECS / "warned" / "tier-fires-while-well.yaml"
    code, lines, stderr = run("validate", path)
    assert (code, stderr) == (0, "")
    expected = path.with_suffix(".txt").read_text().splitlines()
    assert lines == [*(f"{path.parent}/{line}" for line in expected), "3 SLOs in 1 file are valid (2 warnings)"]


def test_bad() -> None:
    """Every problem and warning of every file is printed, one a line, without a summary."""
    folders = [SPECS / "bad" / "across-names", SPECS / "bad" / "several.yaml", SPECS / "warned" / "window-starves.yaml"]
    code, lines, stderr = run("validate", *folders, SPECS / "nowhere")
    assert (code, stderr) == (2, "")
    assert len(lines) > 9
    assert lines[-1].startswith(f"{SPECS}/warned/window-starves.yaml:18: warning: slos[1].expected_rate: ")
    assert all(line.startswith(f"{SPECS}/") and "; " in line for line in lines)
    assert f"{SPECS}/nowhere: does not exist; correct the path" in lines


def test_nothing() -> None:
    """A path is required."""
    code, lines, stderr = run("validate")
    assert (code, lines) == (2, [])
    assert "arguments are required: PATH" in stderr


def test_schema() -> None:
    """The schema is printed as JSON, also in a separate process."""
    code, lines, stderr = run("schema")
    assert (code, stderr) == (0, "")
    assert json.loads("\n".join(lines)) == json_schema()
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "temporal_slo", "schema"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout.splitlines() == lines
