"""Reads runs that closed before counting began, newest first, page by page."""

from collections.abc import Callable
from typing import Final, NamedTuple

from temporal_slo.errors import LedgerError, TemporalRequestError
from temporal_slo.ledger.backfill import BackfillChange, BackfillStore, Progress
from temporal_slo.runs.counted import Classification, Counted
from temporal_slo.runs.run import Run
from temporal_slo.temporal.rate_limit import OVERLOAD_CODES
from temporal_slo.temporal.visibility import PAGE_SIZE_MAX, Page, Visibility

EPSILON: Final = 1
"""Microseconds more that a filter on close time lets through: some stores keep more digits than rows tell."""


class Cursor(NamedTuple):
    """The page that follows: its token, and the close time that the list is filtered by."""

    token: bytes = b""
    until: int | None = None


class BackfillReader:
    """Reads the past of one namespace.

    Each page is one transaction: its runs, and the close time down to which all is read, with the ids of the runs at
    that very time. So a run is counted once, whatever is killed whenever.

    Args:
        past: Keeps it.
        visibility: Lists runs.
        classify: Classifies a run by its row, or returns None if that needs its close event.
        count: Returns a run as it is to be counted.
        floor: The oldest close time that is asked for, in microseconds of Unix time.
        page_size: Rows of a page.
    """

    def __init__(
        self,
        past: BackfillStore,
        visibility: Visibility,
        *,
        classify: Callable[[Run], Classification | None],
        count: Callable[[Run, Classification], Counted],
        floor: int,
        page_size: int = PAGE_SIZE_MAX,
    ) -> None:
        self._past = past
        self._visibility = visibility
        self._classify = classify
        self._count = count
        self._floor = floor
        self._page_size = page_size
        self._cursor = Cursor()

    def done(self, progress: Progress) -> bool:
        """Return whether all that was asked for is read."""
        return progress.position < self._floor

    async def page(self, now: int) -> Progress:
        """Read one page, and return how far that leads.

        Args:
            now: Our clock, in microseconds of Unix time.

        Raises:
            TemporalRequestError: The request brought no answer.
            LedgerError: It could not be written, or not for sure: what is read next is what the ledger then lacks.
        """
        before = await self._past.progress()
        page = await self._ask(before)
        if page is None:
            return before
        rows = [run for run in page.rows if self._floor <= run.close_time <= before.position]
        change = await self._new(rows)
        change.position = self._lowest(page, rows, before)
        try:
            after = await self._past.commit(change, now)
        except LedgerError:
            self._cursor = Cursor(until=before.position + EPSILON)
            raise
        self._cursor = Cursor(page.next_token, self._cursor.until)
        return after

    async def second_look(self, now: int) -> Progress:
        """Read the youngest of the past once more, for runs that were not visible at first; return how far that leads.

        Args:
            now: Our clock, in microseconds of Unix time; late enough for all to be visible.

        Raises:
            TemporalRequestError: A request brought no answer.
            LedgerError: Something could not be written.
        """
        floor, until = max(self._floor, self._past.rescan_from), self._past.end - 1
        token, done = b"", False
        while not done:
            page = await self._visibility.closed(self._page_size, token, until + EPSILON)
            change = await self._new([run for run in page.rows if floor <= run.close_time <= until])
            done = change.rescanned = _ends(page, floor)
            after = await self._past.commit(change, now)
            token = page.next_token
        return after

    async def _ask(self, before: Progress) -> Page | None:
        """Return the page that follows; None if another must be asked for."""
        try:
            page = await self._visibility.closed(self._page_size, *self._cursor)
        except TemporalRequestError as error:
            if error.code not in OVERLOAD_CODES:
                # It may be the token that is no longer understood.
                self._cursor = Cursor(until=before.position + EPSILON)
            raise
        if self._cursor == Cursor() and page.next_token and page.rows and page.rows[-1].close_time > before.position:
            # The end of the past is not on the first page. Only a filter leads there, though it costs a scan.
            self._cursor = Cursor(until=before.position + EPSILON)
            return None
        return page

    def _lowest(self, page: Page, rows: list[Run], before: Progress) -> int:
        if _ends(page, self._floor):
            return self._floor - 1
        return rows[-1].close_time if rows else before.position

    async def _new(self, rows: list[Run]) -> BackfillChange:
        """Return what the runs among *rows* change that are not known yet."""
        change, runs = BackfillChange(), {run.run_id: run for run in rows if run.status}
        change.unknown_status = sum(run.status is None for run in rows)
        known = await self._past.known(runs) if runs else set()
        for run in (run for run_id, run in runs.items() if run_id not in known):
            change.new_closed.append(run)
            classification = self._classify(run)
            if classification is None:
                change.pending.append(run)
            else:
                change.counted.append(self._count(run, classification))
        return change


def _ends(page: Page, floor: int) -> bool:
    # A page without rows has no place to go on from, whatever its token says.
    return not page.rows or not page.next_token or page.rows[-1].close_time < floor
