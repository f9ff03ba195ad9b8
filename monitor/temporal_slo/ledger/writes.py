"""What a change writes: the rows of each of the ledger's tables."""

from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

from sqlalchemy import Table

from temporal_slo.ledger import schema
from temporal_slo.ledger.change import Change
from temporal_slo.names.values import PAUSED
from temporal_slo.runs.counted import ClosedKey, FailureKey
from temporal_slo.runs.microseconds import MINUTE
from temporal_slo.runs.run import Run

Rows = Iterator[dict[str, Any]]

URGENT: Final = ("failed", "timed_out")
RANKS: Final = (0, 1)
"""Of runs that wait for their close event: failures first, they are what somebody may have to be woken for."""


def new(change: Change, now: int) -> Iterator[tuple[Table, Rows]]:
    """Yield each table of runs with the rows that are new in it.

    Args:
        change: What changes.
        now: Our clock, in microseconds of Unix time.
    """
    since = {"inserted": now}
    yield schema.seen, ({"run_id": run.run_id, "close_time": run.close_time} | since for run in change.seen)
    yield schema.open_runs, (_open_row(run) | {"paused": int(run.status == PAUSED)} for run in change.opened)
    yield schema.pending, (_pending_row(run) | since for run in change.pending)
    yield schema.long_runs, (_long_row(run) for run in change.long)
    yield schema.bad_runs, _bad_rows(change)


def increments(change: Change) -> Iterator[tuple[Table, Rows]]:
    """Yield each table of counts with the rows to add to it, one a key."""
    counts: Counter[tuple[ClosedKey, int]] = Counter()
    durations: Counter[tuple[ClosedKey, int]] = Counter()
    minutes: Counter[tuple[ClosedKey, int, int]] = Counter()
    failures: Counter[FailureKey] = Counter()
    for counted in change.counted:
        edge = counted.bucket
        counts[counted.key, edge] += 1
        durations[counted.key, edge] += counted.run.duration
        minutes[counted.key, edge, counted.run.close_time // MINUTE] += 1
        if counted.classification.failure_type:
            failures[counted.failure] += 1
    yield (
        schema.closed_totals,
        (k._asdict() | {"bucket": b, "count": n, "duration": durations[k, b]} for (k, b), n in counts.items()),
    )
    yield (
        schema.closed_minutes,
        (k._asdict() | {"bucket": b, "minute": m, "count": n} for (k, b, m), n in minutes.items()),
    )
    yield schema.failure_totals, (k._asdict() | {"count": n} for k, n in failures.items())
    yield schema.started_totals, (k._asdict() | {"count": n} for k, n in change.started.items())
    judged: Counter[str] = Counter()
    overdue: Counter[str] = Counter()
    for row in change.judged:
        judged[row.slo] += row.observed
        overdue[row.slo] += row.overdue
    yield schema.minute_totals, ({"slo": k, "observed": n, "overdue": overdue[k]} for k, n in judged.items())
    yield schema.minute_hours, (row._asdict() for row in change.judged)
    yield schema.other_totals, ({"name": k, "count": n} for k, n in change.others.items())


def _open_row(run: Run) -> dict[str, Any]:
    names = ("run_id", "workflow_id", "workflow_type", "task_queue", "start_time", "due_time")
    return {name: getattr(run, name) for name in names}


def _long_row(run: Run) -> dict[str, Any]:
    names = ("run_id", "workflow_type", "task_queue", "due_time", "close_time")
    return {name: getattr(run, name) for name in names}


def _bad_rows(change: Change) -> Iterator[dict[str, Any]]:
    names = ("run_id", "workflow_id", "workflow_type", "close_time", "duration")
    for run, verdict, _, spent in change.counted:
        for slo in spent:
            yield {"slo": slo, **{name: getattr(run, name) for name in names}, **verdict._asdict()}


def _pending_row(run: Run) -> dict[str, Any]:
    more = {"status": run.status, "close_time": run.close_time, "duration": run.duration}
    return _open_row(run) | more | {"rank": RANKS[run.status not in URGENT]}
