"""Which closed runs break the promise of an SLO."""

from collections.abc import Callable
from datetime import timedelta
from typing import Final

from temporal_slo.names import OUTCOME_BAD, OUTCOME_GOOD, OUTCOME_NONE
from temporal_slo.spec.slis import Latency, Sli, Success

COMPLETED: Final = "completed"
BAD_STATUSES: Final = frozenset({"failed", "timed_out"})
"""Ends that are not well, for latency: how soon a run was cancelled or terminated tells nothing."""


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


def _failed(sli: Success, status: str, outcome: str) -> bool:
    return status in sli.bad or (outcome == OUTCOME_BAD and "bad_outcome" in sli.bad)


def _late(status: str, outcome: str, *, late: bool) -> bool:
    if status != COMPLETED:
        return status in BAD_STATUSES
    return outcome == OUTCOME_BAD or (late and outcome in {OUTCOME_GOOD, OUTCOME_NONE})
