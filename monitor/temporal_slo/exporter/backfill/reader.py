"""Reads runs that closed before counting started, newest first, page by page."""

from collections.abc import Callable
from typing import Final, NamedTuple

from temporal_slo.errors import LedgerError, TemporalRequestError
from temporal_slo.exporter.mirror.series_bounds import SeriesBounds
from temporal_slo.ledger.backfill import BackfillChange, BackfillStore, Progress
from temporal_slo.runs.counted import Classification, Counted
from temporal_slo.runs.run import Run
from temporal_slo.temporal.rate_limit import OVERLOAD_CODES
from temporal_slo.temporal.visibility import PAGE_SIZE_MAX, Page, Visibility

FILTER_MARGIN: Final = 1
"""Microseconds added to a filter on close time: some stores filter by more digits than their rows show."""


class Cursor(NamedTuple):
    """Next page: its token, and the latest close time that the list is filtered by."""

    token: bytes = b""
    until: int | None = None


class BackfillReader:
    """Reads the closed runs of one namespace.

    Each page is one transaction: its runs, the close time down to which all runs are read, and the ids of the runs at
    exactly that time. So each run is counted once, at whatever point the process is killed.

    Args:
        store: Stores runs and progress.
        visibility: Lists runs.
        classify: Classifies a run by its row, or returns None if that needs its close event.
        count: Adds the series and the bucket to a classified run.
        bounds: Chooses the labels of the runs.
        floor: Oldest requested close time, in microseconds of Unix time.
        page_size: Rows of a page.
    """

    def __init__(
        self,
        store: BackfillStore,
        visibility: Visibility,
        *,
        classify: Callable[[Run], Classification | None],
        count: Callable[[Run, Classification], Counted],
        bounds: SeriesBounds,
        floor: int,
        page_size: int = PAGE_SIZE_MAX,
    ) -> None:
        self._store = store
        self._visibility = visibility
        self._classify = classify
        self._count = count
        self._bounds = bounds
        self._floor = floor
        self._page_size = page_size
        self._cursor = Cursor()

    def reached_floor(self, progress: Progress) -> bool:
        """Return whether all requested close times are read."""
        return progress.position < self._floor

    async def page(self, now: int) -> Progress:
        """Read one page and return the progress.

        Args:
            now: Local clock, in microseconds of Unix time.

        Raises:
            TemporalRequestError: The request failed.
            LedgerError: The page could not be written, or it is unknown whether it was. The next page starts at the
                position in the ledger.
        """
        before = await self._store.progress()
        page = await self._next_page(before)
        if page is None:
            return before
        rows = [run for run in page.rows if self._floor <= run.close_time <= before.position]
        change = await self._change(rows)
        change.position = self._position_after(page, rows, before)
        try:
            after = await self._store.commit(change, now)
        except LedgerError:
            self._seek(before)
            raise
        self._cursor = Cursor(page.next_token, self._cursor.until)
        return after

    async def rescan(self, now: int) -> Progress:
        """Read the newest runs again, for those that became visible late, and return the progress.

        Args:
            now: Local clock, in microseconds of Unix time; late enough for all runs to be visible.

        Raises:
            TemporalRequestError: A request failed.
            LedgerError: A page could not be written.
        """
        floor, until = max(self._floor, self._store.rescan_from), self._store.end - 1
        token, complete = b"", False
        while not complete:
            page = await self._visibility.closed(self._page_size, token, until + FILTER_MARGIN)
            change = await self._change([run for run in page.rows if floor <= run.close_time <= until])
            complete = change.rescanned = _is_last(page, floor)
            after = await self._store.commit(change, now)
            token = page.next_token
        return after

    async def _next_page(self, before: Progress) -> Page | None:
        """Return the next page; None if it must be requested with a filter on close time instead."""
        try:
            page = await self._visibility.closed(self._page_size, *self._cursor)
        except TemporalRequestError as error:
            if error.code not in OVERLOAD_CODES:
                # The server may no longer accept the token.
                self._seek(before)
            raise
        if self._cursor == Cursor() and page.next_token and page.rows and page.rows[-1].close_time > before.position:
            # The position is not on the first page. Only a filter leads there, though it costs the server a scan.
            self._seek(before)
            return None
        return page

    def _seek(self, progress: Progress) -> None:
        """Continue at the position of *progress*, by a filter on close time instead of the page token."""
        self._cursor = Cursor(until=progress.position + FILTER_MARGIN)

    def _position_after(self, page: Page, rows: list[Run], before: Progress) -> int:
        if _is_last(page, self._floor):
            return self._floor - 1
        return rows[-1].close_time if rows else before.position

    async def _change(self, rows: list[Run]) -> BackfillChange:
        """Return the change that adds the runs among *rows* that are not in the ledger yet."""
        change, runs = BackfillChange(), {run.run_id: run for run in rows if run.status}
        change.unknown_status = sum(run.status is None for run in rows)
        known = await self._store.known(runs) if runs else set()
        change.new_closed = [run for run_id, run in runs.items() if run_id not in known]
        self._bounds.admit(change.new_closed)
        for run in map(self._bounds.labeled, change.new_closed):
            classification = self._classify(run)
            if classification is None:
                change.pending.append(run)
            else:
                change.counted.append(self._count(run, classification))
        return change


def _is_last(page: Page, floor: int) -> bool:
    # A page without rows has no position to continue from, whatever its token.
    return not page.rows or not page.next_token or page.rows[-1].close_time < floor
