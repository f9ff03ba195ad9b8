"""Counts pending runs: closed runs that wait for their close event."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, NamedTuple

from sqlalchemy import Connection

from temporal_slo import names
from temporal_slo.errors import LedgerError, TemporalRequestError, UnreadableResponseError
from temporal_slo.exporter.classify.classifier import Classifier
from temporal_slo.exporter.classify.lap import Lap
from temporal_slo.exporter.mirror.store import MirrorStore
from temporal_slo.ledger import reads
from temporal_slo.ledger.change import Change
from temporal_slo.ledger.ledger import Ledger
from temporal_slo.ledger.reads import PendingRun
from temporal_slo.runs.counted import Classification
from temporal_slo.runs.microseconds import SECOND
from temporal_slo.runs.run import Run
from temporal_slo.temporal.close_events import CloseEvents

DEADLINE: Final = 15 * 60 * SECOND
"""How long a run waits for its close event before it is counted without it."""

BATCH: Final = 64
"""Runs read from the ledger at once. At most twice as many requests are in flight, so urgent runs soon have a turn."""

BATCH_MAX: Final = 4 * BATCH
"""The same where responses are fast: a run then costs fewer reads and writes."""

LAP: Final = 50 * BATCH
"""Runs requested once each before those that could not be classified are requested again."""

IDLE: Final = 0.5
"""Seconds to the next lap, and at most to the next write."""

log = logging.getLogger(__name__)


class Fetched(NamedTuple):
    """A pending run after its close event was requested.

    Attributes:
        classification: None if the run must wait for longer.
        event_missing: Whether the run is classified without its close event.
    """

    run: Run
    classification: Classification | None
    event_missing: bool = False


class PendingRuns:
    """Fetches the close events of pending runs, and counts the runs.

    Args:
        store: Gets the counted runs.
        ledger: Has the pending runs.
        history: Fetches close events.
        classifier: Classifies runs by their close events.
        clock: Unix time in seconds.
        sleep: Waits a number of seconds.
    """

    def __init__(
        self,
        store: MirrorStore,
        ledger: Ledger,
        history: CloseEvents,
        *,
        classifier: Classifier,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._store = store
        self._ledger = ledger
        self._history = history
        self._classifier = classifier
        self._clock = clock
        self._sleep = sleep
        # Whether the last requests classified nothing, as while the codec endpoint is down.
        self._blocked = False

    async def run(self) -> None:
        """Count pending runs until cancelled."""
        failure = None
        while True:
            counted, before, failure = 0, failure, None
            try:
                if self._store.state.pending:
                    counted = await self.count_lap()
            except LedgerError as error:
                failure = str(error)
                if failure != before:
                    log.warning("%s: counting pending runs failed: %s", self._store.namespace, failure)
            if counted < LAP:
                await self._sleep(IDLE)

    async def count_lap(self) -> int:
        """Request the close event of every pending run once, or of LAP of them; return how many runs were counted.

        Raises:
            LedgerError: Some runs could not be read or written; they are requested again.
        """
        lap = Lap(self._store.namespace)
        in_flight, earlier = list[asyncio.Task[Fetched]](), list[asyncio.Task[Fetched]]()
        requested, counted, size = 0, 0, BATCH
        try:
            while True:
                # One batch is requested while the one before it is written, so the network is never idle.
                fresh = await self._request(lap, size) if len(in_flight) <= size and requested < LAP else []
                in_flight, requested = in_flight + fresh, requested + len(fresh)
                if not in_flight:
                    return counted
                if awaited := earlier if fresh else in_flight:
                    _, late = await asyncio.wait(awaited, timeout=IDLE)
                    size = BATCH if late else min(2 * size, BATCH_MAX)
                done = [task.result() for task in in_flight if task.done()]
                in_flight, earlier = [task for task in in_flight if not task.done()], fresh
                counted += await self._count(done)
        finally:
            for task in in_flight:
                task.cancel()

    async def _request(self, lap: Lap, size: int) -> list[asyncio.Task[Fetched]]:
        """Request the close events of the next runs of *lap*."""

        def read(connection: Connection) -> tuple[list[PendingRun], int | None]:
            oldest = reads.oldest_pending(connection, self._store.namespace)
            # While nothing can be classified, the runs whose deadline passes are those to request.
            return lap.next(connection, size, oldest_only=self._blocked), oldest

        rows, self._store.oldest_pending = await self._ledger.transact(read)
        return [asyncio.create_task(self._fetch(row)) for row in rows]

    async def _count(self, fetched: Sequence[Fetched]) -> int:
        change = Change()
        if fetched:
            self._blocked = not any(one.classification and not one.event_missing for one in fetched)
        for run, classification, event_missing in fetched:
            if classification:
                change.resolved.append(run)
                bounded = self._classifier.bound_failure_type(run, classification, change)
                change.counted.append(self._store.counted(run, bounded))
                if event_missing:
                    change.counters[names.EXPORTER_MISSING_CLOSE_EVENTS] += 1
        await self._store.commit(change, self._now())
        return len(change.resolved)

    async def _fetch(self, row: PendingRun) -> Fetched:
        run, late = row.run, self._now() - row.inserted > DEADLINE
        return await fetch(run, self._history, self._classifier, late=lambda: late)

    def _now(self) -> int:
        return int(self._clock() * SECOND)


async def fetch(run: Run, history: CloseEvents, classifier: Classifier, *, late: Callable[[], bool]) -> Fetched:
    """Request the close event of *run* and classify it; without the event if there is none, or if it is *late*."""
    if classifier.must_wait(run) and not late():
        return Fetched(run, None)
    event, responded = None, True
    try:
        event = await history.close_event(run.workflow_id, run.run_id)
    except UnreadableResponseError:
        # There is a response, and it would be the same every time.
        pass
    except TemporalRequestError:
        responded = False
    classification = await classifier.with_event(run, event) if event else None
    if classification or not (late() or (responded and not event)):
        return Fetched(run, classification)
    return Fetched(run, classifier.without_event(run), event_missing=True)
