"""Scrape intervals and retention are compared with what the rules need."""

from datetime import timedelta
from pathlib import Path

import pytest

from temporal_slo.check.prometheus import Target
from temporal_slo.check.scraping import (
    interval_findings,
    longest_window,
    parse_retention,
    retention_findings,
    shortest_window,
)
from temporal_slo.spec.bound import LoadedSpecs
from temporal_slo.spec.load import load

from .system import SPEC

MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)


def specs(tmp_path: Path, text: str = SPEC) -> LoadedSpecs:
    """Load a spec from its text."""
    (tmp_path / "spec.yaml").write_text(text)
    return load([tmp_path])


@pytest.mark.parametrize(
    ("seconds", "found"), [(None, []), (15, []), (30, []), (31, [False]), (75, [False]), (76, [True]), (300, [True])]
)
def test_scrape_intervals(seconds: int | None, found: list[bool]) -> None:
    """More than a quarter of the shortest window is an error; more than 30 seconds is a warning."""
    interval = None if seconds is None else timedelta(seconds=seconds)
    assert [own.error for own in interval_findings([Target("j", "i", interval=interval)], 5 * MINUTE)] == found


def test_shortest_window(tmp_path: Path) -> None:
    """Custom windows of a spec count."""
    assert shortest_window(specs(tmp_path).slos) == 5 * MINUTE
    tier = "windows: [{name: quick, severity: page, long: 10m, short: 1m, budget: 2}]\nslos:"
    assert shortest_window(specs(tmp_path, SPEC.replace("slos:", tier)).slos) == MINUTE


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("15d", 15 * DAY),
        ("2w", 14 * DAY),
        ("1y", 365 * DAY),
        ("1y2w", 379 * DAY),
        ("30d or 10GiB", 30 * DAY),
        ("10GiB", None),
        ("", None),
        (None, None),
        ("0s", None),
    ],
)
def test_parse_retention(text: str | None, span: timedelta | None) -> None:
    """Retention is parsed in every format of Prometheus."""
    assert parse_retention(text) == span


def test_retention(tmp_path: Path) -> None:
    """Less than the period is an error; less than the spec declares, or unknown, is a warning."""
    default = specs(tmp_path)
    assert [own.error for own in retention_findings(default, "29d")] == [True]
    assert [own.error for own in retention_findings(default, "30d")] == []
    assert [own.error for own in retention_findings(default, "10GiB")] == [False]
    assert [own.error for own in retention_findings(default, None)] == [False]
    declared = specs(tmp_path, SPEC.replace("slos:", "prometheus: {retention: 60d}\nslos:"))
    assert [own.error for own in retention_findings(declared, "40d")] == [False]
    assert [own.error for own in retention_findings(declared, "60d")] == []


def test_calendar(tmp_path: Path) -> None:
    """A calendar month needs only the windows of the tiers: its error budget comes from the ledger."""
    calendar = SPEC.replace("period: 30d", "period: {calendar: month, timezone: Africa/Accra}")
    own = calendar[: calendar.index("  - name: ride-activities")]
    assert longest_window(specs(tmp_path, own)[0]) == timedelta(days=3)
