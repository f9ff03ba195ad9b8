"""A closed run as it is counted: its classification, series keys and duration bucket."""

from collections import Counter
from collections.abc import Iterable
from typing import Final, NamedTuple

from temporal_slo.runs.run import Run
from temporal_slo.runs.status_groups import status_group

BUCKET_BOUNDS_SECONDS: Final = (
    *(0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0),
    *(600.0, 1800.0, 3600.0, 21600.0, 86400.0),
)
"""Upper bounds of the duration buckets, from an interactive call to a workflow that takes a day."""

BUCKET_BOUNDS_MS: Final = tuple(round(seconds * 1000) for seconds in BUCKET_BOUNDS_SECONDS)

INF_BUCKET: Final = -1
"""The bucket of durations above every bound."""


class ClosedKey(NamedTuple):
    """Labels of a series of closed runs."""

    workflow_type: str
    task_queue: str
    status: str
    outcome: str


class SeenKey(NamedTuple):
    """Labels of a series of runs seen closed, classified or pending."""

    workflow_type: str
    task_queue: str
    status_group: str


class RunningKey(NamedTuple):
    """Labels of a series of open runs."""

    workflow_type: str
    task_queue: str


class FailureKey(NamedTuple):
    """Labels of a series of failures."""

    workflow_type: str
    status: str
    failure_type: str


class Classification(NamedTuple):
    """Status, outcome and failure type that a closed run is counted under; no failure type is an empty text."""

    status: str
    outcome: str
    failure_type: str = ""


class Counted(NamedTuple):
    """A closed run with everything that it is counted under.

    Attributes:
        bucket: Upper bound of its duration bucket in milliseconds, or `INF_BUCKET`.
        bad_for: Names of the SLOs for which it is a bad event.
    """

    run: Run
    classification: Classification
    bucket: int
    bad_for: tuple[str, ...] = ()

    @property
    def key(self) -> ClosedKey:
        """The series of closed runs that counts it."""
        status, outcome, _ = self.classification
        return ClosedKey(self.run.workflow_type, self.run.task_queue, status, outcome)

    @property
    def failure(self) -> FailureKey:
        """The series of failures that counts it, if it has a failure type."""
        return FailureKey(self.run.workflow_type, self.classification.status, self.classification.failure_type)


def seen_key(run: Run) -> SeenKey:
    """Return the series of runs seen closed that counts *run*."""
    return SeenKey(run.workflow_type, run.task_queue, status_group(str(run.status)))


def bucket(duration: int, bounds: Iterable[int]) -> int:
    """Return the bucket of a duration: its upper bound, or `INF_BUCKET`.

    Args:
        duration: Microseconds.
        bounds: Upper bounds in milliseconds, ascending.
    """
    return next((bound for bound in bounds if duration <= bound * 1000), INF_BUCKET)


def bucket_counts(counts: Counter[int], bounds: Iterable[int]) -> tuple[int, ...]:
    """Return the number of runs in each bucket, not cumulative; the last one is above every bound.

    A run that was counted under a bound that is not in *bounds* counts in the next higher bucket, which holds it too.

    Args:
        counts: Runs by the bucket that they were counted under.
        bounds: Upper bounds in milliseconds, ascending.
    """
    uppers = [*bounds, float("inf")]
    slots = [0] * len(uppers)
    for bound, count in counts.items():
        value = float("inf") if bound == INF_BUCKET else bound
        slots[next(index for index, upper in enumerate(uppers) if value <= upper)] += count
    return tuple(slots)
