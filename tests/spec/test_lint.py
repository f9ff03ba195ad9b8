"""Specs that are valid but do not work."""

import re
from datetime import timedelta
from fractions import Fraction
from pathlib import Path

import pytest

from temporal_slo.interceptor import _runtime
from temporal_slo.spec.load import SpecError, load, read
from temporal_slo.spec.slis import SCHEDULE_TO_START_BUCKETS

SPECS = Path(__file__).parents[1] / "specs"
WARNED = sorted((SPECS / "warned").glob("*.yaml"))

HEADER = "version: temporal-slo/v1\nservice: shop\ntemporal_namespace: shop-test\nowner: shop-team\n"


def written(
    folder: Path, objective: str, rest: str, period: str = "30d", kind: str = "latency: {threshold: 2m}"
) -> Path:
    """Write a spec of one SLO into *folder*."""
    path = folder / "x.yaml"
    slo = f"slos:\n- name: ride\n  workflow: Ride\n  objective: {objective}\n  sli: {{{kind}}}\n{rest}"
    path.write_text(f"{HEADER}period: {period}\n{slo}")
    return path


@pytest.mark.parametrize("path", WARNED, ids=[path.stem for path in WARNED])
def test_warning(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each questionable spec is loaded with exactly the expected warnings."""
    monkeypatch.chdir(path.parent)
    found = read([Path(path.name)])
    assert found.problems == ()
    assert list(found.warnings) == path.with_suffix(".txt").read_text().splitlines()
    assert len(load([path])) == 1


def test_warnings_are_complete() -> None:
    """Each file has expected warnings, each with a remedy, and no two files have the same."""
    expected = {path.stem: path.with_suffix(".txt").read_text() for path in WARNED}
    assert len(expected) == len(set(expected.values())) >= 10
    assert {path.stem for path in (SPECS / "warned").glob("*.txt")} == set(expected)
    for line in "".join(expected.values()).splitlines():
        assert re.fullmatch(r"[\w-]+\.yaml:\d+: warning: [^;]+; (write|lower|give) .+", line), line


def test_good_has_no_warnings() -> None:
    """Good specs have no warnings."""
    assert read([SPECS / "good"]).warnings == ()


@pytest.mark.parametrize(
    ("rate", "problems", "warnings"),
    [("99/d", 0, 1), ("100/d", 0, 0), ("500/d", 0, 0), ("501/d", 0, 0), ("19.9/d", 1, 0), ("20/d", 0, 1)],
)
def test_budget_limits(tmp_path: Path, rate: str, problems: int, warnings: int) -> None:
    """An error budget of less than one event is an error, of less than five a warning."""
    # 0.5 % of 10 days: a budget of one event is 20 a day, of five 100 a day.
    found = read(
        [written(tmp_path, "99.5", f"  expected_rate: {rate}\n  alerting: {{page: false, ticket: false}}\n", "10d")]
    )
    assert (len(found.problems), len(found.warnings)) == (problems, warnings)


def test_tier_limit(tmp_path: Path) -> None:
    """A tier whose threshold is 100 % bad events can never fire; one just below can."""
    # 25 % of 30 days in 3 days: 2.5 times, and 40 % of events may be bad.
    windows = "windows: [{name: own, severity: page, long: 3d, short: 1h, budget: 25}]\n"
    for objective, fires in {"60": False, "60.000000001": True}.items():
        path = written(tmp_path, objective, "")
        path.write_text(path.read_text().replace("slos:", f"{windows}slos:"))
        assert bool(read([path]).problems) is not fires, objective


@pytest.mark.parametrize(
    ("objective", "alerting", "problems", "warnings"),
    [
        ("94", "{}", 0, 0),
        ("93", "{}", 0, 1),  # page-slow still pages
        ("93", "{tiers: {page-quick: {enabled: false}}}", 0, 0),
        ("93", "{page: false}", 0, 0),
        ("93", "{tiers: {page-slow: {enabled: false}}}", 1, 0),  # nothing does
        ("80", "{}", 2, 0),
        ("50", "{}", 2, 1),  # ticket-slow is left of the tickets
    ],
)
def test_unreachable_tiers(tmp_path: Path, objective: str, alerting: str, problems: int, warnings: int) -> None:
    """A tier that can never fire is an error if no tier of its severity can, else a warning."""
    found = read([written(tmp_path, objective, f"  alerting: {alerting}\n")])
    assert (len(found.problems), len(found.warnings)) == (problems, warnings)


def test_retention_limit(tmp_path: Path) -> None:
    """The retention must cover a rolling period; for a calendar month, only the long windows."""
    for period, retention, enough in [
        ("30d", "30d", True),
        ("30d", "29d23h", False),
        ("{calendar: month, timezone: UTC}", "3d", True),
        ("{calendar: month, timezone: UTC}", "71h", False),
    ]:
        path = written(tmp_path, "99", "", period)
        path.write_text(f"prometheus: {{retention: {retention}}}\n{path.read_text()}")
        assert bool(read([path]).problems) is not enough, (period, retention)


def test_schedule_to_start_buckets(tmp_path: Path) -> None:
    """Thresholds of schedule-to-start SLIs are bucket bounds of the worker library, and nothing else."""
    bounds = [bound / timedelta(seconds=1) for bound in SCHEDULE_TO_START_BUCKETS]
    assert bounds == list(_runtime.SCHEDULE_TO_START_BUCKETS)
    for threshold, measured in {"900s": True, "15m": True, "500ms": True, "501ms": False, "16m": False}.items():
        path = written(tmp_path, "99", "", kind=f"schedule_to_start: {{threshold: {threshold}}}")
        assert bool(read([path]).problems) is not measured, threshold


def test_smallest_rate(tmp_path: Path) -> None:
    """The smallest possible rate is rejected for its error budget alone."""
    (found,) = read([written(tmp_path, "99", "  expected_rate: 0.000000001/d\n")]).problems
    assert ": slos[0].objective: allows only 0.0000000003 bad events out of 0.00000003 expected in 30d" in found


def test_lints_are_not_hidden(tmp_path: Path) -> None:
    """Lints are reported together with invalid values, and load rejects both."""
    path = written(tmp_path, "80", "  alerting: {tiers: {page-slow: {enabled: false}}}\n")
    path.write_text(path.read_text().replace("owner: shop-team\n", ""))
    first, second = read([path]).problems
    assert "owner: is missing" in first
    assert "page-quick can never fire" in second
    with pytest.raises(SpecError, match="can never fire"):
        load([path])
    path.write_text(f"owner: shop-team\n{path.read_text()}")
    (left,) = read([path]).problems
    assert "page-quick can never fire" in left
    assert read([path]).specs == ()


def test_numbers_are_short(tmp_path: Path) -> None:
    """No warning has a number with more than three decimal places or an exponent."""
    rates = [Fraction(n, 7) for n in range(1, 400, 13)]
    for rate in rates:
        path = written(tmp_path, "99.7", f"  expected_rate: {float(rate):.9f}/h\n", "7d")
        assert read([path]).warnings
        for line in (*read([path]).problems, *read([path]).warnings):
            assert not re.search(r"\d\.\d{4}|[eE][+-]\d", line.partition(": slos")[2]), line
