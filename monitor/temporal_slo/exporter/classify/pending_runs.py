"""Decides what closed runs are counted as: at once where visibility is enough, else once their close event is read."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Final

from temporal_slo.errors import LedgerError, TemporalRequestError
from temporal_slo.exporter.classify.classifier import Judge
from temporal_slo.exporter.mirror.mirror import Mirror
from temporal_slo.ledger import reads
from temporal_slo.ledger.change import GONE, Change
from temporal_slo.ledger.ledger import Ledger
from temporal_slo.ledger.reads import PendingRun, SortKey
from temporal_slo.runs.counted import Classification
from temporal_slo.runs.microseconds import SECOND
from temporal_slo.runs.run import Run
from temporal_slo.temporal.close_events import CloseEvents

DEADLINE: Final = 15 * 60 * SECOND
"""How long a run waits for its close event before it is counted without."""

BATCH: Final = 64
"""Runs that are read at once; at most twice as many are under way, so that urgent ones soon have a turn."""

BATCH_MAX: Final = 4 * BATCH
"""The same where answers come fast: reading and writing then cost less a run."""

LAP: Final = 50 * BATCH
"""Runs that are asked for, each once, before those that could not be settled are asked for again."""

IDLE: Final = 0.5
"""Seconds to the next lap, and at most to the next write."""

log = logging.getLogger(__name__)

Asked = tuple[Run, Classification | None, bool]
"""A run, what it is counted as if that can be told, and whether its close event is gone."""


class Settler:
    """Fetches the close events of runs that wait for them, and counts the runs.

    Args:
        namespace: Whose runs.
        mirror: Counts them.
        ledger: Knows which ones wait.
        history: Has the events.
        judge: Decides.
        clock: Unix time in seconds.
        sleep: Waits so many seconds.
    """

    def __init__(
        self,
        namespace: str,
        mirror: Mirror,
        ledger: Ledger,
        history: CloseEvents,
        *,
        judge: Judge,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._namespace = namespace
        self._mirror = mirror
        self._ledger = ledger
        self._history = history
        self._judge = judge
        self._clock = clock
        self._sleep = sleep

    async def run(self) -> None:
        """Settle runs until cancelled."""
        trouble = None
        while True:
            settled, before, trouble = 0, trouble, None
            try:
                if self._mirror.state.waiting:
                    settled = await self.settle()
            except LedgerError as error:
                trouble = str(error)
                if trouble != before:
                    log.warning("%s: close events cannot be noted: %s", self._namespace, trouble)
            if settled < LAP:
                await self._sleep(IDLE)

    async def settle(self) -> int:
        """Ask once for every waiting run, or for LAP of them, and return how many are settled.

        Raises:
            LedgerError: Some could not be read or written; they are asked for again.
        """
        passed: dict[int, SortKey] = {}
        asking, before = list[asyncio.Task[Asked]](), list[asyncio.Task[Asked]]()
        asked, settled, size = 0, 0, BATCH
        try:
            while True:
                # One batch is asked for while the one before it is written: the network has no time to be idle.
                fresh = await self._ask(passed, size) if len(asking) <= size and asked < LAP else []
                asking, asked = asking + fresh, asked + len(fresh)
                if not asking:
                    return settled
                if awaited := before if fresh else asking:
                    _, late = await asyncio.wait(awaited, timeout=IDLE)
                    size = BATCH if late else min(2 * size, BATCH_MAX)
                done = [task.result() for task in asking if task.done()]
                asking, before = [task for task in asking if not task.done()], fresh
                settled += await self._count(done)
        finally:
            for task in asking:
                task.cancel()

    async def _ask(self, passed: dict[int, SortKey], size: int) -> list[asyncio.Task[Asked]]:
        """Ask for the next runs beyond the places *passed*, and move them."""
        rows = await self._ledger.transact(reads.pending_runs, self._namespace, size, passed)
        passed.update({row.rank: row.sort_key for row in rows})
        return [asyncio.create_task(self._find(row)) for row in rows]

    async def _count(self, asked: Iterable[Asked]) -> int:
        change = Change()
        for run, found, gone in asked:
            if found:
                change.settled.append(run.run_id)
                bounded = self._judge.bound(run, found, change)
                change.counted.append(self._mirror.state.counted(run, bounded))
                if gone:
                    change.others[GONE] += 1
        await self._mirror.commit(change, self._now())
        return len(change.settled)

    async def _find(self, row: PendingRun) -> Asked:
        run, late = row.run, self._now() - row.inserted > DEADLINE
        try:
            event = await self._history.close_event(run.workflow_id, run.run_id)
        except TemporalRequestError:
            event, answered = None, False
        else:
            answered = True
        found = await self._judge.with_event(run, event) if event else None
        if found or not (late or (answered and not event)):
            return run, found, False
        return run, self._judge.without_event(run), True

    def _now(self) -> int:
        return int(self._clock() * SECOND)
