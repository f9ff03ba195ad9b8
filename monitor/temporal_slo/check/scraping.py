"""Whether scrapes come often enough, and samples are kept long enough, for the rules of the specs; pure."""

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

SAMPLES: Final = 4
"""Scrapes in the shortest window at least: a rate needs two, and may lose some."""

USUAL: Final = timedelta(seconds=30)
"""Longer intervals work, but alerts come later than they could."""

YEAR: Final = timedelta(days=365)


class Finding(NamedTuple):
    """What is not as it should be.

    Attributes:
        fault: Whether rules do not work because of it.
        what: What was found.
        remedy: What to do about it.
    """

    fault: bool
    what: str
    remedy: str


def shortest(slos: Sequence[BoundSlo]) -> timedelta:
    """Return the shortest window that any rule looks at."""
    return min(windows(slo)[0] for slo in slos)


def scrapes(targets: Sequence[Target], window: timedelta) -> Iterator[Finding]:
    """Yield what is wrong with the intervals in which *targets* are scraped."""
    for target in targets:
        if not target.interval:
            continue
        every = f"job {target.job!r}, instance {target.instance!r}, is scraped every {duration_text(target.interval)}"
        if target.interval * SAMPLES > window:
            limit = duration_text(window / SAMPLES)
            what = f"{every}: too seldom for windows of {duration_text(window)}"
            yield Finding(fault=True, what=what, remedy=f"scrape it every {limit} or more often")
        elif target.interval > USUAL:
            what = f"{every}: alerts come later than they could"
            yield Finding(fault=False, what=what, remedy=f"scrape it every {duration_text(USUAL)}")


def kept(told: str | None) -> timedelta | None:
    """Return the time in a retention as Prometheus tells it, such as `15d or 10GiB`; None if it tells of none."""
    for part in (told or "").split(" or "):
        years = re.fullmatch(r"(?:(\d+)y)?(.*)", part)
        try:
            rest = parse_duration(years[2]) if years and years[2] else timedelta()
        except ValueError:
            continue
        if span := rest + YEAR * int((years and years[1]) or 0):
            return span
    return None


def retention(specs: Sequence[Spec], told: str | None) -> Iterator[Finding]:
    """Yield what is wrong with how long samples are kept.

    Args:
        specs: What is promised.
        told: What Prometheus says; None if it says nothing.
    """
    there = kept(told)
    if there is None:
        known = f"by size only: {told}" if told else "not told"
        what = f"how long samples are kept is {known}; the rules look back for {duration_text(max(map(needed, specs)))}"
        yield Finding(fault=False, what=what, remedy="see to it that they are kept as long")
        return
    for spec in specs:
        wanted, promised = needed(spec), spec.prometheus.retention
        if there < wanted:
            what = f"samples are kept for {told}, but rules of {spec.service} look back for {duration_text(wanted)}"
            yield Finding(fault=True, what=what, remedy="set --storage.tsdb.retention.time of Prometheus")
        elif promised and there < promised:
            what = f"samples are kept for {told}, but the spec of {spec.service} says {duration_text(promised)}"
            yield Finding(
                fault=False, what=what, remedy="correct prometheus.retention of the spec, or keep them longer"
            )


def needed(spec: Spec) -> timedelta:
    """Return how far back the rules of *spec* look."""
    longest = (tier.long for slo in spec.slos for tier in tiers_of(spec, slo))
    return max((*longest, *(() if isinstance(spec.period, Calendar) else (spec.period,))), default=timedelta())
