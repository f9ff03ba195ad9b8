"""A mirror of one namespace's visibility: each closed run counted once, open runs held by id, all in the ledger."""

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Final

from temporal_slo.exporter.mirror.gaps import _rest, merged
from temporal_slo.exporter.mirror.overdue_minutes import MINUTES_MAX, judge
from temporal_slo.exporter.mirror.watermark import Edge
from temporal_slo.ledger import reads, retention
from temporal_slo.ledger.change import (
    AUDIT,
    CLOSED,
    LATE,
    MINUTES,
    OPEN,
    RECONCILED,
    REPAIRED,
    UNKNOWN_STATUS,
    VANISHED,
    Change,
    Gap,
    Position,
)
from temporal_slo.ledger.ledger import Ledger
from temporal_slo.ledger.state import LongRun, OpenRun, State
from temporal_slo.names.values import PAUSED, RUNNING
from temporal_slo.runs.counted import Classification, RunningKey
from temporal_slo.runs.microseconds import MINUTE, SECOND
from temporal_slo.runs.run import SWEEP_OVERLAP, Run
from temporal_slo.temporal.visibility import PAGE_SIZE_MAX, Visibility

OVERLAP: Final = 5 * SECOND
"""How late a row may become visible and still be found by the next poll."""


JUDGED_AFTER: Final = 60 * SECOND
"""How long after its end a minute is judged: it can't be corrected, so closes that show late are waited for."""

SWEEP_INTERVAL: Final = 60 * SECOND
RECONCILE_INTERVAL: Final = 600 * SECOND

FIRST_PAGE: Final = 200
"""Rows of a steady poll's first page: what is new fits, and an idle poll stays small."""

STEADY_PAGES: Final = 5
"""Pages of closed runs that a poll reads at most; what is below is left to catching up."""

LISTS: Final[tuple[str, ...]] = (CLOSED, OPEN)

Judge = Callable[[Run], Classification | None]


class Mirror:
    """Mirror of one namespace.

    Every page is one transaction of the ledger: the rows that are new, the totals, and what is still to be read. So a
    poll that fails or is killed anywhere loses nothing, and the next counts nothing twice.

    Args:
        namespace: Whose runs.
        visibility: The list of runs.
        ledger: Where it is kept.
        state: What the ledger knows of *namespace*.
        now: Our clock, in microseconds of Unix time.
        judge: Tells what a closed run is counted as, or None if it must wait for its close event.

    Attributes:
        state: What is known; changes only after the ledger has it.
    """

    def __init__(
        self,
        namespace: str,
        visibility: Visibility,
        ledger: Ledger,
        state: State,
        now: int,
        *,
        judge: Judge,
    ) -> None:
        self._namespace = namespace
        self._visibility = visibility
        self._ledger = ledger
        self._judge = judge
        self.state = state
        self._edges = {name: Edge(state.positions[name], now) for name in LISTS if name in state.positions}
        self._cursors: dict[Gap, tuple[bytes, int | None]] = {}
        self._began = now
        # By our clock, as it also is for who is overdue now.
        self._first_minute = -(-now // MINUTE) * MINUTE
        self._polled = now
        # The first poll sweeps: before a restart there may have been rows that were late.
        self._swept: int | None = None
        self._reconciled: int | None = None
        self._missing: set[str] = set()

    async def poll(self, now: int) -> None:
        """Read what is new, and what is open.

        Args:
            now: Our clock, in microseconds of Unix time.

        Raises:
            TemporalRequestError: A request brought no answer; what was read before it is counted.
            LedgerError: Something could not be written; it was not counted.
        """
        await self._ledger.recover(self._namespace)
        if not self._edges:
            await self._begin(now)
        sweep = _due(self._swept, SWEEP_INTERVAL, now)
        floors = {name: self._floor(name, sweep=sweep) for name in self._edges}
        size = PAGE_SIZE_MAX if sweep else FIRST_PAGE
        # Open runs first: one that closes in between is then found closed, never left behind as open.
        listed = await self._read_open(now, floors[OPEN], size)
        await self._read_closed(now, floors[CLOSED], size)
        await self._forget_missing(listed, now)
        self._polled = now
        if sweep:
            self._swept = now
            await self._judge_minutes(now)
            await self._ledger.transact(retention.expire, self._namespace, self._ledger.epoch, self._lowest(), now)

    async def catch_up(self, now: int) -> bool:
        """Read one page of what was passed over; return whether there is more.

        Args:
            now: Our clock, in microseconds of Unix time.

        Raises:
            TemporalRequestError: The request brought no answer.
            LedgerError: Something could not be written; it was not counted.
        """
        await self._ledger.recover(self._namespace)
        if not self.state.gaps:
            return False
        *others, gap = self.state.gaps
        # By the token where there is one: the filter on close time, needed after a restart, ends in a scan.
        token, until = self._cursors.pop(gap, (b"", gap.high))
        page = await self._visibility.closed(PAGE_SIZE_MAX, token, until)
        rows = [run for run in page.rows if run.close_time >= gap.low]
        change = await self._new_closed(rows)
        rest = _rest(page, rows, gap.low)
        change.gaps = merged([*others, *rest])
        await self.commit(change, now)
        self._cursors.update(dict.fromkeys(rest, (page.next_token, until)))
        await self._judge_minutes(now)
        return bool(self.state.gaps)

    async def commit(self, change: Change, now: int) -> None:
        """Write *change*, and only then move on in memory.

        Raises:
            LedgerError: It could not be written.
        """
        if change != Change():
            await self._ledger.commit(self._namespace, change, now, written=self.state.apply)

    async def _begin(self, now: int) -> None:
        """Place the edges at the first poll ever: what closed or started before the exporter began is not counted.

        By the server's clock where it can be told from the newest row, else by ours.
        """
        if CLOSED in self.state.positions:  # they were written, but the answer was lost
            self._edges = {name: Edge(self.state.positions[name], now) for name in LISTS}
            return
        closed = await self._visibility.closed(1)
        running = await self._visibility.running(1)
        newest = {
            CLOSED: max((run.close_time for run in closed.rows), default=-1),
            OPEN: max((run.start_time for run in running.rows), default=-1),
        }
        lowest = {name: min(moment + 1, self._began) for name, moment in newest.items()}
        lowest[MINUTES] = self._first_minute
        await self.commit(Change(positions={name: Position(low, low) for name, low in lowest.items()}), now)
        self._edges = {name: Edge(self.state.positions[name], now) for name in LISTS}

    async def _judge_minutes(self, now: int) -> None:
        """Judge the minutes that no close which is still to be read can change: what the last sweep left is read."""
        if self.state.gaps or self._swept is None:
            return
        # The ledger of an older version has judged none.
        begin = self._first_minute
        lowest, first = self.state.positions.get(MINUTES, Position(begin, begin))
        last = min((self._swept - JUDGED_AFTER) // MINUTE, first // MINUTE + MINUTES_MAX) * MINUTE
        if last <= first:
            return
        runs: Iterable[OpenRun | LongRun] = [*self.state.open.values(), *self.state.long.values()]
        judged = [hour for rule in self.state.overdue for hour in judge(rule, runs, first, last)]
        await self.commit(Change(judged=judged, positions={MINUTES: Position(lowest, last)}), now)

    async def _read_closed(self, now: int, floor: int, size: int) -> None:
        edge, token = self._edges[CLOSED], b""
        known = edge.position.position
        # What this read has passed is taken out of the gap that it left a page ago.
        below = self.state.gaps
        for _ in range(STEADY_PAGES):
            page = await self._visibility.closed(size, token)
            rows = [run for run in page.rows if run.close_time >= floor]
            change = await self._new_closed(rows)
            ahead = edge.ahead((run.close_time for run in rows), now)
            rest = _rest(page, rows, floor)
            gaps = merged([*below, *rest])
            # An idle poll writes nothing.
            change.gaps = None if gaps == self.state.gaps else gaps
            change.positions = {CLOSED: ahead} if ahead else {}
            if late := sum(run.close_time < known for run in change.seen):
                change.others[LATE] += late
            await self.commit(change, now)
            edge.move(ahead, now)
            if not rest:
                return
            token, size = page.next_token, PAGE_SIZE_MAX
        self._cursors.update(dict.fromkeys(rest, (token, None)))

    async def _new_closed(self, rows: Iterable[Run]) -> Change:
        """Return what the closed runs among *rows* change that are not known yet."""
        change = Change()
        runs = {run.run_id: run for run in _with_status(rows, change) if run.close_time}
        unseen = await self._ledger.transact(reads.unseen, self._namespace, list(runs)) if runs else ()
        for run_id, run in runs.items():
            if run_id in unseen:
                change.seen.append(run)
                if run.close_time < self._audited:
                    change.others[REPAIRED] += 1
                self._start(run, change)
                if self.state.was_overdue(run):
                    change.long.append(run)
                verdict = self._judge(run)
                if verdict is None:
                    change.pending.append(run)
                else:
                    change.counted.append(self.state.counted(run, verdict))
        return change

    def _start(self, run: Run, change: Change) -> None:
        if run.run_id in self.state.open:
            change.left.append(run.run_id)
        elif run.start_time >= self._edges[OPEN].position.lowest:
            change.started[RunningKey(run.workflow_type, run.task_queue)] += 1

    async def _read_open(self, now: int, floor: int, size: int) -> set[str] | None:
        """Read open runs down to the edge; all of them, and return their ids, when they are to be reconciled."""
        reconcile = _due(self._reconciled, RECONCILE_INTERVAL, now)
        edge, token, listed = self._edges[OPEN], b"", set[str]()
        steady, ahead = floor, None
        floor, size = (0, PAGE_SIZE_MAX) if reconcile else (floor, size)
        while True:
            page = await self._visibility.running(size, token, paused=reconcile)
            rows = [run for run in page.rows if run.start_time >= floor]
            ahead = ahead or edge.ahead((run.start_time for run in rows), now)
            listed.update(run.run_id for run in rows)
            change = await self._new_open(rows)
            if found := sum(edge.position.lowest <= run.start_time < steady for run in change.opened):
                change.others[RECONCILED] += found
            if done := not _rest(page, rows, floor):
                # The edge moves only when all above it was read: this list leaves no gaps.
                change.positions = {OPEN: ahead} if ahead else {}
            await self.commit(change, now)
            if done:
                break
            token, size = page.next_token, PAGE_SIZE_MAX
        edge.move(ahead, now)
        if reconcile:
            # Again soon after the first: a run that closed just before counting began may still have been listed.
            again = 0 if self._reconciled else RECONCILE_INTERVAL - SWEEP_INTERVAL
            self._reconciled = now - again
        return listed if reconcile else None

    async def _new_open(self, rows: Iterable[Run]) -> Change:
        change = Change()
        runs = {run.run_id: run for run in _with_status(rows, change) if run.status in {RUNNING, PAUSED}}
        known = ((run_id, run.status == PAUSED) for run_id, run in runs.items() if run_id in self.state.open)
        change.paused = {run_id: paused for run_id, paused in known if paused != self.state.open[run_id].paused}
        new = [run_id for run_id in runs if run_id not in self.state.open]
        # A listing may lag: a run whose close was seen is not open.
        for run_id in await self._ledger.transact(reads.unseen, self._namespace, new) if new else ():
            run = runs[run_id]
            change.opened.append(run)
            if run.start_time >= self._edges[OPEN].position.lowest:
                change.started[RunningKey(run.workflow_type, run.task_queue)] += 1
        return change

    async def _forget_missing(self, listed: set[str] | None, now: int) -> None:
        """Remove open runs that a reconciliation did not list and whose close no poll has found since."""
        if listed is not None:
            self._missing = {run_id for run_id in self.state.open if run_id not in listed}
        elif self._missing and not self.state.gaps:
            gone = [run_id for run_id in self._missing if run_id in self.state.open]
            self._missing = set()
            if gone:
                await self.commit(Change(left=gone, others=Counter({VANISHED: len(gone)})), now)

    @property
    def _audited(self) -> int:
        """Close time below which only an audit finds runs."""
        return self.state.positions[AUDIT].position if AUDIT in self.state.positions else 0

    def _floor(self, name: str, *, sweep: bool) -> int:
        last, grace = (self._swept, SWEEP_OVERLAP) if sweep else (self._polled, OVERLAP)
        return self._edges[name].floor(self._began if last is None else last, grace)

    def _lowest(self) -> int:
        """Return the close time below which no row will ever be read again, wherever the edge moves to."""
        return min([self._edges[CLOSED].position.position - SWEEP_OVERLAP, *(gap.low for gap in self.state.gaps)])


def _due(last: int | None, interval: int, now: int) -> bool:
    # A clock that was set back counts as due, not as not due until it has caught up.
    return last is None or not 0 <= now - last < interval


def _with_status(rows: Iterable[Run], change: Change) -> Iterable[Run]:
    for run in rows:
        if run.status:
            yield run
        else:
            change.others[UNKNOWN_STATUS] += 1
