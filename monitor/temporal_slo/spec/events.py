"""Which closed workflow runs are events of an SLO, and which of those are good or bad."""

from collections.abc import Callable
from datetime import timedelta
from typing import Final

from temporal_slo.names.values import (
    BAD,
    COMPLETED,
    CONTINUED_AS_NEW,
    EXCLUDED,
    FAILED,
    GOOD,
    NONE,
    RESET,
    RETRIED,
    TIMED_OUT,
    UNKNOWN,
)
from temporal_slo.spec.slis import BAD_OUTCOME, Latency, Sli, Success

BAD_STATUSES: Final = frozenset({FAILED, TIMED_OUT})
"""Statuses that a latency SLI counts as bad; it ignores canceled and terminated runs, whose duration means nothing."""

NON_EVENT_STATUSES: Final = (CONTINUED_AS_NEW, RESET, RETRIED)
"""Statuses of closed runs that are never an event, because another run follows."""

NON_EVENT_OUTCOMES: Final = (EXCLUDED, UNKNOWN)
"""Outcomes that are never an event."""

INF_BUCKET: Final = -1
"""The histogram bucket above every bound, `+Inf` in Prometheus."""


def bad_run_predicate(sli: Sli) -> Callable[[str, str, int], bool] | None:
    """Return a predicate on status, outcome and duration in microseconds: whether a closed run is a bad event of *sli*.

    Returns:
        None for an SLI whose events are not workflow runs.
    """
    if isinstance(sli, Success):
        return lambda status, outcome, _: _failed(sli, status, outcome)
    if isinstance(sli, Latency):
        threshold = sli.threshold // timedelta(microseconds=1)
        return lambda status, outcome, duration: _slow(status, outcome, slow=duration > threshold)
    return None


def event_predicate(sli: Success | Latency) -> Callable[[str, str], bool]:
    """Return a predicate on status and outcome: whether a closed run is an event of *sli*."""
    if isinstance(sli, Success):
        non_events = frozenset({*NON_EVENT_STATUSES, *sli.excluded})
        return lambda status, outcome: status not in non_events and outcome not in NON_EVENT_OUTCOMES
    return lambda status, outcome: status in {COMPLETED, *BAD_STATUSES} and outcome not in NON_EVENT_OUTCOMES


def good_run_predicate(sli: Success | Latency) -> Callable[[str, str, int], bool | None]:
    """Return a predicate on status, outcome and duration bucket: whether a closed run is a good event of *sli*.

    The bucket is its upper bound in milliseconds, or `INF_BUCKET`. The predicate returns None for a run that is not an
    event.
    """
    is_event, threshold = event_predicate(sli), timedelta() if isinstance(sli, Success) else sli.threshold
    limit = threshold // timedelta(milliseconds=1)

    def is_good(status: str, outcome: str, bucket: int) -> bool | None:
        if not is_event(status, outcome):
            return None
        if isinstance(sli, Success):
            return not _failed(sli, status, outcome)
        return not _slow(status, outcome, slow=bucket == INF_BUCKET or bucket > limit)

    return is_good


def _failed(sli: Success, status: str, outcome: str) -> bool:
    return status in sli.bad or (outcome == BAD and BAD_OUTCOME in sli.bad)


def _slow(status: str, outcome: str, *, slow: bool) -> bool:
    if status != COMPLETED:
        return status in BAD_STATUSES
    return outcome == BAD or (slow and outcome in {GOOD, NONE})
