"""The state that dashboards tell of an SLO, by Prometheus itself."""

import subprocess
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Final

import pytest
import yaml

from temporal_slo import names
from temporal_slo.generate.dashboards.detail import left_over
from temporal_slo.generate.dashboards.state import WORDS, blind, state
from temporal_slo.spec.model import Calendar

from .made import setting
from .test_execution import filled

OF: Final = f'{{slo="booking-success", {names.NAMESPACE}="volteryde-dev"}}'
WELL: Final = {
    f"temporal_slo_slo_info{OF}": 1.0,
    f"slo:events:rate5m{OF}": 0.5,
    f"slo:period_error_budget_remaining:ratio{OF}": 0.8,
    f"slo:period_burn_rate:ratio{OF}": 0.2,
    f'temporal_slo_exporter_up{{job="temporal-slo", {names.NAMESPACE}="volteryde-dev"}}': 1.0,
}
UP: Final = next(name for name in WELL if "exporter_up" in name)
EVENTS: Final = next(name for name in WELL if "events" in name)
LEFT: Final = next(name for name in WELL if "remaining" in name)
INFO: Final = next(name for name in WELL if "slo_info" in name)
OF_WORKERS: Final = INFO.replace("{", '{sli="activity_success", ')
BURN: Final = next(name for name in WELL if "burn_rate" in name)


def burning(severity: str, name: str = names.ALERT_BURN) -> dict[str, float]:
    """An alert that fires."""
    return {f'ALERTS{{alertname="{name}", alertstate="firing", severity="{severity}", {OF[1:]}': 1.0}


CASES: Final[dict[str, tuple[dict[str, float | None], str]]] = {
    "well": ({}, "ok"),
    "exporter away": ({EVENTS: None, UP: None}, "no data"),
    "Temporal away": ({UP: 0}, "no data"),
    "idle since ever": ({LEFT: None, BURN: None, EVENTS: 0}, "insufficient data"),
    "never ran": ({LEFT: None, BURN: None, EVENTS: None}, "insufficient data"),
    "workers away": ({INFO: None, OF_WORKERS: 1.0, LEFT: None, BURN: None, EVENTS: None}, "no data"),
    "overspent": ({LEFT: -0.5, BURN: 1.5}, "overspent"),
    "overspent, exporter away": ({LEFT: -0.5, BURN: 1.5, EVENTS: None, UP: None}, "overspent"),
    "slow": ({**burning("ticket")}, "burning"),
    "fast": ({**burning("page"), **burning("ticket")}, "burning fast"),
    "fast and overspent": ({**burning("page"), LEFT: -0.5, BURN: 1.5}, "burning fast"),
    "another alert": ({**burning("page", "TemporalSloRunsOverdue")}, "ok"),
}


@pytest.fixture(scope="module")
def values(programs: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, float]:
    """The state in each case, as promtool reckons it; it tells what it got where it got something else."""
    return {
        name: evaluated(programs, tmp_path_factory.mktemp("state"), {**WELL, **case})
        for name, (case, _) in CASES.items()
    }


def evaluated(programs: dict[str, Path], folder: Path, series: dict[str, float | None], expr: str = "") -> float:
    """Evaluate the state, or *expr*, on these series."""
    there = [{"series": name, "values": f"{value}x200"} for name, value in series.items() if value is not None]
    test = {"expr": filled(expr or state()), "eval_time": "10m", "exp_samples": [{"labels": "{}", "value": -1}]}
    path = folder / "test.yaml"
    path.write_text(yaml.safe_dump({"tests": [{"interval": "30s", "input_series": there, "promql_expr_test": [test]}]}))
    done = subprocess.run([programs["promtool"], "test", "rules", path], capture_output=True, text=True, check=False)
    got = done.stderr.partition("got:")[2].split()
    assert len([word for word in got if word.startswith("{")]) == 1, done.stderr
    return float(got[-1])


@pytest.mark.parametrize("name", CASES)
def test_state(name: str, values: dict[str, float]) -> None:
    """Each case has its word, and no number falls between two words."""
    (word,) = (one.text for one in WORDS if one.low <= values[name] <= one.high)
    assert word == CASES[name][1]


def test_order(values: dict[str, float]) -> None:
    """The more urgent, the higher; of two in the same state the one that has spent more."""
    order = ["well", "idle since ever", "Temporal away", "slow", "overspent", "fast", "fast and overspent"]
    assert [values[name] for name in order] == sorted(values[name] for name in order)
    assert values["fast"] < values["fast and overspent"]


def test_bad_events_left(programs: dict[str, Path], tmp_path: Path) -> None:
    """So many more bad events are borne: the rest of the budget, of the events that there were."""
    series: dict[str, float | None] = {
        EVENTS: 10.0,
        LEFT: 0.5,
        f"slo:error_budget:ratio{OF}": 0.01,
        f"slo:time_period:days{OF}": 30.0,
    }
    # 21 samples of 10 a second, each of 30 seconds: 6300 events, 63 of them may be bad, half is spent.
    assert evaluated(programs, tmp_path, series, left_over(setting())) == 31


def test_bad_events_left_of_a_month(programs: dict[str, Path], tmp_path: Path) -> None:
    """A calendar month has its own count, also beside SLOs of as many days."""
    month = replace(setting(), periods=(timedelta(days=30), Calendar(calendar="month", timezone="UTC")))
    series: dict[str, float | None] = {
        EVENTS: 10.0,
        LEFT: 0.5,
        f"slo:error_budget:ratio{OF}": 0.01,
        f"slo:time_period:days{OF}": 30.0,
        f'temporal_slo_period_good_events{OF[:-1]}, job="temporal-slo"}}': 990.0,
        f'temporal_slo_period_bad_events{OF[:-1]}, job="temporal-slo"}}': 10.0,
    }
    assert evaluated(programs, tmp_path, series, left_over(month)) == 5


def test_blind(programs: dict[str, Path], tmp_path: Path) -> None:
    """An overspent SLO that nothing is known of any more is counted among those without data."""
    series: dict[str, float | None] = {**WELL, LEFT: -0.5, UP: None}
    assert evaluated(programs, tmp_path, series, f"count({blind()})") == 1
