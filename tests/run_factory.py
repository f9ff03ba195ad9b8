"""Runs as listed by visibility, for tests."""

from dataclasses import replace
from itertools import count

from temporal_slo.names.values import RUNNING
from temporal_slo.runs.counted import Classification
from temporal_slo.runs.microseconds import SECOND
from temporal_slo.runs.run import Run

BEGAN = 1_700_000_000 * SECOND
"""Time of the first poll of the mirrors under test, in microseconds of Unix time."""

_numbers = count(1)


def closed(at: float, status: str | None = "completed", **changes: object) -> Run:
    """Return a run that closed *at* seconds after BEGAN, with a duration of 7 seconds."""
    close = BEGAN + round(at * SECOND)
    run = Run(f"run-{next(_numbers)}", "w", "Ride", "rides", status, close - 9 * SECOND, close - 7 * SECOND, close)
    return replace(run, **{"duration": 7 * SECOND, **changes})  # type: ignore[arg-type] # the caller names fields of Run


def running(since: float, status: str | None = RUNNING, **changes: object) -> Run:
    """Return an open run that started *since* seconds after BEGAN."""
    start = BEGAN + round(since * SECOND)
    run = Run(f"run-{next(_numbers)}", "w", "Ride", "rides", status, start, start)
    return replace(run, **changes)  # type: ignore[arg-type] # the caller names fields of Run


def close(run: Run, at: float, status: str | None = "completed") -> Run:
    """Return the same run, closed *at* seconds after BEGAN."""
    closing = BEGAN + round(at * SECOND)
    return replace(run, status=status, close_time=closing, duration=closing - run.due_time)


def from_visibility(run: Run) -> Classification:
    """Classify a run by its status in visibility, without its close event."""
    return Classification(str(run.status), "none")
