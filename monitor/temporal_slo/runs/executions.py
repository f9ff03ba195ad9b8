"""Executions: what a customer waits for. An execution consists of one run, or of a chain of runs.

The chain goes on while runs continue as new or are retried by the workflow's retry policy. Each invocation of a cron
workflow is an execution of its own, and so is the run that a reset starts.
"""

from typing import Final, NamedTuple

from temporal_slo.names.values import (
    CANCELED,
    COMPLETED,
    CONTINUED_AS_NEW,
    FAILED,
    RETRIED,
    TERMINATED,
    TIMED_OUT,
)
from temporal_slo.runs.counted import Classification, ClosedKey
from temporal_slo.runs.microseconds import SECOND
from temporal_slo.runs.run import Run

FINAL_STATUSES: Final = (COMPLETED, FAILED, TIMED_OUT, CANCELED, TERMINATED)
"""Statuses of the last run of an execution."""

CONTINUED_STATUSES: Final = (CONTINUED_AS_NEW, RETRIED)
"""Statuses of a run whose execution goes on in the next run of its workflow id."""

RETRYABLE_STATUSES: Final = (FAILED, TIMED_OUT)
"""Statuses in visibility of runs that the retry policy may have retried. Only the close event says whether it has."""

NEXT_RUN_WITHIN: Final = SECOND
"""The next run of a chain starts when the run before it closes, measured up to 0.3 ms later. A run that starts later
than this after a close is one that somebody has started."""

WAITS: Final = 0
"""Instead of the start of an execution: the run before this one, or that there is none, is not known yet."""

ASKS: Final = -1
"""Instead of the start of an execution: only the start event of the run says whether there was a run before it."""


class ChainRun(NamedTuple):
    """A closed run that may be part of a chain: what came before it, or what comes after it, is not known yet.

    Attributes:
        execution_start: When the first run of its execution was due, in microseconds of Unix time; `WAITS` or `ASKS`
            if that is not known.
        classification: None until its close event is read.
        bucket: The duration bucket under which the run was counted.
    """

    run: Run
    execution_start: int
    classification: Classification | None = None
    bucket: int = 0

    @property
    def is_settled(self) -> bool:
        """Whether the start of its execution is known."""
        return self.execution_start > 0

    @property
    def is_continued(self) -> bool:
        """Whether its execution goes on in the next run."""
        return self.classification is not None and self.classification.status in CONTINUED_STATUSES


class Observation(NamedTuple):
    """A difference between the durations of executions and those of runs.

    Attributes:
        bucket: Upper bound of the duration bucket, in milliseconds.
        minute: Minute of the close time.
        added: 1 to add an execution to the bucket, -1 to take a run from it.
        duration: Microseconds to add to the sum of durations; negative if a run is taken.
    """

    key: ClosedKey
    bucket: int
    minute: int
    added: int
    duration: int


def follows(run: Run, before: Run) -> bool:
    """Return whether *run* started when *before*, another run of its workflow id, closed."""
    earlier = (before.start_time, before.close_time) < (run.start_time, run.close_time or run.start_time + 1)
    return earlier and starts_at_close(run.start_time, before.close_time)


def starts_at_close(start_time: int, close_time: int) -> bool:
    """Return whether a run that started then is the next of a chain whose run closed at *close_time*."""
    return 0 <= start_time - close_time <= NEXT_RUN_WITHIN
