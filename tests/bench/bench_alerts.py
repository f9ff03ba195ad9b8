"""Detection time and false pages of burn-rate alerts: `python -m tests.bench.bench_alerts [months] [outages]`.

Compares the generated rules with the plain multi-window, multi-burn-rate rules of the SRE Workbook, chapter 5, on the
same seeded traffic. The generated alerts may read values recorded one evaluation interval earlier; that delay counts.
"""

import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Final

import numpy as np

from temporal_slo.spec.burn import DEFAULT_TIERS
from temporal_slo.spec.model import LowTraffic

from .alerting import STEP, Bools, Counter, Floats, Rules, anywhere, firing_starts

ERROR_BUDGET: Final = Decimal("0.001")
PERIOD: Final = timedelta(days=30)
DAY: Final = 24 * 3600
WARM: Final = 3 * DAY
"""Seconds before the evaluated range, so that every window is full."""

TEXTBOOK: Final = Rules(
    [tier for tier in DEFAULT_TIERS if tier.name != "ticket-quick"], PERIOD, ERROR_BUDGET, LowTraffic(mode="none")
)
OURS: Final = Rules(DEFAULT_TIERS, PERIOD, ERROR_BUDGET, LowTraffic(mode="confidence"))

EventRate = Callable[[Floats], Floats]
"""Returns the events per hour at each time."""

TRAFFIC: Final[Mapping[str, EventRate]] = {
    "10,000 an hour": lambda now: np.full(len(now), 10_000.0),
    "steady, 600 an hour": lambda now: np.full(len(now), 600.0),
    "night-quiet, 300 by day": lambda now: 152 - 148 * np.cos(2 * np.pi * now / DAY),
    "5 an hour": lambda now: np.full(len(now), 5.0),
}
BUSY: Final = "10,000 an hour"
QUIET: Final = "5 an hour"
DEPTHS: Final = (1.0, 0.5, 0.2, 0.05)
"""Shares of events that fail in an outage."""

DEADLINE: Final = 6 * 3600
"""Seconds after which an outage without a page counts as missed."""


@dataclass(frozen=True)
class FalsePages:
    """Number of false pages."""

    traffic: str
    ours: int
    textbook: int


@dataclass(frozen=True)
class Detection:
    """Seconds from the start of each outage to its page; NaN if missed."""

    traffic: str
    depth: float
    ours: Floats
    textbook: Floats

    @property
    def later(self) -> Floats:
        """Additional delay of our rules in seconds, for outages that both detect."""
        return (self.ours - self.textbook)[~np.isnan(self.ours + self.textbook)]


def counters(random: np.random.Generator, rate: Floats, bad_share: Floats | float) -> tuple[Counter, Counter]:
    """Return the counters of good and bad events of random traffic, scraped every step."""
    events = random.poisson(rate * STEP / 3600)
    bad = random.binomial(events, bad_share)
    times = np.arange(len(events) + 1) * STEP
    good_total, bad_total = (np.concatenate([[0], np.cumsum(each)]).astype(float) for each in (events - bad, bad))
    return Counter(times, good_total), Counter(times, bad_total)


def pages(rules: Rules, good: Counter, bad: Counter, now: Floats) -> Bools:
    """Return the times at which a page fires."""
    tiers = [tier for tier in rules.tiers if tier.severity == "page"]
    paging = Rules(tiers, rules.period, rules.error_budget, rules.guard)
    return anywhere(paging.firing(good, bad, now), tiers, "page")


def noise(traffic: str, months: int) -> FalsePages:
    """Return the pages in months in which failures spend half of the error budget evenly."""
    random, found = np.random.default_rng(7), {"ours": 0, "textbook": 0}
    for _ in range(months):
        times = np.arange((WARM + 30 * DAY) / STEP) * STEP
        good, bad = counters(random, TRAFFIC[traffic](times), float(ERROR_BUDGET) / 2)
        now = times[times >= WARM]
        for name, rules in (("ours", OURS), ("textbook", TEXTBOOK)):
            found[name] += firing_starts(pages(rules, good, bad, now))
    return FalsePages(traffic, found["ours"], found["textbook"])


def outages(traffic: str, depth: float, count: int) -> Detection:
    """Return the detection times of *count* outages."""
    random, ours, textbook = np.random.default_rng(11), list[float](), list[float]()
    for _ in range(count):
        # At a random time of the day, and at a random offset from the scrapes.
        start = WARM + random.uniform(0, DAY)
        times = np.arange((start + DEADLINE + STEP) / STEP) * STEP
        within = np.clip((times + STEP - start) / STEP, 0, 1)
        share = np.clip(float(ERROR_BUDGET) / 2 + within * depth, 0, 1)
        good, bad = counters(random, TRAFFIC[traffic](times), share)
        now = times[times >= start]
        # Our alerts may read values recorded one evaluation interval earlier, the worst case for a rule group.
        ours.append(_first(pages(OURS, good, bad, now), now) + STEP - start)
        textbook.append(_first(pages(TEXTBOOK, good, bad, now), now) - start)
    return Detection(traffic, depth, np.array(ours), np.array(textbook))


def _first(firing: Bools, now: Floats) -> float:
    return float(now[int(np.argmax(firing))]) if firing.any() else float("nan")


def table_of_noise(found: list[FalsePages], months: int) -> Iterator[str]:
    """Yield the lines of a table."""
    yield f"{f'false pages in {months} months':32}{'ours':>8}{'textbook':>10}{'times fewer':>13}"
    for one in found:
        fewer = f"{one.textbook / one.ours:.0f}" if one.ours else f"> {one.textbook}" if one.textbook else "-"
        yield f"{one.traffic:32}{one.ours:8}{one.textbook:10}{fewer:>13}"


def table_of_outages(found: list[Detection]) -> Iterator[str]:
    """Yield the lines of a table."""
    yield f"{'seconds until the page':32}{'depth':>6}{'ours':>8}{'textbook':>10}{'later, most':>13}{'missed':>10}"
    for one in found:
        middle = (np.nanmedian(times) if not np.isnan(times).all() else np.nan for times in (one.ours, one.textbook))
        medians = "".join(f"{value:{width}.0f}" for value, width in zip(middle, (8, 10), strict=True))
        latest = f"{one.later.max():13.0f}" if len(one.later) else f"{'-':>13}"
        missed = f"{np.isnan(one.ours).sum()} / {np.isnan(one.textbook).sum()}"
        yield f"{one.traffic:32}{one.depth:6.0%}{medians}{latest}{missed:>10}"


def main(months: int, count: int) -> None:
    """Print both tables."""
    found = [outages(traffic, depth, count) for traffic in TRAFFIC for depth in DEPTHS]
    print(*table_of_outages(found), "", sep="\n", flush=True)
    print(*table_of_noise([noise(traffic, months) for traffic in TRAFFIC], months), sep="\n")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:] + ["200", "40"][len(sys.argv) - 1 :]))
