"""Queries Prometheus for variants of a selector without data, to find out what excludes its series."""

import asyncio
from collections.abc import Sequence
from typing import Final

from temporal_slo import names
from temporal_slo.check.expected_series import WORKER, exposed_by, misnamed_pattern
from temporal_slo.check.no_data_causes import Evidence, UnmetMatcher, base_name, by_likelihood, matches
from temporal_slo.check.prometheus import PrometheusClient, Row, Target
from temporal_slo.check.selectors import Selector
from temporal_slo.promql import Matcher

WINDOWS: Final = ("1h", "1d")
"""Windows in which a stale series is searched for."""

VALUES_MAX: Final = 200
KUBERNETES_NAMESPACE: Final = "namespace"
"""Label that scrapes in Kubernetes set, and to which some configurations rename ours."""

SERIES_MAX: Final = 50
"""Maximum number of series that are searched for a renamed label."""


async def has_data(prometheus: PrometheusClient, selector: Selector) -> bool:
    """Return whether *selector* matches any series; the result is cached.

    Raises:
        PrometheusError: The request failed.
    """
    return bool(await prometheus.query(_count(selector)))


async def has_data_now(prometheus: PrometheusClient, selector: Selector) -> bool:
    """Return whether *selector* matches any series, from a new request.

    Raises:
        PrometheusError: The request failed.
    """
    prometheus.forget(_count(selector))
    return await has_data(prometheus, selector)


def _count(selector: Selector) -> str:
    return f"count({selector})"


async def gather(prometheus: PrometheusClient, selector: Selector, targets: Sequence[Target] | None) -> Evidence:
    """Return the evidence on *selector*, which has no data.

    Args:
        prometheus: Prometheus to query.
        selector: The selector.
        targets: Scrape targets; None if unknown.

    Raises:
        PrometheusError: A request failed.
    """
    exists = await has_data(prometheus, Selector(selector.metric))
    similar = () if exists else await _similar_metrics(prometheus, selector.metric)
    last_seen, scraped_from = await _last_seen(prometheus, selector, targets)
    unmet = await _unmet_matchers(prometheus, selector) if exists else ()
    misnamed = await _misnamed(prometheus, selector)
    return Evidence(selector, exists, similar, last_seen, scraped_from, unmet, misnamed)


async def _similar_metrics(prometheus: PrometheusClient, metric: str) -> tuple[str, ...]:
    pattern = f"{base_name(metric)}(_(total|bucket|count|sum|seconds|milliseconds|ms))*"
    return tuple(name for name in await prometheus.names(pattern) if name != metric)


async def _misnamed(prometheus: PrometheusClient, selector: Selector) -> tuple[str, ...]:
    """Return metrics of workers in the same namespace that have other suffixes than the rules use."""
    if exposed_by(selector.metric) != WORKER or selector.metric == names.WORKER_INFO.sample:
        return ()
    namespace = tuple(matcher for matcher in selector.matchers if matcher.label == names.NAMESPACE)
    return await prometheus.names(misnamed_pattern(selector.metric), *namespace)


async def _last_seen(
    prometheus: PrometheusClient, selector: Selector, targets: Sequence[Target] | None
) -> tuple[str, tuple[Target, ...]]:
    """Return the shortest window in which *selector* matched, and the targets of its series."""
    for window in WINDOWS:
        rows = await prometheus.query(f"count by (job, instance) (count_over_time({selector}[{window}]))")
        if rows:
            return window, tuple(_current_target(row, targets) for row in rows)
    return "", ()


def _current_target(row: Row, targets: Sequence[Target] | None) -> Target:
    job, instance = row.labels.get("job", ""), row.labels.get("instance", "")
    if targets is None:
        return Target(job, instance)
    current = (target for target in targets if (target.job, target.instance) == (job, instance))
    return next(current, Target(job, instance, up=False, error="no longer scraped"))


async def _unmet_matchers(prometheus: PrometheusClient, selector: Selector) -> tuple[UnmetMatcher, ...]:
    """Return the matchers without each of which *selector* matches; if there are none, those that nothing satisfies."""
    own = selector.matchers
    restored = await asyncio.gather(*(has_data(prometheus, selector.without(matcher)) for matcher in own))
    excluding = [matcher for matcher, restores in zip(own, restored, strict=True) if restores]
    if excluding:
        return tuple([await _unmet(prometheus, selector.without(matcher), matcher) for matcher in excluding])
    bare = Selector(selector.metric)
    satisfied = await asyncio.gather(*(has_data(prometheus, bare.with_matchers(matcher)) for matcher in own))
    unmet = [matcher for matcher, met in zip(own, satisfied, strict=True) if not met]
    if unmet:
        return tuple([await _unmet(prometheus, bare, matcher) for matcher in by_likelihood(unmet)])
    return await _first_excluding(prometheus, bare, own)


async def _first_excluding(
    prometheus: PrometheusClient, bare: Selector, own: Sequence[Matcher]
) -> tuple[UnmetMatcher, ...]:
    """Return the first matcher that leaves no series when *own* are added one by one."""
    for matcher in by_likelihood(own):
        narrowed = bare.with_matchers(matcher)
        if not await has_data(prometheus, narrowed):
            return (await _unmet(prometheus, bare, matcher),)
        bare = narrowed
    return ()


async def _unmet(prometheus: PrometheusClient, others: Selector, matcher: Matcher) -> UnmetMatcher:
    """Return *matcher* with the values of its label among the series that *others* selects."""
    rows = await prometheus.query(f"topk({VALUES_MAX}, count by ({matcher.label}) ({others}))")
    values = tuple(sorted(row.labels.get(matcher.label, "") for row in rows))
    return UnmetMatcher(matcher, values, await _held_by(prometheus, others, matcher))


async def _held_by(prometheus: PrometheusClient, others: Selector, matcher: Matcher) -> tuple[str, ...]:
    if matcher.operator.startswith("!"):
        # Every other label satisfies a negative matcher: no evidence of a renamed label.
        return ()
    exported = Matcher(f"exported_{matcher.label}", matcher.operator, matcher.value)
    first = (exported.label,) if await has_data(prometheus, others.with_matchers(exported)) else ()
    rows = await prometheus.query(f"topk({SERIES_MAX}, {others})")
    holding = {label for row in rows for label, value in row.labels.items() if value and matches(matcher, value)}
    # Any label may have this value by chance; only these names result from scrapes.
    renamed = {label for label in holding if label.startswith("exported_") or label == KUBERNETES_NAMESPACE}
    return (*first, *sorted(renamed - {matcher.label, exported.label}))
