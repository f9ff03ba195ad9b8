"""Executions of backfilled runs: read newest first, each waits until the runs before it are read."""

import asyncio
import heapq
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from temporal_slo.errors import LedgerError, TemporalRequestError
from temporal_slo.exporter.mirror.chain_starts import execution_start
from temporal_slo.exporter.mirror.chains import Chains, only_differences
from temporal_slo.exporter.mirror.execution_step import Read, Step
from temporal_slo.exporter.mirror.slo_rules import SloRules
from temporal_slo.ledger.backfill import BackfillChange, BackfillStore, Progress
from temporal_slo.ledger.change import CLOSED, Change, Gap, Position
from temporal_slo.ledger.ledger import Ledger
from temporal_slo.ledger.state import State
from temporal_slo.runs.executions import ASKS, NEXT_RUN_WITHIN, ChainRun
from temporal_slo.temporal.start_events import StartEvents

BATCH: Final = 64


class ExecutionsBackfillStore(BackfillStore):
    """Backfilled runs of one namespace in the ledger, with what they say about executions.

    Args:
        ledger: The ledger.
        namespace: Temporal namespace.
        end: Exclusive end of the backfilled close times, in microseconds of Unix time.
        floor: Oldest requested close time.
        rules: Returns what the SLOs require.
    """

    def __init__(self, ledger: Ledger, namespace: str, end: int, *, floor: int, rules: Callable[[], SloRules]) -> None:
        super().__init__(ledger, namespace, end)
        self._floor = floor
        self._rules = rules
        # Pages and close events are committed by two loops, and each looks at what the other has written.
        self._committing = asyncio.Lock()
        self._state: State | None = None
        self._waiting: list[tuple[int, str]] = []

    async def commit(self, change: BackfillChange, now: int) -> Progress:
        """Add to *change* what it says about executions, write it in one transaction, and return the progress.

        Args:
            change: What to write.
            now: Current time, in microseconds of Unix time.

        Raises:
            LedgerError: Whether it was written is unknown.
        """
        async with self._committing:
            state = await self._loaded()
            try:
                progress = await self.progress()
                self._complete(change, state, progress)
                after = await super().commit(change, now)
            except LedgerError:
                self._state = None
                raise
            applied = Change(chain_runs=change.chain_runs, unchained=change.unchained)
            state.apply(applied)
            self._wait(change.chain_runs.values())
            return after

    async def ask(self, events: StartEvents, now: int) -> Progress:
        """Ask for the start of the executions that began before all that is read, and return the progress.

        Args:
            events: Reads start events.
            now: Local clock, in microseconds of Unix time.

        Raises:
            TemporalRequestError: There is no answer; the runs are asked for again.
            LedgerError: The ledger could not be read or written.
        """
        async with self._committing:
            asks = [one for one in self._chain_runs(await self._loaded()) if one.execution_start == ASKS][:BATCH]
        if asks:
            found = await asyncio.gather(*(_start(events, one) for one in asks))
            change = BackfillChange(chain_runs={one.run.run_id: one for one in found if one})
            await self.commit(change, now)
            if not all(found):
                raise TemporalRequestError("UNAVAILABLE", "start events could not be read")
        return await self.progress()

    async def waiting(self) -> int:
        """Return the number of runs whose start of execution is not known yet."""
        async with self._committing:
            return sum(not one.is_settled for one in self._chain_runs(await self._loaded()))

    async def _loaded(self) -> State:
        if self._state is None:
            # Runs that closed before the requested time are not read: who continues one of them must ask.
            state = State(positions={CLOSED: Position(self._floor, self._floor)})
            state.apply(Change(chain_runs={one.run.run_id: one for one in await self.chain_runs()}))
            self._state, self._waiting = state, []
            self._wait(self._chain_runs(state))
        return self._state

    @staticmethod
    def _chain_runs(state: State) -> Iterator[ChainRun]:
        return (one for runs in state.chain_runs.values() for one in runs.values())

    def _wait(self, chain_runs: Iterable[ChainRun]) -> None:
        for one in chain_runs:
            if not one.is_settled:
                heapq.heappush(self._waiting, (-one.run.start_time, one.run.workflow_id))

    def _complete(self, change: BackfillChange, state: State, before: Progress) -> None:
        position = before.position if change.position is None else change.position
        gaps = (Gap(self._floor, position),) if position >= self._floor else ()
        completed = Change(
            new_closed=change.new_closed,
            counted=change.counted,
            pending=change.pending,
            gaps=gaps,
            chain_runs=change.chain_runs,
        )
        chains = Chains(state.chain_runs)
        step = Step(state, completed, self._rules(), chains, Read(sys.maxsize, frozenset()))
        touched = step.take_closed() | step.take_answers() | self._released(position) | step.take_counted()
        step.settle(touched, ())
        # The run after it is read already, unless it closed in the minutes that are read again.
        over = self.end if before.rescanned or change.rescanned else self.rescan_from
        chains.forget_continued(over)
        change.counted, change.bad_executions = completed.counted, completed.bad_executions
        change.chain_runs, change.unchained = chains.changed(), chains.removed()
        change.observed = only_differences(completed.observed)

    def _released(self, position: int) -> set[str]:
        """Return the workflow ids of runs before which everything is read."""
        released = set[str]()
        while self._waiting and (position < self._floor or -self._waiting[0][0] - NEXT_RUN_WITHIN > position):
            released.add(heapq.heappop(self._waiting)[1])
        return released


async def _start(events: StartEvents, one: ChainRun) -> ChainRun | None:
    try:
        start, _ = await execution_start(events, one.run)
    except TemporalRequestError:
        return None
    return one._replace(execution_start=start)
