"""Which closed workflow runs are events of an SLO, and which of those are good or bad."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from temporal_slo.names.values import (
    BAD,
    COMPLETED,
    EXCLUDED,
    FAILED,
    TIMED_OUT,
    UNKNOWN,
)
from temporal_slo.runs.executions import FINAL_STATUSES
from temporal_slo.spec.slis import BAD_OUTCOME, Latency, Sli, Success

EVENT_STATUSES: Final = FINAL_STATUSES
"""Statuses of closed runs that may be an event: those of the last run of an execution."""

INF_BUCKET: Final = -1
"""The histogram bucket above every bound, `+Inf` in Prometheus."""


@dataclass(frozen=True, slots=True)
class RunEvents:
    """The events of an SLI whose events are closed runs: the only definition, of rules, ledger and links alike.

    Attributes:
        statuses: Statuses of events.
        bad_statuses: Those of them that are bad.
        no_events: Outcomes of completed runs that are no events. An outcome that is unknown and not among these counts
            as the known ones do on average: such a run is not known to be bad.
        bad_outcomes: Outcomes of completed runs that are bad.
        threshold: Longest duration of a good run; None for any.
    """

    statuses: tuple[str, ...]
    bad_statuses: tuple[str, ...]
    no_events: tuple[str, ...]
    bad_outcomes: tuple[str, ...]
    threshold: timedelta | None = None

    def is_event(self, status: str, outcome: str) -> bool:
        """Return whether a closed run is an event."""
        return status in self.statuses and outcome not in self.no_events

    def is_bad(self, status: str, outcome: str, *, slow: bool) -> bool:
        """Return whether an event is known to be bad."""
        if status != COMPLETED:
            return status in self.bad_statuses
        return outcome in self.bad_outcomes or (slow and outcome != UNKNOWN)


def run_events(sli: Success | Latency) -> RunEvents:
    """Return the events of *sli*."""
    if isinstance(sli, Success):
        statuses = tuple(status for status in EVENT_STATUSES if status not in sli.excluded)
        bad = tuple(status for status in EVENT_STATUSES if status in sli.bad)
        return RunEvents(statuses, bad, (EXCLUDED,), (BAD,) if BAD_OUTCOME in sli.bad else ())
    if sli.failures == BAD:
        # Not canceled and terminated runs, whose duration means nothing.
        failures = (FAILED, TIMED_OUT)
        return RunEvents((COMPLETED, *failures), failures, (EXCLUDED,), (BAD,), sli.threshold)
    return RunEvents((COMPLETED,), (), (BAD, EXCLUDED, UNKNOWN), (), sli.threshold)


def bad_run_predicate(sli: Sli) -> Callable[[str, str, int], bool] | None:
    """Return a predicate on status, outcome and duration in microseconds: whether a closed run is a bad event of *sli*.

    Returns:
        None for an SLI whose events are not workflow runs.
    """
    if not isinstance(sli, Success | Latency):
        return None
    events, limit = run_events(sli), _threshold(sli, timedelta(microseconds=1))

    def is_bad(status: str, outcome: str, duration: int) -> bool:
        slow = limit is not None and duration > limit
        return events.is_event(status, outcome) and events.is_bad(status, outcome, slow=slow)

    return is_bad


def good_run_predicate(sli: Success | Latency) -> Callable[[str, str, int], bool | None]:
    """Return a predicate on status, outcome and duration bucket: whether a closed run is a good event of *sli*.

    The bucket is its upper bound in milliseconds, or `INF_BUCKET`. The predicate returns None for a run that is not an
    event.
    """
    events, limit = run_events(sli), _threshold(sli, timedelta(milliseconds=1))

    def is_good(status: str, outcome: str, bucket: int) -> bool | None:
        if not events.is_event(status, outcome):
            return None
        slow = limit is not None and (bucket == INF_BUCKET or bucket > limit)
        return not events.is_bad(status, outcome, slow=slow)

    return is_good


def _threshold(sli: Success | Latency, unit: timedelta) -> int | None:
    return None if isinstance(sli, Success) else sli.threshold // unit
