"""Ingests closed runs: new ones newest first, gaps page by page, each run counted once."""

from collections.abc import Callable, Iterable, Iterator
from typing import Final

from temporal_slo import names
from temporal_slo.exporter.mirror.gaps import merged, unread
from temporal_slo.exporter.mirror.store import MirrorStore
from temporal_slo.exporter.mirror.watermark import Watermark
from temporal_slo.ledger.change import AUDIT, CLOSED, MINUTES, OPEN, Change, Gap
from temporal_slo.runs.counted import Classification
from temporal_slo.runs.run import Run
from temporal_slo.temporal.visibility import PAGE_SIZE_MAX, Visibility

STEADY_PAGES: Final = 5
"""Pages of closed runs that a poll reads at most. The rest becomes a gap."""

Classify = Callable[[Run], Classification | None]
"""Returns what a closed run is counted as; None if its close event is needed for that."""


class ClosedRuns:
    """Ingests the closed runs of one namespace.

    Args:
        store: Gets what is new.
        visibility: Lists runs.
        classify: Classifies a run by its row.
        now: Local clock, in microseconds of Unix time.

    Attributes:
        watermark: How far the list is read; None before the first poll.
    """

    def __init__(self, store: MirrorStore, visibility: Visibility, classify: Classify, now: int) -> None:
        self._store = store
        self._visibility = visibility
        self._classify = classify
        # Where to continue in a gap: page token, and the close time by which the list is filtered.
        self._cursors: dict[Gap, tuple[bytes, int | None]] = {}
        position = store.state.positions.get(CLOSED)
        self.watermark = None if position is None else Watermark(position, now)

    async def read(self, watermark: Watermark, now: int, floor: int, size: int) -> None:
        """Read down to *floor*; what a few pages do not reach becomes a gap.

        Args:
            watermark: Moves to the newest row.
            now: Local clock, in microseconds of Unix time.
            floor: Close time down to which a row may be new.
            size: Rows of the first page.

        Raises:
            TemporalRequestError: A request failed; the pages before it are counted.
            LedgerError: A page could not be written; it is not counted.
        """
        known, token = watermark.position.position, b""
        # A page shrinks the gap that the page before it left, so gaps of earlier polls are kept apart.
        earlier = self._store.state.gaps
        for _ in range(STEADY_PAGES):
            page = await self._visibility.closed(size, token)
            rows = [run for run in page.rows if run.close_time >= floor]
            change = await self._new(rows)
            ahead = watermark.ahead((run.close_time for run in rows), now)
            rest = unread(page, rows, floor)
            gaps = merged([*earlier, *rest])
            # An idle poll writes nothing.
            change.gaps = None if gaps == self._store.state.gaps else gaps
            change.positions = {CLOSED: ahead} if ahead else {}
            if late := sum(run.close_time < known for run in change.new_closed):
                change.counters[names.EXPORTER_LATE_ROWS] += late
            await self._store.commit(change, now)
            watermark.move(ahead, now)
            if not rest:
                return
            token, size = page.next_token, PAGE_SIZE_MAX
        self._cursors.update(dict.fromkeys(rest, (token, None)))

    async def catch_up(self, now: int) -> None:
        """Read one page of the newest gap.

        Args:
            now: Local clock, in microseconds of Unix time.

        Raises:
            TemporalRequestError: The request failed.
            LedgerError: The page could not be written; it is not counted.
        """
        *others, gap = self._store.state.gaps
        # By token where there is one: the filter on close time, needed after a restart, scans the table.
        token, until = self._cursors.pop(gap, (b"", gap.high))
        page = await self._visibility.closed(PAGE_SIZE_MAX, token, until)
        rows = [run for run in page.rows if run.close_time >= gap.low]
        change = await self._new(rows)
        rest = unread(page, rows, gap.low)
        change.gaps = merged([*others, *rest])
        await self._store.commit(change, now)
        self._cursors.update(dict.fromkeys(rest, (page.next_token, until)))

    async def _new(self, rows: Iterable[Run]) -> Change:
        """Return the change that the closed runs among *rows* make that were not seen before."""
        change = Change()
        runs = {run.run_id: run for run in with_status(rows, change) if run.close_time}
        unseen = await self._store.unseen(list(runs))
        change.new_closed = [run for run_id, run in runs.items() if run_id in unseen]
        self._store.bounds.admit(change.new_closed)
        for run in change.new_closed:
            if run.close_time < self._audited_until:
                change.counters[names.EXPORTER_AUDIT_REPAIRED_RUNS] += 1
            self._start(run, change)
            if self._was_overdue(run):
                change.closed_overdue.append(run)
            self._count(self._store.bounds.labeled(run), change)
        return change

    def _count(self, run: Run, change: Change) -> None:
        classification = self._classify(run)
        if classification is None:
            change.pending.append(run)
        else:
            change.counted.append(self._store.counted(run, classification))

    def _start(self, run: Run, change: Change) -> None:
        state = self._store.state
        if run.run_id in state.open:
            change.no_longer_open.append(run.run_id)
            return
        key = self._store.bounds.key(run, change)
        if run.start_time >= state.positions[OPEN].lowest:
            change.started[key] += 1

    def _was_overdue(self, run: Run) -> bool:
        """Return whether *run* was overdue in minutes that are not evaluated yet."""
        evaluated = self._store.state.positions.get(MINUTES)
        if evaluated and run.close_time < evaluated.position:
            return False
        return self._store.rules.is_overdue_at_close(run)

    @property
    def _audited_until(self) -> int:
        """Close time below which only an audit finds new runs."""
        audit = self._store.state.positions.get(AUDIT)
        return audit.position if audit else 0


def with_status(rows: Iterable[Run], change: Change) -> Iterator[Run]:
    """Yield the rows whose status is known; the others are counted in *change*."""
    for run in rows:
        if run.status:
            yield run
        else:
            change.counters[names.EXPORTER_UNKNOWN_STATUS_ROWS] += 1
