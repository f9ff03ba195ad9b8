"""Cause alerts: how soon they fire, and that restarts and counter resets do not fire them."""

import re
from pathlib import Path

import pytest

from temporal_slo import names
from temporal_slo.generate.cause_alerts import CAUSES
from temporal_slo.names import server

from .promtool import Expected, evaluate
from .test_burn import SPEC
from .test_causes import FIRES, FRONTEND, RIDE, of_server, one

FAULT = 61
"""The minute in which the fault of each case starts."""
MINUTES = {
    "TemporalSloExporterStale": 6,
    "TemporalSloSourceStale": 15 + 5,
    "TemporalSloIngestionLag": 15,
    "TemporalSloClassificationLag": 15,
    "TemporalSloAuditDrift": 40,
    "TemporalSloUnknownOutcomes": 20 + 15,
    "TemporalSloScheduleOverdue": 1,
    "TemporalSloScheduleMissed": 0,
    "TemporalSloServerErrors": 14,
    "TemporalSloPersistenceSlow": 10,
    "TemporalSloVisibilityLag": 10,
}
"""Minutes until an alert fires, if not five."""
PARTS = re.compile(r"(-?\d+)(\+\d+)?x\d+")
SETTLED = 5
"""The first minute in which no series is younger than a scrape or two."""


@pytest.mark.parametrize("name", FIRES)
def test_cause(name: str, programs: dict[str, Path], tmp_path: Path) -> None:
    """It is silent without a fault, fires after the stated time and not a minute before, and resolves."""
    minute = FAULT + MINUTES.get(name, 5)
    expected = [
        Expected(59, name, 0),
        Expected(minute - 1, name, 0),
        Expected(minute, name, 1),
        Expected(119, name, 1),
        Expected(239, name, 0),
    ]
    assert evaluate(programs["promtool"], tmp_path, SPEC, FIRES[name], expected, but=("shop.",)) == ""


def replicated(series: dict[str, str], instance: str) -> dict[str, str]:
    """The same series, of one of several exporters."""
    return {f'{one[:-1]}, instance="{instance}"}}': values for one, values in series.items() if one.endswith("}")}


@pytest.mark.parametrize("name", [cause.name for cause in CAUSES if cause.name != "TemporalSloSpecNotReloaded"])
def test_replicas(name: str, programs: dict[str, Path], tmp_path: Path) -> None:
    """Three exporters that report the same fault fire one alert."""
    series = {key: value for instance in "abc" for key, value in replicated(FIRES[name], instance).items()}
    expected = [Expected(59, name, 0), Expected(119, name, 1), Expected(239, name, 0)]
    assert evaluate(programs["promtool"], tmp_path, SPEC, series, expected, but=("shop.",)) == ""


def healthy(values: str, gap: int) -> str:
    """The series without a fault, with a gap of as many minutes after the first hour."""
    found = PARTS.match(values)
    assert found
    start, step = int(found[1]), int(found[2] or 0)
    return f"{start}+{step}x59 _x{gap} {start + (60 + gap) * step}+{step}x120"


@pytest.mark.parametrize("gap", [1, 3])
def test_restart(gap: int, programs: dict[str, Path], tmp_path: Path) -> None:
    """No alert fires without a fault, nor while all exporters and the server are down for a moment."""
    series = {key: healthy(values, gap) for case in FIRES.values() for key, values in case.items()}
    expected = [Expected(minute, ".+", 0) for minute in range(SETTLED, 180)]
    assert evaluate(programs["promtool"], tmp_path, SPEC, series, expected, but=("shop.",)) == ""


def test_counter_reset(programs: dict[str, Path], tmp_path: Path) -> None:
    """A counter reset is not an increase."""
    operation = {"operation": "StartWorkflowExecution"}
    series = {
        one(names.EXPORTER_UP): "1x240",
        one(names.WORKFLOWS_CLOSED, **RIDE, status="completed", outcome="unknown"): "31x120 0x120",
        one(names.WORKFLOWS_CLOSED, **RIDE, status="completed", outcome="good"): "9000+3x120 0+3x120",
        one(names.SCHEDULE_MISSED_CATCHUP, schedule_id="nightly"): "17x120 0x120",
        of_server(server.SERVICE_REQUESTS, **FRONTEND, **operation): "5000+10x120 0+10x120",
        of_server(server.SERVICE_ERRORS, **FRONTEND, **operation): "4900x120 0x120",
    }
    expected = [Expected(minute, ".+", 0) for minute in range(SETTLED, 240)]
    assert evaluate(programs["promtool"], tmp_path, SPEC, series, expected, but=("shop.",)) == ""
