"""Which closed runs are events of an SLO, and which of them break its promise."""

from collections.abc import Callable
from datetime import timedelta
from typing import Final

from temporal_slo.names.values import BAD, GOOD, NONE
from temporal_slo.spec.slis import Latency, Sli, Success

COMPLETED: Final = "completed"
BAD_STATUSES: Final = frozenset({"failed", "timed_out"})
"""Ends that are not well, for latency: how soon a run was cancelled or terminated tells nothing."""

NON_EVENT_STATUSES: Final = ("continued_as_new", "reset", "retried")
"""Closed runs that are never an event: another run follows them."""

NON_EVENT_OUTCOMES: Final = ("excluded", "unknown")
"""Outcomes that are never an event."""

INF_BUCKET: Final = -1
"""The bucket of durations above every edge."""


def broken(sli: Sli) -> Callable[[str, str, int], bool] | None:
    """Return what tells by status, outcome and duration in microseconds whether a closed run is a bad event of *sli*.

    Returns:
        None for an SLI whose events are no runs.
    """
    if isinstance(sli, Success):
        return lambda status, outcome, _: _failed(sli, status, outcome)
    if isinstance(sli, Latency):
        threshold = sli.threshold // timedelta(microseconds=1)
        return lambda status, outcome, duration: _late(status, outcome, late=duration > threshold)
    return None


def event_predicate(sli: Success | Latency) -> Callable[[str, str], bool]:
    """Return what tells by status and outcome whether a closed run is an event of *sli* at all."""
    if isinstance(sli, Success):
        none = frozenset({*NON_EVENT_STATUSES, *sli.excluded})
        return lambda status, outcome: status not in none and outcome not in NON_EVENT_OUTCOMES
    return lambda status, outcome: status in {COMPLETED, *BAD_STATUSES} and outcome not in NON_EVENT_OUTCOMES


def good_run_predicate(sli: Success | Latency) -> Callable[[str, str, int], bool | None]:
    """Return what tells by status, outcome and the bucket of the duration whether a closed run was a good event.

    The bucket is its upper edge in milliseconds, or `INF_BUCKET`. What is returned gives None for what is no event.
    """
    counts, threshold = event_predicate(sli), timedelta() if isinstance(sli, Success) else sli.threshold
    limit = threshold // timedelta(milliseconds=1)

    def judge(status: str, outcome: str, bucket: int) -> bool | None:
        if not counts(status, outcome):
            return None
        if isinstance(sli, Success):
            return not _failed(sli, status, outcome)
        return not _late(status, outcome, late=bucket == INF_BUCKET or bucket > limit)

    return judge


def _failed(sli: Success, status: str, outcome: str) -> bool:
    return status in sli.bad or (outcome == BAD and "bad_outcome" in sli.bad)


def _late(status: str, outcome: str, *, late: bool) -> bool:
    if status != COMPLETED:
        return status in BAD_STATUSES
    return outcome == BAD or (late and outcome in {GOOD, NONE})
