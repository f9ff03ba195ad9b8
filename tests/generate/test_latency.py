"""Latency SLOs with a changed or large threshold: runs measured with another threshold fire no alert."""

from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.utils import floatToGoString

from temporal_slo import names
from temporal_slo.check.no_data_causes import matches
from temporal_slo.promql import bucket_bound

from .promtool import Expected, evaluate
from .test_burn import BURNS, HEAD, LATENCY

METRIC = names.WORKFLOW_DURATION.name
RUNS = 'temporal_namespace="shop-prod", workflow_type="Ride", status="completed", outcome="none"'
ALL = {f"{METRIC}_count{{{RUNS}}}": "0+100x600", f'{METRIC}_bucket{{{RUNS}, le="+Inf"}}': "0+100x600"}
SINCE = f'{names.LATENCY_MEASURED_SINCE.sample}{{temporal_namespace="shop-prod", slo="quick"}}'
NEW, OLD = (f'{METRIC}_bucket{{{RUNS}, le="{seconds}"}}' for seconds in ("90", "45"))
GONE = "_x300"
AFTERWARDS = range(301, 600, 7)
QUIET = [Expected(minute, BURNS, 0) for minute in AFTERWARDS]

# After 300 minutes the threshold becomes 90 s; the rules are those of 90 s.
ROLLOUTS: dict[str, tuple[dict[str, str], list[Expected]]] = {
    "of exporter and rules": ({NEW: f"{GONE} 30000+100x300", SINCE: "0x300 18000x300"}, QUIET),
    "of rules alone": ({OLD: "0+100x600", SINCE: "0x600"}, QUIET),
    "of the exporter before": ({NEW: "0+100x300 _x300", SINCE: "0x300 18000x300"}, QUIET),
    "and then runs are late": (
        {NEW: f"{GONE} 30000+100x140 44000x160", SINCE: "0x300 18000x300"},
        # The window of six hours still has others.
        [*QUIET[:20], Expected(600, BURNS, 1, "page")],
    ),
}


@pytest.mark.parametrize("case", ROLLOUTS)
def test_rollout(case: str, programs: dict[str, Path], tmp_path: Path) -> None:
    """A window with runs measured with another threshold has no result; alerts fire again after it."""
    series, expected = ROLLOUTS[case]
    assert evaluate(programs["promtool"], tmp_path, HEAD + LATENCY, ALL | series, expected) == ""


@pytest.mark.parametrize("written", ["1.2096e+06", "1209600", "1209600.0"])
def test_large(written: str, programs: dict[str, Path], tmp_path: Path) -> None:
    """A threshold of weeks matches its bucket, in any number format."""
    spec = (HEAD + LATENCY).replace("90s", "14d")
    series = {f'{METRIC}_bucket{{{RUNS}, le="{written}"}}': "0+100x300 30000x300"}
    expected = [Expected(minute, BURNS, 0) for minute in (100, 299)] + [Expected(420, BURNS, 2, "page")]
    assert evaluate(programs["promtool"], tmp_path, spec, ALL | series, expected) == ""


@given(st.integers(min_value=1, max_value=10**10))
def test_edge(milliseconds: int) -> None:
    """For any threshold, the bucket bound is matched as exporters format it, and no other."""
    found = bucket_bound(timedelta(milliseconds=milliseconds))
    written, other = (floatToGoString(one / 1000) for one in (milliseconds, milliseconds + 1))  # type: ignore[no-untyped-call] # the library has it untyped
    assert matches(found, written)
    assert not matches(found, other)
