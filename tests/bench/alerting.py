"""Evaluates burn-rate alerts like Prometheus, over months of counters at once."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from statistics import NormalDist
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from temporal_slo.generate.burn_alerts import EXTRAPOLATION_ERROR, conclusive_failures
from temporal_slo.spec.burn import EVALUATION_INTERVAL, burn_rate_threshold
from temporal_slo.spec.model import LowTraffic, Period, Tier

Floats = npt.NDArray[np.floating[Any]]
Bools = npt.NDArray[np.bool_]
Indexes = npt.NDArray[np.int64]

STEP: Final = EVALUATION_INTERVAL / timedelta(seconds=1)


@dataclass(frozen=True)
class Counter:
    """Scraped samples of a counter.

    Attributes:
        times: Times of the scrapes in seconds, ascending.
        values: Value of each scrape; a decrease is a counter reset.
    """

    times: Floats
    values: Floats

    def rate(self, now: Floats, window: timedelta) -> Floats:
        """Return `rate(counter[window])` at each time in *now*; NaN where Prometheus has no value.

        Like Prometheus 2: the increase between the first and the last sample of the window, extrapolated to its bounds
        if they are near, but not beyond the zero of the counter (promql/functions.go, extrapolatedRate).
        """
        span = window / timedelta(seconds=1)
        first = np.searchsorted(self.times, now - span, side="left")
        last = np.searchsorted(self.times, now, side="right") - 1
        known = last > first
        first, last = np.where(known, first, 0), np.where(known, last, min(1, len(self.times) - 1))
        rates = self._increase(first, last, now - span, now) / span
        return np.where(known, rates, np.nan)

    def _increase(self, first: Indexes, last: Indexes, begin: Floats, end: Floats) -> Floats:
        climbed = np.concatenate([[0.0], np.cumsum(_steps(self.values))])
        increase = climbed[last] - climbed[first]
        sampled = self.times[last] - self.times[first]
        between = sampled / np.maximum(last - first, 1)
        before, after = self.times[first] - begin, end - self.times[last]
        with np.errstate(divide="ignore", invalid="ignore"):
            to_zero = np.where(increase > 0, sampled * self.values[first] / increase, np.inf)
            before = np.minimum(before, to_zero)
            near = 1.1 * between
            whole = sampled + np.where(before < near, before, between / 2) + np.where(after < near, after, between / 2)
            return np.asarray(increase * whole / sampled)


def _steps(values: Floats) -> Floats:
    step = np.diff(values)
    return np.where(step < 0, values[1:], step)


@dataclass(frozen=True)
class Rates:
    """Recorded rates of events and errors over one window."""

    events: Floats
    errors: Floats

    @classmethod
    def of(cls, good: Counter, bad: Counter, now: Floats, window: timedelta) -> "Rates":
        """Return the rates of two counters, either of which may have no value."""
        parts = [counter.rate(now, window) for counter in (good, bad)]
        events = np.where(np.isnan(parts[0]) & np.isnan(parts[1]), np.nan, np.nansum(parts, axis=0))
        return cls(events, events - np.nan_to_num(parts[0]))

    @property
    def ratio(self) -> Floats:
        """Error ratio; NaN where there were no events."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(self.events > 0, self.errors / self.events, np.nan)


@dataclass(frozen=True)
class Rules:
    """Burn-rate alert tiers of an SLO with its low-traffic guard; the textbook has no guard."""

    tiers: Sequence[Tier]
    period: Period
    error_budget: Decimal
    guard: LowTraffic

    def firing(self, good: Counter, bad: Counter, now: Floats) -> dict[str, Bools]:
        """Return for each tier at which times in *now* it fires."""
        windows = {window for tier in self.tiers for window in (tier.long, tier.short)}
        rates = {window: Rates.of(good, bad, now, window) for window in windows}
        return {tier.name: self._fires(tier, rates[tier.long], rates[tier.short]) for tier in self.tiers}

    def _fires(self, tier: Tier, long: Rates, short: Rates) -> Bools:
        threshold = float(burn_rate_threshold(tier, self.period) * self.error_budget)
        with np.errstate(invalid="ignore"):
            burns = (short.ratio > threshold) & (long.ratio > threshold)
            return np.asarray(burns & self._conclusive(tier, long, threshold))

    def _conclusive(self, tier: Tier, long: Rates, threshold: float) -> Bools:
        seconds = tier.long / timedelta(seconds=1)
        errors, events = long.errors * seconds, long.events * seconds
        everywhere = np.ones(len(errors), dtype=bool)
        if self.guard.mode == "none":
            return everywhere
        some = errors >= self.guard.min_failures - float(EXTRAPOLATION_ERROR)
        if self.guard.mode == "min_failures":
            return some
        enough = conclusive_failures(burn_rate_threshold(tier, self.period))
        many = errors >= enough - float(EXTRAPOLATION_ERROR) if enough else ~everywhere
        z = round(NormalDist().inv_cdf(float(self.guard.confidence)), 4)
        with np.errstate(divide="ignore", invalid="ignore"):
            lower_bound = errors * (1 - 1 / (9 * errors) - z / (3 * np.sqrt(errors))) ** 3
        return np.asarray(some & (many | (lower_bound > threshold * events)))


def anywhere(firing: dict[str, Bools], tiers: Iterable[Tier], severity: str) -> Bools:
    """Return the times at which any tier of *severity* fires."""
    return np.asarray(np.any([firing[tier.name] for tier in tiers if tier.severity == severity], axis=0))


def firing_starts(firing: Bools) -> int:
    """Return how often the alert started firing."""
    return int(np.count_nonzero(firing[1:] & ~firing[:-1]) + firing[0])
