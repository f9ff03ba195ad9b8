"""Scrape intervals and retention, held against the rules."""

from datetime import timedelta
from pathlib import Path

import pytest

from temporal_slo.check.prometheus import Target
from temporal_slo.check.scraping import kept, needed, retention, scrapes, shortest
from temporal_slo.spec.bound import LoadedSpecs
from temporal_slo.spec.load import load

from .system import SPEC

MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)


def specs(tmp_path: Path, text: str = SPEC) -> LoadedSpecs:
    """A spec that is read from its text."""
    (tmp_path / "spec.yaml").write_text(text)
    return load([tmp_path])


@pytest.mark.parametrize(
    ("seconds", "found"), [(None, []), (15, []), (30, []), (31, [False]), (75, [False]), (76, [True]), (300, [True])]
)
def test_scrapes(seconds: int | None, found: list[bool]) -> None:
    """A quarter of the shortest window at most; above 30 seconds is told, but no fault."""
    interval = None if seconds is None else timedelta(seconds=seconds)
    assert [own.fault for own in scrapes([Target("j", "i", interval=interval)], 5 * MINUTE)] == found


def test_shortest(tmp_path: Path) -> None:
    """Windows of the spec's own count."""
    assert shortest(specs(tmp_path).slos) == 5 * MINUTE
    tier = "windows: [{name: quick, severity: page, long: 10m, short: 1m, budget: 2}]\nslos:"
    assert shortest(specs(tmp_path, SPEC.replace("slos:", tier)).slos) == MINUTE


@pytest.mark.parametrize(
    ("told", "span"),
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
def test_kept(told: str | None, span: timedelta | None) -> None:
    """Retention is read as Prometheus writes it."""
    assert kept(told) == span


def test_retention(tmp_path: Path) -> None:
    """Less than the period is a fault; less than the spec says, or unknown, is told."""
    plain = specs(tmp_path)
    assert [own.fault for own in retention(plain, "29d")] == [True]
    assert [own.fault for own in retention(plain, "30d")] == []
    assert [own.fault for own in retention(plain, "10GiB")] == [False]
    assert [own.fault for own in retention(plain, None)] == [False]
    promised = specs(tmp_path, SPEC.replace("slos:", "prometheus: {retention: 60d}\nslos:"))
    assert [own.fault for own in retention(promised, "40d")] == [False]
    assert [own.fault for own in retention(promised, "60d")] == []


def test_calendar(tmp_path: Path) -> None:
    """A calendar month is kept by the ledger: only the windows of the tiers count."""
    calendar = SPEC.replace("period: 30d", "period: {calendar: month, timezone: Africa/Accra}")
    own = calendar[: calendar.index("  - name: ride-activities")]
    assert needed(specs(tmp_path, own)[0]) == timedelta(days=3)
