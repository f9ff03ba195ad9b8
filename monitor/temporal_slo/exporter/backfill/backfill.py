"""Fills the ledger with runs that closed before counting started, with the requests that polls leave unused."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final, NamedTuple

from temporal_slo import names
from temporal_slo.errors import LedgerError, TemporalRequestError
from temporal_slo.exporter.backfill.executions import ExecutionsBackfillStore
from temporal_slo.exporter.backfill.pending_runs import PendingBackfillRuns
from temporal_slo.exporter.backfill.reader import BackfillReader
from temporal_slo.exporter.classify.classifier import Classifier
from temporal_slo.exporter.mirror.mirror import Mirror
from temporal_slo.exporter.mirror.series_bounds import SeriesBounds
from temporal_slo.exporter.sources.source import Source
from temporal_slo.ledger.backfill import VISIBILITY_DELAY, BackfillStore, Progress
from temporal_slo.ledger.change import CLOSED, MINUTES, Position
from temporal_slo.ledger.ledger import Ledger
from temporal_slo.ledger.retention import KEEP_DAYS
from temporal_slo.names.samples import Sample
from temporal_slo.runs.microseconds import SECOND
from temporal_slo.spec.bound import BoundSlo
from temporal_slo.temporal.close_events import CloseEvents
from temporal_slo.temporal.rate_limit import backoff
from temporal_slo.temporal.start_events import StartEvents
from temporal_slo.temporal.visibility import PAGE_SIZE_MAX, Visibility

HISTORY_KEPT: Final = timedelta(days=KEEP_DAYS)
"""Retention of the ledger: it would delete older runs at once."""

PENDING_LIMIT: Final = 10_000
"""No page is read while this many runs are pending: they take space in the ledger and in memory."""

CHECK_INTERVAL: Final = 0.5
"""Seconds between two checks for work."""

JITTER: Final = 0.5

READING: Final = "reading closed runs"
COUNTING: Final = "counting pending runs"
ASKING: Final = "reading start events"

log = logging.getLogger(__name__)


class ProgressReport(NamedTuple):
    """Progress of the backfill of a namespace.

    Attributes:
        share: Share of the requested close times that is read, from 0 to 1; None if all history was requested.
        complete: Whether all runs are read and counted.
    """

    namespace: str
    progress: Progress
    share: float | None
    complete: bool


@dataclass(frozen=True, slots=True)
class Clocks:
    """Unix time and sleep, both in seconds; for tests to replace."""

    now: Callable[[], float] = time.time
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep


CLOCKS: Final = Clocks()


class Backfill(Source):
    """Reads and counts runs of one namespace that closed before counting started. As a source it exposes its progress.

    It reads nothing while the mirror catches up, or while `pending_limit` runs are pending.

    Args:
        namespace: Temporal namespace.
        mirror: Counts the runs that close since counting started.
        ledger: Gets the runs.
        visibility: Lists runs, with bulk requests, which yield to all others.
        history: Fetches close events, with bulk requests too.
        starts: Reads start events, with bulk requests too.
        classifier: Used by the backfill alone: old results that cannot be decoded must not stop outcomes of live runs.
        bounds: Used by the backfill alone: old workflow types must not take the places of live ones.
        since: How far back to read; None for all runs that the server still has.
        on_progress: Called with each change of the progress.
        page_size: Rows of a page.
        pending_limit: No page is read while this many runs are pending.
        clocks: Clock and sleep.

    Attributes:
        classifier: As given.
    """

    name: Final = "backfill"

    def __init__(
        self,
        namespace: str,
        mirror: Mirror,
        ledger: Ledger,
        visibility: Visibility,
        history: CloseEvents,
        *,
        starts: StartEvents,
        classifier: Classifier,
        bounds: SeriesBounds | None = None,
        since: timedelta | None,
        on_progress: Callable[[ProgressReport], None] = lambda _: None,
        page_size: int = PAGE_SIZE_MAX,
        pending_limit: int = PENDING_LIMIT,
        clocks: Clocks = CLOCKS,
    ) -> None:
        self.classifier = classifier
        self._bounds = SeriesBounds(mirror.state) if bounds is None else bounds
        self._namespace = namespace
        self._mirror = mirror
        self._ledger = ledger
        self._visibility = visibility
        self._history = history
        self._starts = starts
        self._since = since
        self._on_progress = on_progress
        self._page_size = page_size
        self._pending_limit = pending_limit
        self._clocks = clocks
        self._floor = max(self._now() - min(since or HISTORY_KEPT, HISTORY_KEPT) // timedelta(microseconds=1), 1)
        self._report: ProgressReport | None = None
        self._errors: dict[str, TemporalRequestError | LedgerError] = {}

    async def read(self, now: int) -> Iterable[Sample]:  # noqa: ARG002 - the protocol's
        """Return the progress; nothing before the backfill started.

        Raises:
            TemporalRequestError: The last request failed; the backfill retries it.
            LedgerError: The ledger could not be read or written; the backfill retries.
        """
        for error in self.errors:
            # Without the traceback, which would grow with every read.
            raise error.with_traceback(None)
        return () if self._report is None else tuple(_samples(self._report))

    @property
    def errors(self) -> tuple[TemporalRequestError | LedgerError, ...]:
        """Current errors, each retried until it is resolved."""
        return tuple(self._errors.values())

    def apply_slos(self, slos: Sequence[BoundSlo]) -> None:
        """Classify with the outcomes of *slos* from now on."""
        self.classifier.apply_slos(slos)
        self._bounds.apply_slos(slos)

    async def run(self) -> None:
        """Read and count all requested runs, and return."""
        state = self._mirror.state
        while CLOSED not in state.positions:
            await self._clocks.sleep(CHECK_INTERVAL)
        store = ExecutionsBackfillStore(
            self._ledger,
            self._namespace,
            state.positions[CLOSED].lowest,
            floor=self._floor,
            rules=lambda: self._mirror.store.rules,
        )
        reader = BackfillReader(
            store,
            self._visibility,
            classify=self.classifier.from_visibility,
            count=self._mirror.store.counted,
            bounds=self._bounds,
            floor=self._floor,
            page_size=self._page_size,
        )
        pending = PendingBackfillRuns(store, self._history, self.classifier, self._mirror.store.counted)
        while (progress := await self._try(READING, store.progress, store)) is None:
            await self._clocks.sleep(CHECK_INTERVAL)
        self._log_start(reader, store, progress)
        async with asyncio.TaskGroup() as tasks:
            reading = tasks.create_task(self._read_all(reader, store, progress))
            tasks.create_task(self._count_pending(pending, store, reading))

    async def _read_all(self, reader: BackfillReader, store: BackfillStore, progress: Progress) -> None:
        failures = 0
        # Counting started at this local time; by then plus the delay, all runs that closed before are visible.
        counting_start = self._mirror.state.positions.get(MINUTES, Position(self._now(), 0)).lowest
        all_visible = counting_start + VISIBILITY_DELAY
        while not (reader.reached_floor(progress) and progress.rescanned):
            rescan = reader.reached_floor(progress)
            busy = self._mirror.state.gaps or progress.pending >= self._pending_limit
            if busy or (rescan and self._now() < all_visible):
                await self._clocks.sleep(CHECK_INTERVAL)
                progress = self._report.progress if self._report else progress
                continue
            act = reader.rescan if rescan else reader.page
            after = await self._try(READING, partial(act, self._now()), store)
            progress = after or progress
            failures = 0 if after else failures + 1
            if failures:
                await self._clocks.sleep(backoff(failures, JITTER))

    async def _count_pending(
        self, pending: PendingBackfillRuns, store: ExecutionsBackfillStore, reading: "asyncio.Task[None]"
    ) -> None:
        complete = False
        while not complete:
            all_read = reading.done()
            progress = await self._try(COUNTING, lambda: pending.count_all(self._now), store)
            asked = await self._try(ASKING, lambda: store.ask(self._starts, self._now()), store)
            complete = bool(all_read and progress and asked and not progress.pending and not await store.waiting())
            await self._clocks.sleep(0 if complete else CHECK_INTERVAL)

    async def _try(self, step: str, act: Callable[[], Awaitable[Progress]], store: BackfillStore) -> Progress | None:
        """Report and return the progress that *act* returns; None if it failed."""
        before = self._errors.pop(step, None)
        try:
            progress = await act()
        except (TemporalRequestError, LedgerError) as error:
            self._errors[step] = error
            if str(error) != str(before):
                log.warning("%s: backfill: %s failed, retrying: %s", self._namespace, step, error)
            return None
        if before:
            log.info("%s: backfill: %s succeeded again", self._namespace, step)
        self._report_progress(progress, store.end)
        return progress

    def _report_progress(self, progress: Progress, end: int) -> None:
        share = (end - progress.position) / max(end - self._floor, 1)
        was_running = bool(self._report and not self._report.complete)
        self._report = ProgressReport(
            self._namespace,
            progress,
            None if self._since is None else min(max(share, 0.0), 1.0),
            complete=progress.position < self._floor and not progress.pending,
        )
        self._on_progress(self._report)
        if self._report.complete and was_running:
            log.info("%s: backfill is complete, %d runs read", self._namespace, progress.runs)

    def _log_start(self, reader: BackfillReader, store: BackfillStore, progress: Progress) -> None:
        if reader.reached_floor(progress):
            log.info("%s: backfill is complete", self._namespace)
            return
        newest, oldest = _time_text(min(progress.position, store.end)), _time_text(self._floor)
        log.info("%s: backfill started, reading close times from %s back to %s", self._namespace, newest, oldest)

    def _now(self) -> int:
        return int(self._clocks.now() * SECOND)


def _samples(report: ProgressReport) -> Iterator[Sample]:
    progress = report.progress
    yield Sample(names.BACKFILL_REACHED, {}, progress.position / SECOND)
    yield Sample(names.BACKFILL_RUNS, {}, progress.runs)
    yield Sample(names.BACKFILL_PENDING_RUNS, {}, progress.pending)
    yield Sample(names.BACKFILL_MISSING_CLOSE_EVENTS, {}, progress.without_event)
    yield Sample(names.BACKFILL_UNKNOWN_STATUS_ROWS, {}, progress.unknown_status)
    yield Sample(names.BACKFILL_COMPLETE, {}, int(report.complete))


def _time_text(microseconds: int) -> str:
    return f"{datetime.fromtimestamp(microseconds / SECOND, UTC):%Y-%m-%d %H:%M:%S}Z"
