"""A mirror of one namespace's visibility: each closed run counted once, open runs held by id."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from typing import Final, NamedTuple

from temporal_slo import names
from temporal_slo.exporter.snapshot import BUCKETS, ClosedKey, DurationKey, Durations, Figures, RunningKey
from temporal_slo.exporter.visibility import PAGE_SIZE_MAX, RUNNING, Page, Run, Visibility

SECOND: Final = 1_000_000
"""Microseconds, the unit of every time here."""

OVERLAP: Final = 5 * SECOND
"""How late a row may become visible and still be found by the next poll."""

LATE_SWEEP: Final = 180 * SECOND
"""How late a row may become visible and still be found by the sweep; the grace that the server allows itself."""

SWEEP_INTERVAL: Final = 60 * SECOND
RECONCILE_INTERVAL: Final = 600 * SECOND

FUTURE: Final = 5 * SECOND
"""How far a row's time may lie ahead of our clock before it no longer moves the edge."""

FIRST_PAGE: Final = 200
"""Rows of a steady poll's first page: what is new fits, and an idle poll stays small."""


class Edge:
    """How far down a list that is ordered newest first was read completely.

    All positions are times of the server; our own clock only tells how long ago the edge was reached, so that a
    skewed clock hides nothing.

    Args:
        lowest: Nothing older is ever read.
        now: Our clock.
    """

    def __init__(self, lowest: int, now: int) -> None:
        self._lowest = self._position = lowest
        self._reached = now

    def floor(self, now: int, grace: int) -> int:
        """Return the oldest time at which a row may still be new to us, if rows are late by *grace* at most."""
        still_late = max(grace - (now - self._reached), 0)
        return max(self._position - still_late, self._lowest)

    def advance(self, moments: Iterable[int], now: int) -> None:
        """Move up to the newest of *moments*, the times of the rows of a complete read that began at *now*.

        A row from the future does not move it, else one skewed clock would hide all that happens until then.
        """
        newest = max((moment for moment in moments if moment <= now + FUTURE), default=0)
        if newest > self._position:
            self._position, self._reached = newest, now


class _Open(NamedTuple):
    key: RunningKey
    due_time: int


class _Histogram:
    def __init__(self) -> None:
        self.counts = [0] * (len(BUCKETS) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect_left(BUCKETS, value)] += 1
        self.total += value


class Mirror:
    """Mirror of one namespace, in memory.

    A poll that fails changes nothing but the count of unknown rows; the next one reads what it would have read.

    Args:
        visibility: The list of runs.
        now: Our clock, in microseconds of Unix time. Runs that closed before it are not counted.

    Attributes:
        unknown_status_rows: Rows left out so far because their status is unknown.
    """

    def __init__(self, visibility: Visibility, now: int) -> None:
        self._visibility = visibility
        self._closed_edge = Edge(now, now)
        self._start_edge = Edge(0, now)
        self._swept = now
        self._reconciled: int | None = None
        self._counted: dict[str, int] = {}
        self._open: dict[str, _Open] = {}
        self._closed: Counter[ClosedKey] = Counter()
        self._durations: dict[DurationKey, _Histogram] = {}
        self._running_keys: set[RunningKey] = set()
        self.unknown_status_rows = 0

    async def poll(self, now: int) -> Figures:
        """Read what is new and return the figures as they are then.

        Args:
            now: Our clock, in microseconds of Unix time.

        Raises:
            VisibilityError: A request brought no answer; nothing was counted.
        """
        sweep = now - self._swept >= SWEEP_INTERVAL
        reconcile = self._reconciled is None or now - self._reconciled >= RECONCILE_INTERVAL
        grace, size = (LATE_SWEEP, PAGE_SIZE_MAX) if sweep else (OVERLAP, FIRST_PAGE)
        # Open runs first: one that closes in between is then found closed, never left behind as open.
        floor = 0 if reconcile else self._start_edge.floor(now, grace)
        running = await _scan(self._visibility.running, _start_time, floor, PAGE_SIZE_MAX if reconcile else size)
        closed = await _scan(self._visibility.closed, _close_time, self._closed_edge.floor(now, grace), size)
        if reconcile:
            self._open.clear()
            self._reconciled = now
        if sweep:
            self._swept = now
        self._count(closed, now)
        self._hold(running, now)
        return self._figures(now)

    def _count(self, rows: list[Run], now: int) -> None:
        for run in self._known(rows):
            self._open.pop(run.run_id, None)
            if run.run_id not in self._counted:
                self._counted[run.run_id] = run.close_time
                self._count_one(run)
        self._closed_edge.advance((run.close_time for run in rows), now)
        # Ids older than any floor to come will never be read again.
        oldest = self._closed_edge.floor(now, LATE_SWEEP)
        self._counted = {run_id: close for run_id, close in self._counted.items() if close >= oldest}

    def _count_one(self, run: Run) -> None:
        status, outcome = str(run.status), names.OUTCOME_NONE
        self._closed[ClosedKey(run.workflow_type, run.task_queue, status, outcome)] += 1
        duration = DurationKey(run.workflow_type, status, outcome)
        self._durations.setdefault(duration, _Histogram()).observe(run.duration)

    def _hold(self, rows: list[Run], now: int) -> None:
        for run in self._known(rows):
            if run.run_id not in self._counted and run.status == RUNNING:
                key = RunningKey(run.workflow_type, run.task_queue)
                self._open[run.run_id] = _Open(key, run.due_time)
                self._running_keys.add(key)
        self._start_edge.advance((run.start_time for run in rows), now)

    def _known(self, rows: list[Run]) -> Iterable[Run]:
        known = [run for run in rows if run.status]
        self.unknown_status_rows += len(rows) - len(known)
        return known

    def _figures(self, now: int) -> Figures:
        # What was open once stays a series at 0: a series that vanishes cannot be told from no data.
        running = Counter(dict.fromkeys(self._running_keys, 0))
        oldest = {key.workflow_type: now for key in self._running_keys}
        for run in self._open.values():
            running[run.key] += 1
            oldest[run.key.workflow_type] = min(oldest[run.key.workflow_type], run.due_time)
        return Figures(
            closed=dict(self._closed),
            durations={key: Durations(tuple(h.counts), h.total) for key, h in self._durations.items()},
            running=dict(running),
            oldest_running_age={kind: (now - due) / SECOND for kind, due in oldest.items()},
        )


def _start_time(run: Run) -> int:
    return run.start_time


def _close_time(run: Run) -> int:
    return run.close_time


async def _scan(
    read: Callable[[int, bytes], Awaitable[Page]], moment: Callable[[Run], int], floor: int, size: int
) -> list[Run]:
    """Read a list that is ordered newest first, and stop at the first row older than *floor*."""
    rows: list[Run] = []
    token = b""
    while True:
        page = await read(size, token)
        for run in page.rows:
            if moment(run) < floor:
                return rows
            rows.append(run)
        token, size = page.next_token, PAGE_SIZE_MAX
        if not token:
            return rows
