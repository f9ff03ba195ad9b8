"""Annotations of error budget alerts, as Prometheus expands them."""

import re
import subprocess
from pathlib import Path

import yaml

from temporal_slo.generate.artefacts import render
from temporal_slo.generate.files import write
from temporal_slo.spec.load import load

from .promtool import LINKS, groups
from .test_burn import BURNS, EXHAUSTED, FAILED, GOOD, MONTH, SPEC, so_far

# 10 million good runs, then little traffic; from minute 220 on every run fails.
LOW_TRAFFIC = {GOOD: "0+100000x100 10000000+100x120 10012000x60", FAILED: "0x220 0+100x60"}
# All traffic fails from minute 120 on.
OUTAGE = {GOOD: "0+100x120 12000x120", FAILED: "0x120 0+100x120"}


Firing = tuple[str, dict[str, str], int]
"""Name of an alert, the series that it sees, and the minute in which it fires."""


def annotations(name: str, promtool: Path, folder: Path, spec: str, firing: Firing) -> list[str]:
    """Return the annotation *name* of each instance of a firing alert, sorted."""
    alert, series, minute = firing
    (folder / "spec.yaml").write_text(spec)
    rules = render(load([folder / "spec.yaml"]), LINKS)["shop.rules.yaml"]
    write(folder, {"shop.rules.yaml": rules})
    # promtool prints the alerts that fire although none is expected.
    none = {"alertname": alert, "eval_time": f"{minute}m", "exp_alerts": []}
    inputs = [{"series": one, "values": values} for one, values in series.items()]
    case = {"interval": "1m", "input_series": inputs, "alert_rule_test": [none]}
    test = {
        "rule_files": ["shop.rules.yaml"],
        "evaluation_interval": "1m",
        "group_eval_order": groups([rules]),
        "tests": [case],
    }
    (folder / "test.yaml").write_text(yaml.safe_dump(test))
    done = subprocess.run(
        [promtool, "test", "rules", "test.yaml"], cwd=folder, capture_output=True, text=True, timeout=100, check=False
    )
    return sorted(re.findall(rf'\b{name}="((?:[^"\\]|\\.)*)"', done.stdout + done.stderr))


def test_burn_rate(programs: dict[str, Path], tmp_path: Path) -> None:
    """The summary has the burn rate of both windows, and when the error budget is exhausted at this rate."""
    found = annotations("summary", programs["promtool"], tmp_path, SPEC, (BURNS, LOW_TRAFFIC, 230))
    assert found == [
        "rides (shop): burn rate 1000.0x over 5m, 150.0x over 1h, error budget exhausted in 40m 10s at this rate"
    ]


def test_exhausted(programs: dict[str, Path], tmp_path: Path) -> None:
    """With an exhausted error budget the summary says so instead of a time."""
    found = annotations("summary", programs["promtool"], tmp_path, SPEC, (BURNS, OUTAGE, 140))
    assert len(found) == 4
    assert found[0] == "rides (shop): burn rate 1000.0x over 5m, 322.0x over 1h, error budget exhausted"
    assert all(summary.endswith(", error budget exhausted") for summary in found)


def test_month(programs: dict[str, Path], tmp_path: Path) -> None:
    """For a calendar month the time follows from the error budget of the whole month."""
    firing = BURNS, OUTAGE | so_far("149x240", "1x240"), 140
    first, *_ = annotations("summary", programs["promtool"], tmp_path, MONTH, firing)
    rates = "burn rate 1000.0x over 5m, 322.0x over 1h"
    assert first == f"rides (shop): {rates}, error budget exhausted in 42m 25s at this rate"


def test_unknown_budget(programs: dict[str, Path], tmp_path: Path) -> None:
    """Without data on the period the summary has the burn rate alone."""
    found = annotations("summary", programs["promtool"], tmp_path, MONTH, (BURNS, OUTAGE, 140))
    assert found[0] == "rides (shop): burn rate 1000.0x over 5m, 322.0x over 1h"


def test_description(programs: dict[str, Path], tmp_path: Path) -> None:
    """The description has the error ratio, the threshold of the tier, and the error budget remaining."""
    (text,) = annotations("description", programs["promtool"], tmp_path, SPEC, (BURNS, LOW_TRAFFIC, 230))
    assert text.startswith("SLO rides. The objective is 99.9 % over 30d. Over 5m, 100% of events were bad. Alert ")
    assert text.endswith(
        ": burn rate 14.4x over both windows, which consumes 2 % of the error budget in 1h. "
        "Error budget remaining: 93.01%."
    )


def test_exhausted_alert(programs: dict[str, Path], tmp_path: Path) -> None:
    """The alert on an exhausted error budget has how much remains, below 0."""
    found = annotations("summary", programs["promtool"], tmp_path, SPEC, (EXHAUSTED, OUTAGE, 140))
    assert found == ["rides (shop): error budget exceeded, -1.231e+04% remaining"]
