"""A mirror of one namespace's visibility: each closed run counted once, open runs held by id, all in the ledger."""

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from temporal_slo.exporter.mirror.closed_runs import Classify, ClosedRuns
from temporal_slo.exporter.mirror.exemplars import Exemplars
from temporal_slo.exporter.mirror.open_runs import OpenRuns, due
from temporal_slo.exporter.mirror.overdue_minutes import OverdueMinutes
from temporal_slo.exporter.mirror.samples import samples
from temporal_slo.exporter.mirror.series_bounds import SeriesBounds
from temporal_slo.exporter.mirror.slo_rules import SloRules
from temporal_slo.exporter.mirror.store import MirrorStore
from temporal_slo.exporter.mirror.watermark import Watermark
from temporal_slo.ledger import retention
from temporal_slo.ledger.change import CLOSED, MINUTES, OPEN, Change, Position
from temporal_slo.ledger.ledger import Ledger
from temporal_slo.ledger.state import State
from temporal_slo.names.samples import Sample
from temporal_slo.runs.microseconds import SECOND
from temporal_slo.runs.run import SWEEP_OVERLAP
from temporal_slo.spec.bound import BoundSlo
from temporal_slo.temporal.visibility import PAGE_SIZE_MAX, Visibility

OVERLAP: Final = 5 * SECOND
"""How late a row may become visible and still be found by the next poll."""

SWEEP_INTERVAL: Final = 60 * SECOND

FIRST_PAGE: Final = 200
"""Rows of the first page of a poll: new rows fit, and an idle poll stays small."""


class Mirror:
    """Mirror of one namespace.

    Every page is one transaction of the ledger: its new rows, the totals, and the gap that is left. So a poll that
    fails or is killed at any point loses nothing, and the next one counts nothing twice.

    Args:
        namespace: Temporal namespace.
        visibility: Lists runs.
        ledger: Persists what is read.
        state: What the ledger has of *namespace*.
        now: Local clock, in microseconds of Unix time.
        classify: Classifies a closed run by its row, or returns None if that needs its close event.
        rules: What the SLOs require.
        exemplars: Collects exemplars.
        bounds: Limits workflow types and task queues; None for the default limits.
        stopwatch: Measures how long a poll takes: time in seconds that never goes back.

    Attributes:
        store: Facts, rules and exemplars.
    """

    def __init__(
        self,
        namespace: str,
        visibility: Visibility,
        ledger: Ledger,
        state: State,
        now: int,
        *,
        classify: Classify,
        rules: SloRules | None = None,
        exemplars: Exemplars | None = None,
        bounds: SeriesBounds | None = None,
        stopwatch: Callable[[], float] = time.monotonic,
    ) -> None:
        self.store = MirrorStore(namespace, ledger, state, rules=rules, exemplars=exemplars, bounds=bounds)
        self._ledger = ledger
        self._visibility = visibility
        self._closed = ClosedRuns(self.store, visibility, classify, now)
        self._open = OpenRuns(self.store, visibility, now)
        self._minutes = OverdueMinutes(self.store, now)
        self._created = self._polled = now
        # The first poll sweeps: rows from before a restart may have become visible late.
        self._swept: int | None = None
        self._stopwatch = stopwatch
        self._took = 0

    @property
    def state(self) -> State:
        """The facts; they change only after the ledger has them."""
        return self.store.state

    def apply_slos(self, slos: Sequence[BoundSlo]) -> None:
        """Use the rules of *slos* from now on. Runs that are counted already keep their classification."""
        self.store.rules = SloRules.of(slos)
        self.store.bounds.apply_slos(slos)

    def samples(self, now: int) -> Iterable[Sample]:
        """Return the metrics of the namespace.

        Args:
            now: Local clock, in microseconds of Unix time.
        """
        return samples(self.store, now)

    async def poll(self, now: int) -> None:
        """Read new closed runs, and open runs.

        Args:
            now: Local clock, in microseconds of Unix time.

        Raises:
            TemporalRequestError: A request failed; the pages before it are counted.
            LedgerError: A page could not be written; it is not counted.
        """
        began = self._stopwatch()
        try:
            await self._poll(now)
        except BaseException:
            # Pages that it has counted may have moved the watermarks.
            self._took = max(self._took, self._microseconds_since(began))
            raise
        self._took = self._microseconds_since(began)

    async def _poll(self, now: int) -> None:
        await self.store.recover()
        closed, opened = await self._watermarks(now)
        sweep = due(self._swept, SWEEP_INTERVAL, now)
        closed_floor, open_floor = self._floor(closed, sweep=sweep), self._floor(opened, sweep=sweep)
        size = PAGE_SIZE_MAX if sweep else FIRST_PAGE
        # Open runs first: a run that closes in between is then found closed, and does not stay open.
        listed = await self._open.read(opened, now, open_floor, size)
        await self._closed.read(closed, now, closed_floor, size)
        await self._open.drop_missing(listed, now)
        await self.store.commit(Change(), now, polled=now)
        self._polled = now
        if sweep:
            self._swept = now
            await self._minutes.evaluate(now, now)
            lowest = self._lowest(closed)
            await self._ledger.transact(retention.expire, self.store.namespace, self._ledger.epoch, lowest, now)

    async def catch_up(self, now: int) -> bool:
        """Read one page of a gap; return whether gaps are left.

        Args:
            now: Local clock, in microseconds of Unix time.

        Raises:
            TemporalRequestError: The request failed.
            LedgerError: The page could not be written; it is not counted.
        """
        await self.store.recover()
        if not self.state.gaps:
            return False
        await self._closed.catch_up(now)
        if self._swept is not None:
            await self._minutes.evaluate(self._swept, now)
        return bool(self.state.gaps)

    async def _watermarks(self, now: int) -> tuple[Watermark, Watermark]:
        """Return the watermarks of closed and of open runs; the first poll of a ledger places them."""
        if self._closed.watermark is None or self._open.watermark is None:
            # If an earlier attempt was committed without an acknowledgement, the positions are there already.
            if CLOSED not in self.state.positions:
                await self._begin(now)
            self._closed.watermark = Watermark(self.state.positions[CLOSED], now)
            self._open.watermark = Watermark(self.state.positions[OPEN], now)
        return self._closed.watermark, self._open.watermark

    async def _begin(self, now: int) -> None:
        """Write the first positions: runs that closed or started before the exporter began are not counted.

        The newest row gives the server's time; without rows the local clock is used.
        """
        closed = await self._visibility.closed(1)
        running = await self._visibility.running(1)
        newest = {
            CLOSED: max((run.close_time for run in closed.rows), default=-1),
            OPEN: max((run.start_time for run in running.rows), default=-1),
        }
        lowest = {name: min(time + 1, self._created) for name, time in newest.items()}
        lowest[MINUTES] = self._minutes.first
        await self.store.commit(Change(positions={name: Position(low, low) for name, low in lowest.items()}), now)

    def _floor(self, watermark: Watermark, *, sweep: bool) -> int:
        last, grace = (self._swept, SWEEP_OVERLAP) if sweep else (self._polled, OVERLAP)
        # A page may be merged from lists that were read one after the other: a run that closed in between is missing,
        # though one that closed after it may be there.
        return watermark.floor(self._created if last is None else last, grace + self._took)

    def _microseconds_since(self, began: float) -> int:
        return round((self._stopwatch() - began) * SECOND)

    def _lowest(self, closed: Watermark) -> int:
        """Return the close time below which no row is read again, wherever the watermark moves."""
        return min([closed.position.position - SWEEP_OVERLAP, *(gap.low for gap in self.state.gaps)])
