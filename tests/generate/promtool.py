"""Evaluates rules with promtool: series in, firing alerts out."""

import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from temporal_slo.generate.artefacts import render
from temporal_slo.generate.files import SUFFIX
from temporal_slo.generate.links import Links
from temporal_slo.spec.load import load

LINKS = Links("http://books", "http://grafana", "http://web", "http://status")
MINUTE = 60


@dataclass(frozen=True)
class Expected:
    """How many alerts of a name (and severity, if given) fire at a minute."""

    minute: int
    alert: str
    count: int
    severity: str = ".*"


@dataclass(frozen=True)
class Within:
    """Between which values an expression is at a minute, both excluded."""

    minute: int
    expression: str
    low: float
    high: float


def evaluate(
    promtool: Path,
    folder: Path,
    spec: str,
    series: Mapping[str, str],
    expected: Sequence[Expected | Within],
    *,
    but: tuple[str, ...] = (),
    every: str = "1m",
) -> str:
    """Evaluate the rules of *spec*; return promtool's report of what differs from *expected*, or nothing.

    Args:
        promtool: The program.
        folder: Folder for the files.
        spec: Text of a spec.
        series: Values at each evaluation, in promtool's notation, by series.
        expected: Alerts that fire, and values.
        but: Prefixes of rule files that are not evaluated.
        every: Evaluation interval.
    """
    (folder / "spec.yaml").write_text(spec)
    rendered = render(load([folder / "spec.yaml"]), LINKS)
    rules = {name: text for name, text in rendered.items() if not name.startswith(but) and name.endswith(SUFFIX)}
    for name, text in rules.items():
        (folder / name).write_text(text)
    test: dict[str, Any] = {
        "rule_files": sorted(rules),
        "evaluation_interval": every,
        "group_eval_order": groups(rules.values()),
        "tests": [
            {
                "interval": every,
                "input_series": [{"series": name, "values": values} for name, values in series.items()],
                "promql_expr_test": [_query_test(one) for one in expected],
            }
        ],
    }
    (folder / "test.yaml").write_text(yaml.safe_dump(test))
    done = subprocess.run(
        [promtool, "test", "rules", "test.yaml"], cwd=folder, capture_output=True, text=True, timeout=100, check=False
    )
    return "" if done.returncode == 0 else done.stdout + done.stderr


def groups(rules: Iterable[str]) -> list[str]:
    """The groups of rule files, in order: promtool's own order is random."""
    return [group["name"] for text in rules for group in yaml.safe_load(text)["groups"]]


def _query_test(alert: Expected | Within) -> dict[str, Any]:
    if isinstance(alert, Within):
        # Where it differs, promtool shows the value.
        between = f"(sum({alert.expression}) > {alert.low} < {alert.high}) * 0 or sum({alert.expression})"
        return {
            "expr": between,
            "eval_time": f"{alert.minute}m",
            "exp_samples": [{"labels": "{}", "value": 0}],
        }
    labels = f'alertname=~"{alert.alert}", alertstate="firing", severity=~"{alert.severity}"'
    return {
        "expr": f"count(ALERTS{{{labels}}}) or vector(0)",
        "eval_time": f"{alert.minute}m",
        "exp_samples": [{"labels": "{}", "value": alert.count}],
    }
