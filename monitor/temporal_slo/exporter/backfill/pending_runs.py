"""Fetches the close events of runs that closed before counting began, when no live run wants one."""

import asyncio
from collections.abc import Callable
from typing import Final

from temporal_slo.errors import TemporalRequestError
from temporal_slo.exporter.classify.classifier import Judge
from temporal_slo.exporter.classify.pending_runs import DEADLINE
from temporal_slo.ledger.backfill import BackfillChange, BackfillStore, Progress
from temporal_slo.ledger.change import Change
from temporal_slo.ledger.reads import SortKey
from temporal_slo.runs.counted import Classification, Counted
from temporal_slo.runs.run import Run
from temporal_slo.temporal.close_events import CloseEvents

BATCH: Final = 64


class PastSettler:
    """Counts runs of the past that wait for their close event.

    Args:
        past: Knows which ones wait.
        history: Has the events.
        judge: Decides.
        count: Returns a run as it is to be counted.
    """

    def __init__(
        self, past: BackfillStore, history: CloseEvents, judge: Judge, count: Callable[[Run, Classification], Counted]
    ) -> None:
        self._past = past
        self._history = history
        self._judge = judge
        self._count = count
        # Since when a run's event could not be asked for. No more runs than may wait.
        self._failing: dict[str, int] = {}

    async def settle(self, now: Callable[[], int]) -> Progress:
        """Ask once for every run that waits, the newest first, and return how far that leads.

        Args:
            now: Our clock, in microseconds of Unix time.

        Raises:
            LedgerError: Some could not be read or written; they are asked for again.
        """
        beyond: SortKey | None = None
        while runs := await self._past.pending_runs(BATCH, beyond):
            found = await asyncio.gather(*(self._find(run, now()) for run in runs))
            change = BackfillChange()
            for run, verdict, gone in found:
                if verdict:
                    self._failing.pop(run.run_id, None)
                    change.settled.append(run.run_id)
                    change.without_event += gone
                    # Its own limit of failure types: those of the past take no live one's place.
                    change.counted.append(self._count(run, self._judge.bound(run, verdict, Change())))
            if change.settled:
                await self._past.commit(change, now())
            beyond = runs[-1].close_time, runs[-1].run_id
        return await self._past.progress()

    async def _find(self, run: Run, now: int) -> tuple[Run, Classification | None, bool]:
        """Return *run*, what it is counted as if that can be told, and whether its close event is gone."""
        event, answered = None, True
        try:
            event = await self._history.close_event(run.workflow_id, run.run_id)
        except TemporalRequestError:
            answered = False
        found = await self._judge.with_event(run, event) if event else None
        late = now - self._failing.setdefault(run.run_id, now) > DEADLINE
        if found or not (late or (answered and not event)):
            return run, found, False
        return run, self._judge.without_event(run), True
