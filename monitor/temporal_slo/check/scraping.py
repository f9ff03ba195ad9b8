"""Checks whether scrape intervals and retention suffice for the rules of the specs; pure."""

import re
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Final, NamedTuple

from temporal_slo.check.prometheus import Target
from temporal_slo.durations import parse_duration
from temporal_slo.generate.recording_rules import windows
from temporal_slo.spec.bound import BoundSlo
from temporal_slo.spec.burn import tiers_of
from temporal_slo.spec.formatting import duration_text
from temporal_slo.spec.model import Calendar, Spec

SCRAPES_PER_WINDOW: Final = 4
"""Minimum of scrapes in the shortest window: a rate needs two samples, and scrapes can fail."""

RECOMMENDED_INTERVAL: Final = timedelta(seconds=30)
"""Longer intervals work, but delay alerts."""

YEAR: Final = timedelta(days=365)


class Finding(NamedTuple):
    """Something that has to be corrected, or that could not be verified.

    Attributes:
        error: Whether rules do not work because of it; otherwise it is a warning.
        what: What was found.
        remedy: How to fix it.
    """

    error: bool
    what: str
    remedy: str


def shortest_window(slos: Sequence[BoundSlo]) -> timedelta:
    """Return the shortest range in any rule."""
    return min(windows(slo)[0] for slo in slos)


def interval_findings(targets: Sequence[Target], window: timedelta) -> Iterator[Finding]:
    """Yield the scrape intervals of *targets* that are too long for rates over *window*."""
    for target in targets:
        if not target.interval:
            continue
        every = f"job {target.job!r}, instance {target.instance!r} is scraped every {duration_text(target.interval)}"
        if target.interval * SCRAPES_PER_WINDOW > window:
            limit = duration_text(window / SCRAPES_PER_WINDOW)
            what = f"{every}: too long for windows of {duration_text(window)}"
            yield Finding(error=True, what=what, remedy=f"set scrape_interval to {limit} or less")
        elif target.interval > RECOMMENDED_INTERVAL:
            remedy = f"set scrape_interval to {duration_text(RECOMMENDED_INTERVAL)}"
            yield Finding(error=False, what=f"{every}: this delays alerts", remedy=remedy)


def parse_retention(text: str | None) -> timedelta | None:
    """Return the time in a retention as Prometheus writes it, such as `15d or 10GiB`; None if it has no time."""
    for part in (text or "").split(" or "):
        years = re.fullmatch(r"(?:(\d+)y)?(.*)", part)
        try:
            rest = parse_duration(years[2]) if years and years[2] else timedelta()
        except ValueError:
            continue
        if span := rest + YEAR * int((years and years[1]) or 0):
            return span
    return None


def retention_findings(specs: Sequence[Spec], retention: str | None) -> Iterator[Finding]:
    """Yield where samples are not kept long enough.

    Args:
        specs: Specs of the rules.
        retention: As Prometheus reports it; None if it is unknown.
    """
    actual = parse_retention(retention)
    if actual is None:
        known = f"limited by size only ({retention})" if retention else "unknown"
        what = f"retention of Prometheus is {known}; the rules need {duration_text(max(map(longest_window, specs)))}"
        yield Finding(error=False, what=what, remedy="ensure that samples are kept that long")
        return
    for spec in specs:
        needed, declared = longest_window(spec), spec.prometheus.retention
        if actual < needed:
            what = f"retention of Prometheus is {retention}, but rules of {spec.service} need {duration_text(needed)}"
            yield Finding(error=True, what=what, remedy="increase --storage.tsdb.retention.time")
        elif declared and actual < declared:
            what = f"retention of Prometheus is {retention}, but the spec of {spec.service} declares "
            remedy = "correct prometheus.retention in the spec, or increase --storage.tsdb.retention.time"
            yield Finding(error=False, what=what + duration_text(declared), remedy=remedy)


def longest_window(spec: Spec) -> timedelta:
    """Return the longest range in the rules of *spec*."""
    longest = (tier.long for slo in spec.slos for tier in tiers_of(spec, slo))
    # The error budget of a calendar month is computed from the ledger, without a range of that length.
    return max((*longest, *(() if isinstance(spec.period, Calendar) else (spec.period,))), default=timedelta())
