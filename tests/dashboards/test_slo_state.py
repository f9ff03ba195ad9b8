"""The state of an SLO on dashboards, evaluated by promtool."""

import subprocess
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Final

import pytest
import yaml

from temporal_slo import names
from temporal_slo.generate.dashboards.detail import bad_events_remaining
from temporal_slo.generate.dashboards.slo_state import STATE_MAPPINGS, slo_state, without_data
from temporal_slo.spec.model import Calendar

from .rendered import reference_config
from .test_execution import interpolated

LABELS: Final = f'{{slo="booking-success", {names.NAMESPACE}="volteryde-dev"}}'
HEALTHY: Final = {
    f"temporal_slo_slo_info{LABELS}": 1.0,
    f"slo:events:rate5m{LABELS}": 0.5,
    f"slo:period_error_budget_remaining:ratio{LABELS}": 0.8,
    f"slo:period_burn_rate:ratio{LABELS}": 0.2,
    f'temporal_slo_exporter_up{{job="temporal-slo", {names.NAMESPACE}="volteryde-dev"}}': 1.0,
}
UP: Final = next(name for name in HEALTHY if "exporter_up" in name)
EVENTS: Final = next(name for name in HEALTHY if "events" in name)
REMAINING: Final = next(name for name in HEALTHY if "remaining" in name)
INFO: Final = next(name for name in HEALTHY if "slo_info" in name)
WORKER_INFO: Final = INFO.replace("{", '{sli="activity_success", ')
BURN_RATE: Final = next(name for name in HEALTHY if "burn_rate" in name)


def firing(severity: str, name: str = names.ALERT_BURN) -> dict[str, float]:
    """The series of a firing alert."""
    return {f'ALERTS{{alertname="{name}", alertstate="firing", severity="{severity}", {LABELS[1:]}': 1.0}


CASES: Final[dict[str, tuple[dict[str, float | None], str]]] = {
    "healthy": ({}, "ok"),
    "exporter down": ({EVENTS: None, UP: None}, "no data"),
    "Temporal unreachable": ({UP: 0}, "no data"),
    "no events yet": ({REMAINING: None, BURN_RATE: None, EVENTS: 0}, "insufficient data"),
    "no series yet": ({REMAINING: None, BURN_RATE: None, EVENTS: None}, "insufficient data"),
    "workers down": ({INFO: None, WORKER_INFO: 1.0, REMAINING: None, BURN_RATE: None, EVENTS: None}, "no data"),
    "exhausted": ({REMAINING: -0.5, BURN_RATE: 1.5}, "budget exhausted"),
    "exhausted, exporter down": ({REMAINING: -0.5, BURN_RATE: 1.5, EVENTS: None, UP: None}, "budget exhausted"),
    "slow": ({**firing("ticket")}, "slow burn"),
    "fast": ({**firing("page"), **firing("ticket")}, "fast burn"),
    "fast and exhausted": ({**firing("page"), REMAINING: -0.5, BURN_RATE: 1.5}, "fast burn"),
    "another alert": ({**firing("page", "TemporalSloRunsOverdue")}, "ok"),
}


@pytest.fixture(scope="module")
def values(programs: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, float]:
    """The state in each case, taken from promtool's report of an unexpected value."""
    return {
        name: evaluated(programs, tmp_path_factory.mktemp("state"), {**HEALTHY, **case})
        for name, (case, _) in CASES.items()
    }


def evaluated(programs: dict[str, Path], folder: Path, series: dict[str, float | None], expr: str = "") -> float:
    """Evaluate the state, or *expr*, on constant series."""
    input_series = [{"series": name, "values": f"{value}x200"} for name, value in series.items() if value is not None]
    test = {
        "expr": interpolated(expr or slo_state()),
        "eval_time": "10m",
        "exp_samples": [{"labels": "{}", "value": -1}],
    }
    path = folder / "test.yaml"
    path.write_text(
        yaml.safe_dump({"tests": [{"interval": "30s", "input_series": input_series, "promql_expr_test": [test]}]})
    )
    done = subprocess.run([programs["promtool"], "test", "rules", path], capture_output=True, text=True, check=False)
    got = done.stderr.partition("got:")[2].split()
    assert len([word for word in got if word.startswith("{")]) == 1, done.stderr
    return float(got[-1])


@pytest.mark.parametrize("name", CASES)
def test_state(name: str, values: dict[str, float]) -> None:
    """Each case maps to exactly one state, the expected one."""
    (text,) = (mapping.text for mapping in STATE_MAPPINGS if mapping.low <= values[name] <= mapping.high)
    assert text == CASES[name][1]


def test_order(values: dict[str, float]) -> None:
    """A more urgent state has a higher value; within a state, more consumed budget has a higher value."""
    order = ["healthy", "no events yet", "Temporal unreachable", "slow", "exhausted", "fast", "fast and exhausted"]
    assert [values[name] for name in order] == sorted(values[name] for name in order)
    assert values["fast"] < values["fast and exhausted"]


def test_bad_events_remaining(programs: dict[str, Path], tmp_path: Path) -> None:
    """The number is the remaining budget times the allowed share of the period's events."""
    series: dict[str, float | None] = {
        EVENTS: 10.0,
        REMAINING: 0.5,
        f"slo:error_budget:ratio{LABELS}": 0.01,
        f"slo:time_period:days{LABELS}": 30.0,
    }
    # 21 samples of 10 events per second, 30 s each: 6300 events, of which 63 may be bad; half of that is consumed.
    assert evaluated(programs, tmp_path, series, bad_events_remaining(reference_config())) == 31


def test_bad_events_remaining_of_a_calendar_month(programs: dict[str, Path], tmp_path: Path) -> None:
    """For a calendar month the exporter's count is used, even with another SLO period of as many days."""
    month = replace(reference_config(), periods=(timedelta(days=30), Calendar(calendar="month", timezone="UTC")))
    series: dict[str, float | None] = {
        EVENTS: 10.0,
        REMAINING: 0.5,
        f"slo:error_budget:ratio{LABELS}": 0.01,
        f"slo:time_period:days{LABELS}": 30.0,
        f'temporal_slo_period_good_events{LABELS[:-1]}, job="temporal-slo"}}': 990.0,
        f'temporal_slo_period_bad_events{LABELS[:-1]}, job="temporal-slo"}}': 10.0,
    }
    assert evaluated(programs, tmp_path, series, bad_events_remaining(month)) == 5


def test_without_data(programs: dict[str, Path], tmp_path: Path) -> None:
    """An SLO with an exhausted budget and no current data counts as without data."""
    series: dict[str, float | None] = {**HEALTHY, REMAINING: -0.5, UP: None}
    assert evaluated(programs, tmp_path, series, f"count({without_data()})") == 1
