"""Holds open runs by id: new ones are found newest start first, and all are listed every ten minutes."""

from collections import Counter
from collections.abc import Iterable
from typing import Final

from temporal_slo import names
from temporal_slo.exporter.mirror.closed_runs import with_status
from temporal_slo.exporter.mirror.gaps import unread
from temporal_slo.exporter.mirror.store import MirrorStore
from temporal_slo.exporter.mirror.watermark import Watermark
from temporal_slo.ledger.change import OPEN, Change
from temporal_slo.names.values import PAUSED, RUNNING
from temporal_slo.runs.microseconds import SECOND
from temporal_slo.runs.run import Run
from temporal_slo.temporal.visibility import PAGE_SIZE_MAX, Visibility

RECONCILE_INTERVAL: Final = 600 * SECOND
RECONCILE_AGAIN: Final = 60 * SECOND
"""When the first reconciliation is repeated: a run that closed just before counting began may have been listed."""


class OpenRuns:
    """Holds the open runs of one namespace.

    Args:
        store: Gets what is new.
        visibility: Lists runs.
        now: Local clock, in microseconds of Unix time.

    Attributes:
        watermark: How far the list is read; None before the first poll.
    """

    def __init__(self, store: MirrorStore, visibility: Visibility, now: int) -> None:
        self._store = store
        self._visibility = visibility
        self._reconciled: int | None = None
        self._missing: set[str] = set()
        position = store.state.positions.get(OPEN)
        self.watermark = None if position is None else Watermark(position, now)

    async def read(self, watermark: Watermark, now: int, floor: int, size: int) -> set[str] | None:
        """Read open runs down to *floor*, or all of them if a reconciliation is due.

        Args:
            watermark: Moves to the newest row.
            now: Local clock, in microseconds of Unix time.
            floor: Start time down to which a row may be new.
            size: Rows of the first page.

        Returns:
            The ids of all open runs after a reconciliation, else None.

        Raises:
            TemporalRequestError: A request failed; the pages before it are kept.
            LedgerError: A page could not be written; it is not kept.
        """
        if not due(self._reconciled, RECONCILE_INTERVAL, now):
            await self._read(watermark, now, floor, floor, size)
            return None
        listed = await self._read(watermark, now, 0, floor, PAGE_SIZE_MAX, paused=True)
        self._reconciled = now if self._reconciled else now - RECONCILE_INTERVAL + RECONCILE_AGAIN
        return listed

    async def _read(
        self, watermark: Watermark, now: int, floor: int, steady: int, size: int, *, paused: bool = False
    ) -> set[str]:
        """Read down to *floor* and return the ids; new runs below *steady* were missed by the polls before."""
        token, listed, ahead = b"", set[str](), None
        lowest, complete = watermark.position.lowest, False
        while not complete:
            page = await self._visibility.running(size, token, paused=paused)
            rows = [run for run in page.rows if run.start_time >= floor]
            ahead = ahead or watermark.ahead((run.start_time for run in rows), now)
            listed.update(run.run_id for run in rows)
            change = await self._new(rows)
            if found := sum(lowest <= run.start_time < steady for run in change.new_open):
                change.counters[names.EXPORTER_RECONCILED_RUNS] += found
            complete = not unread(page, rows, floor)
            # The watermark moves only when all rows above it are read: this list leaves no gaps.
            change.positions = {OPEN: ahead} if complete and ahead else {}
            await self._store.commit(change, now)
            token, size = page.next_token, PAGE_SIZE_MAX
        watermark.move(ahead, now)
        return listed

    async def drop_missing(self, listed: set[str] | None, now: int) -> None:
        """Drop open runs that a reconciliation did not list and whose close no poll found since: they were deleted.

        Args:
            listed: Ids that a reconciliation has just listed; None if there was none.
            now: Local clock, in microseconds of Unix time.

        Raises:
            LedgerError: The change could not be written.
        """
        state = self._store.state
        if listed is not None:
            self._missing = {run_id for run_id in state.open if run_id not in listed}
        elif self._missing and not state.gaps:
            deleted = [run_id for run_id in self._missing if run_id in state.open]
            self._missing = set()
            if deleted:
                counters = Counter({names.EXPORTER_VANISHED_RUNS: len(deleted)})
                await self._store.commit(Change(no_longer_open=deleted, counters=counters), now)

    async def _new(self, rows: Iterable[Run]) -> Change:
        change, state = Change(), self._store.state
        runs = {run.run_id: run for run in with_status(rows, change) if run.status in {RUNNING, PAUSED}}
        known = ((run_id, run.status == PAUSED) for run_id, run in runs.items() if run_id in state.open)
        change.paused = {run_id: paused for run_id, paused in known if paused != state.open[run_id].paused}
        new = [run_id for run_id in runs if run_id not in state.open]
        # A listing may lag: a run whose close was seen is not open.
        change.new_open = [runs[run_id] for run_id in await self._store.unseen(new)]
        self._store.bounds.admit(change.new_open)
        for run in change.new_open:
            key = self._store.bounds.key(run, change)
            if run.start_time >= state.positions[OPEN].lowest:
                change.started[key] += 1
        return change


def due(last: int | None, interval: int, now: int) -> bool:
    """Return whether *interval* has passed since *last*; all are microseconds of the local clock."""
    # After the clock was set back it is due, not postponed until the clock has caught up.
    return last is None or not 0 <= now - last < interval
