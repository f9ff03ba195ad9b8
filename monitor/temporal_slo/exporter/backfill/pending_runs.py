"""Counts pending runs of the backfill with requests that live runs leave unused."""

import asyncio
from collections.abc import Callable
from typing import Final

from temporal_slo.exporter.classify.classifier import Classifier
from temporal_slo.exporter.classify.pending_runs import DEADLINE, Fetched, fetch
from temporal_slo.ledger.backfill import BackfillChange, BackfillStore, Progress
from temporal_slo.ledger.change import Change
from temporal_slo.ledger.reads import SortKey
from temporal_slo.runs.counted import Classification, Counted
from temporal_slo.runs.run import Run
from temporal_slo.temporal.close_events import CloseEvents

BATCH: Final = 64


class PendingBackfillRuns:
    """Counts runs of the backfill that wait for their close event.

    Args:
        store: Has the pending runs, and gets the counted ones.
        history: Fetches close events.
        classifier: Classifies runs by their close events.
        count: Adds the series and the bucket to a classified run.
    """

    def __init__(
        self,
        store: BackfillStore,
        history: CloseEvents,
        classifier: Classifier,
        count: Callable[[Run, Classification], Counted],
    ) -> None:
        self._store = store
        self._history = history
        self._classifier = classifier
        self._count = count
        # First time that the close event of a run was not available, by run id; bounded by the limit of pending runs.
        self._unavailable_since: dict[str, int] = {}

    async def count_all(self, now: Callable[[], int]) -> Progress:
        """Request the close event of every pending run once, newest close first, and return the progress.

        Args:
            now: Local clock, in microseconds of Unix time.

        Raises:
            LedgerError: Some runs could not be read or written; they are requested again.
        """
        last_key: SortKey | None = None
        while runs := await self._store.pending_runs(BATCH, last_key):
            fetched = await asyncio.gather(*(self._fetch(run, now()) for run in runs))
            change = BackfillChange()
            for run, classification, event_missing in fetched:
                if classification:
                    self._unavailable_since.pop(run.run_id, None)
                    change.resolved.append(run.run_id)
                    change.without_event += event_missing
                    # A limit of its own: failure types of old runs must not use up the limit of live runs.
                    bounded = self._classifier.bound_failure_type(run, classification, Change())
                    change.counted.append(self._count(run, bounded))
            if change.resolved:
                await self._store.commit(change, now())
            last_key = runs[-1].close_time, runs[-1].run_id
        return await self._store.progress()

    async def _fetch(self, run: Run, now: int) -> Fetched:
        return await fetch(
            run,
            self._history,
            self._classifier,
            late=lambda: now - self._unavailable_since.setdefault(run.run_id, now) > DEADLINE,
        )
