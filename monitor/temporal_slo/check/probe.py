"""Asks Prometheus again, with parts of a selector dropped, until it tells what is wrong with it."""

import asyncio
from collections.abc import Sequence
from typing import Final

from temporal_slo import names
from temporal_slo.check.diagnosis import Facts, Suspect, core, doubtful, fulfils
from temporal_slo.check.expected_series import WORKER, misnamed, teller
from temporal_slo.check.prometheus import Prometheus, Row, Target
from temporal_slo.check.selectors import Selector
from temporal_slo.promql import Matcher

WINDOWS: Final = ("1h", "1d")
"""How far back a series is looked for that is no more."""

VALUES_MAX: Final = 200
NAMESPACE: Final = "namespace"
"""What a scrape of Kubernetes calls its own, and some rename ours to."""

SAMPLES_MAX: Final = 50
"""Series that are looked at whole, for a label that holds what another should."""


async def alive(prometheus: Prometheus, selector: Selector) -> bool:
    """Return whether *selector* matches any series now.

    Raises:
        PrometheusError: There is no answer.
    """
    return bool(await prometheus.query(_count(selector)))


async def appeared(prometheus: Prometheus, selector: Selector) -> bool:
    """Return whether *selector* matches any series by now, though it did not when it was first asked for.

    Raises:
        PrometheusError: There is no answer.
    """
    prometheus.forget(_count(selector))
    return await alive(prometheus, selector)


def _count(selector: Selector) -> str:
    return f"count({selector})"


async def facts(prometheus: Prometheus, selector: Selector, targets: Sequence[Target] | None) -> Facts:
    """Return what there is to know about *selector*, which matches nothing.

    Args:
        prometheus: Is asked.
        selector: What is selected.
        targets: What is scraped; None if that is not known.

    Raises:
        PrometheusError: There is no answer.
    """
    present = await alive(prometheus, Selector(selector.metric))
    relatives = () if present else await _relatives(prometheus, selector.metric)
    seen, gone = await _seen(prometheus, selector, targets)
    suspects = await _suspects(prometheus, selector) if present else ()
    return Facts(selector, present, relatives, seen, gone, suspects, await _misnamed(prometheus, selector))


async def _relatives(prometheus: Prometheus, metric: str) -> tuple[str, ...]:
    pattern = f"{core(metric)}(_(total|bucket|count|sum|seconds|milliseconds|ms))*"
    return tuple(name for name in await prometheus.names(pattern) if name != metric)


async def _misnamed(prometheus: Prometheus, selector: Selector) -> tuple[str, ...]:
    """Return what workers of the same namespace expose under names that no rule asks for."""
    if teller(selector.metric) != WORKER or selector.metric == names.WORKER_INFO.sample:
        return ()
    about = tuple(matcher for matcher in selector.matchers if matcher.label == names.NAMESPACE)
    return await prometheus.names(misnamed(selector.metric), *about)


async def _seen(
    prometheus: Prometheus, selector: Selector, targets: Sequence[Target] | None
) -> tuple[str, tuple[Target, ...]]:
    """Return the shortest window in which it still matched, and the targets that it was scraped from."""
    for window in WINDOWS:
        rows = await prometheus.query(f"count by (job, instance) (count_over_time({selector}[{window}]))")
        if rows:
            return window, tuple(_now(row, targets) for row in rows)
    return "", ()


def _now(row: Row, targets: Sequence[Target] | None) -> Target:
    job, instance = row.labels.get("job", ""), row.labels.get("instance", "")
    if targets is None:
        return Target(job, instance)
    known = (target for target in targets if (target.job, target.instance) == (job, instance))
    return next(known, Target(job, instance, well=False, error="it is scraped no longer"))


async def _suspects(prometheus: Prometheus, selector: Selector) -> tuple[Suspect, ...]:
    """Return the conditions without which it would match, or, if there is no single one, those that cannot be met."""
    own = selector.matchers
    reviving = await asyncio.gather(*(alive(prometheus, selector.but(matcher)) for matcher in own))
    blamed = [matcher for matcher, revives in zip(own, reviving, strict=True) if revives]
    if blamed:
        return tuple([await _suspect(prometheus, selector.but(matcher), matcher) for matcher in blamed])
    bare = Selector(selector.metric)
    single = await asyncio.gather(*(alive(prometheus, bare.plus(matcher)) for matcher in own))
    unmet = [matcher for matcher, met in zip(own, single, strict=True) if not met]
    if unmet:
        return tuple([await _suspect(prometheus, bare, matcher) for matcher in doubtful(unmet)])
    return await _first_too_many(prometheus, bare, own)


async def _first_too_many(prometheus: Prometheus, bare: Selector, own: Sequence[Matcher]) -> tuple[Suspect, ...]:
    for matcher in doubtful(own):
        narrowed = bare.plus(matcher)
        if not await alive(prometheus, narrowed):
            return (await _suspect(prometheus, bare, matcher),)
        bare = narrowed
    return ()


async def _suspect(prometheus: Prometheus, others: Selector, matcher: Matcher) -> Suspect:
    """Return what stands in the place of *matcher* among the series that *others* selects."""
    rows = await prometheus.query(f"topk({VALUES_MAX}, count by ({matcher.label}) ({others}))")
    values = tuple(sorted(row.labels.get(matcher.label, "") for row in rows))
    return Suspect(matcher, values, await _held_by(prometheus, others, matcher))


async def _held_by(prometheus: Prometheus, others: Selector, matcher: Matcher) -> tuple[str, ...]:
    if matcher.operator.startswith("!"):
        # What must not be is nowhere else.
        return ()
    exported = Matcher(f"exported_{matcher.label}", matcher.operator, matcher.value)
    first = (exported.label,) if await alive(prometheus, others.plus(exported)) else ()
    rows = await prometheus.query(f"topk({SAMPLES_MAX}, {others})")
    holding = {label for row in rows for label, value in row.labels.items() if value and fulfils(matcher, value)}
    # Any label may have such a value by chance; these are what a scrape makes of one.
    renamed = {label for label in holding if label.startswith("exported_") or label == NAMESPACE}
    return (*first, *sorted(renamed - {matcher.label, exported.label}))
