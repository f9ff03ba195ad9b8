"""Latency SLOs whose threshold is new, or large: nobody is woken by runs that were measured otherwise."""

from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.utils import floatToGoString

from temporal_slo import names
from temporal_slo.check.diagnosis import fulfils
from temporal_slo.promql import bucket_bound

from .promtool import Told, evaluate
from .test_burn import BURNS, HEAD, LATENCY

METRIC = names.WORKFLOW_DURATION.name
RUNS = 'temporal_namespace="shop-prod", workflow_type="Ride", status="completed", outcome="none"'
ALL = {f"{METRIC}_count{{{RUNS}}}": "0+100x600", f'{METRIC}_bucket{{{RUNS}, le="+Inf"}}': "0+100x600"}
SINCE = f'{names.LATENCY_MEASURED_SINCE.sample}{{temporal_namespace="shop-prod", slo="quick"}}'
NEW, OLD = (f'{METRIC}_bucket{{{RUNS}, le="{seconds}"}}' for seconds in ("90", "45"))
GONE = "_x300"
AFTERWARDS = range(301, 600, 7)
QUIET = [Told(minute, BURNS, 0) for minute in AFTERWARDS]

# After 300 minutes the threshold becomes 90 s; the rules are those of 90 s.
ROLLOUTS: dict[str, tuple[dict[str, str], list[Told]]] = {
    "of exporter and rules": ({NEW: f"{GONE} 30000+100x300", SINCE: "0x300 18000x300"}, QUIET),
    "of rules alone": ({OLD: "0+100x600", SINCE: "0x600"}, QUIET),
    "of the exporter before": ({NEW: "0+100x300 _x300", SINCE: "0x300 18000x300"}, QUIET),
    "and then runs are late": (
        {NEW: f"{GONE} 30000+100x140 44000x160", SINCE: "0x300 18000x300"},
        # The window of six hours still has others.
        [*QUIET[:20], Told(600, BURNS, 1, "page")],
    ),
}


@pytest.mark.parametrize("case", ROLLOUTS)
def test_rollout(case: str, programs: dict[str, Path], tmp_path: Path) -> None:
    """While a window has runs that were not measured by the threshold, it tells nothing, and then what is true."""
    series, told = ROLLOUTS[case]
    assert evaluate(programs["promtool"], tmp_path, HEAD + LATENCY, ALL | series, told) == ""


@pytest.mark.parametrize("written", ["1.2096e+06", "1209600", "1209600.0"])
def test_large(written: str, programs: dict[str, Path], tmp_path: Path) -> None:
    """A threshold of weeks finds its bucket, however its number is written."""
    spec = (HEAD + LATENCY).replace("90s", "14d")
    series = {f'{METRIC}_bucket{{{RUNS}, le="{written}"}}': "0+100x300 30000x300"}
    told = [Told(minute, BURNS, 0) for minute in (100, 299)] + [Told(420, BURNS, 2, "page")]
    assert evaluate(programs["promtool"], tmp_path, spec, ALL | series, told) == ""


@given(st.integers(min_value=1, max_value=10**10))
def test_edge(milliseconds: int) -> None:
    """Whatever the threshold is, the edge is found as exporters write it, and no other one."""
    found = bucket_bound(timedelta(milliseconds=milliseconds))
    written, other = (floatToGoString(one / 1000) for one in (milliseconds, milliseconds + 1))  # type: ignore[no-untyped-call] # the library has it untyped
    assert fulfils(found, written)
    assert not fulfils(found, other)
