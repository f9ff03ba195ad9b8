"""Alerts on causes: how soon they fire, and what they don't mistake for trouble."""

import re
from pathlib import Path

import pytest

from temporal_slo import names
from temporal_slo.generate.cause_alerts import CAUSES
from temporal_slo.names import server

from .promtool import Told, evaluate
from .test_burn import SPEC
from .test_causes import FIRES, FRONTEND, RIDE, of_server, one

TROUBLE = 61
"""The minute in which the trouble of the cases begins."""
MINUTES = {
    "TemporalSloExporterStale": 6,
    "TemporalSloSourceStale": 15 + 5,
    "TemporalSloIngestionLag": 15,
    "TemporalSloAuditDrift": 40,
    "TemporalSloUnknownOutcomes": 20 + 15,
    "TemporalSloScheduleOverdue": 1,
    "TemporalSloScheduleMissed": 0,
    "TemporalSloServerErrors": 14,
    "TemporalSloPersistenceSlow": 10,
    "TemporalSloVisibilityLag": 10,
}
"""After how many each fires, where that is not the five of all others."""
PARTS = re.compile(r"(-?\d+)(\+\d+)?x\d+")
OF_ONE = 5
"""The first minute in which no series is younger than a scrape or two."""


@pytest.mark.parametrize("name", FIRES)
def test_cause(name: str, programs: dict[str, Path], tmp_path: Path) -> None:
    """It is quiet while all is well, fires as soon as is stated and not a minute before, and ends."""
    minute = TROUBLE + MINUTES.get(name, 5)
    told = [Told(59, name, 0), Told(minute - 1, name, 0), Told(minute, name, 1), Told(119, name, 1), Told(239, name, 0)]
    assert evaluate(programs["promtool"], tmp_path, SPEC, FIRES[name], told, but=("shop.",)) == ""


def replicated(series: dict[str, str], instance: str) -> dict[str, str]:
    """The same, told by one of several exporters."""
    return {f'{one[:-1]}, instance="{instance}"}}': values for one, values in series.items() if one.endswith("}")}


@pytest.mark.parametrize("name", [cause.name for cause in CAUSES if cause.name != "TemporalSloSpecNotReloaded"])
def test_replicas(name: str, programs: dict[str, Path], tmp_path: Path) -> None:
    """Three exporters that see the same trouble ring once."""
    series = {key: value for instance in "abc" for key, value in replicated(FIRES[name], instance).items()}
    told = [Told(59, name, 0), Told(119, name, 1), Told(239, name, 0)]
    assert evaluate(programs["promtool"], tmp_path, SPEC, series, told, but=("shop.",)) == ""


def well(values: str, gap: int) -> str:
    """What a series would be, were all well all the while, with a gap of as many minutes after the first hour."""
    found = PARTS.match(values)
    assert found
    start, step = int(found[1]), int(found[2] or 0)
    return f"{start}+{step}x59 _x{gap} {start + (60 + gap) * step}+{step}x120"


@pytest.mark.parametrize("gap", [1, 3])
def test_restart(gap: int, programs: dict[str, Path], tmp_path: Path) -> None:
    """While all is well none fires, nor when all exporters and the server are away for moments."""
    series = {key: well(values, gap) for case in FIRES.values() for key, values in case.items()}
    told = [Told(minute, ".+", 0) for minute in range(OF_ONE, 180)]
    assert evaluate(programs["promtool"], tmp_path, SPEC, series, told, but=("shop.",)) == ""


def test_counters_begin_anew(programs: dict[str, Path], tmp_path: Path) -> None:
    """A counter that falls to 0 has not risen."""
    operation = {"operation": "StartWorkflowExecution"}
    series = {
        one(names.EXPORTER_UP): "1x240",
        one(names.WORKFLOWS_CLOSED, **RIDE, status="completed", outcome="unknown"): "31x120 0x120",
        one(names.WORKFLOWS_CLOSED, **RIDE, status="completed", outcome="good"): "9000+3x120 0+3x120",
        one(names.SCHEDULE_MISSED_CATCHUP, schedule_id="nightly"): "17x120 0x120",
        of_server(server.SERVICE_REQUESTS, **FRONTEND, **operation): "5000+10x120 0+10x120",
        of_server(server.SERVICE_ERRORS, **FRONTEND, **operation): "4900x120 0x120",
    }
    told = [Told(minute, ".+", 0) for minute in range(OF_ONE, 240)]
    assert evaluate(programs["promtool"], tmp_path, SPEC, series, told, but=("shop.",)) == ""
