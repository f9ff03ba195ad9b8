"""A closed run as it is counted: its classification, series keys and duration bucket."""

from collections import Counter
from collections.abc import Iterable
from typing import Final, NamedTuple

from temporal_slo.runs.run import Run

BUCKETS: Final = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 21600.0, 86400.0)
"""Upper edges of the duration buckets, in seconds: from an interactive call to a workflow of a day."""

EDGES: Final = tuple(round(edge * 1000) for edge in BUCKETS)

ABOVE: Final = -1
"""The bucket of durations above every edge."""


class ClosedKey(NamedTuple):
    """What closed runs are counted by."""

    workflow_type: str
    task_queue: str
    status: str
    outcome: str


class RunningKey(NamedTuple):
    """What open runs are counted by."""

    workflow_type: str
    task_queue: str


class FailureKey(NamedTuple):
    """What failures are counted by."""

    workflow_type: str
    status: str
    failure_type: str


class Verdict(NamedTuple):
    """What a closed run is counted as; the failure type is empty if there is none."""

    status: str
    outcome: str
    failure_type: str = ""


class Counted(NamedTuple):
    """A closed run, what it is counted as, the bucket of its duration, and the SLOs whose budget it spent."""

    run: Run
    verdict: Verdict
    bucket: int
    spent: tuple[str, ...] = ()

    @property
    def key(self) -> ClosedKey:
        """The series that it is counted in."""
        return ClosedKey(self.run.workflow_type, self.run.task_queue, self.verdict.status, self.verdict.outcome)

    @property
    def failure(self) -> FailureKey:
        """The series of failures that it is counted in, if it has a failure type."""
        return FailureKey(self.run.workflow_type, self.verdict.status, self.verdict.failure_type)


def bucket(duration: int, edges: Iterable[int]) -> int:
    """Return the bucket of a duration in microseconds among *edges*: its upper edge in milliseconds, or ABOVE."""
    return next((edge for edge in edges if duration <= edge * 1000), ABOVE)


def cumulative(counts: Counter[int], edges: Iterable[int]) -> tuple[int, ...]:
    """Return how many runs lie in each bucket of *edges* (milliseconds, rising) and above, not cumulative.

    Runs counted under an edge that is no more belong to the next one above, which they do not exceed either.
    """
    kept = [*edges, float("inf")]
    slots = [0] * len(kept)
    for edge, count in counts.items():
        value = float("inf") if edge == ABOVE else edge
        slots[next(index for index, upper in enumerate(kept) if value <= upper)] += count
    return tuple(slots)
