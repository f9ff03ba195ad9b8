"""Fills the ledger with runs that closed before counting began, out of what the polls leave of the budgets."""

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
from temporal_slo.exporter.backfill.pending_runs import PendingBackfillRuns
from temporal_slo.exporter.backfill.reader import BackfillReader
from temporal_slo.exporter.classify.classifier import Classifier
from temporal_slo.exporter.mirror.mirror import Mirror
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
from temporal_slo.temporal.visibility import PAGE_SIZE_MAX, Visibility

KEPT: Final = timedelta(days=KEEP_DAYS)
"""What is older is forgotten as soon as it is counted."""

BACKLOG: Final = 10_000
"""Runs that may wait for their close event before reading rests: neither the ledger nor memory is to fill up."""

IDLE: Final = 0.5
"""Seconds until it is looked again whether there is something to do."""

JITTER: Final = 0.5

log = logging.getLogger(__name__)


class Done(NamedTuple):
    """How far the backfill of a namespace has come, for whoever shows it.

    Attributes:
        share: Of the close times that were asked for, from 0 to 1; None if that was all that there is.
        complete: Whether all is read and counted.
    """

    namespace: str
    progress: Progress
    share: float | None
    complete: bool


@dataclass(frozen=True, slots=True)
class Clocks:
    """Unix time in seconds, and how to wait so many; for tests to replace."""

    now: Callable[[], float] = time.time
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep


CLOCKS: Final = Clocks()


class Backfill(Source):
    """Reads and counts the past of one namespace, and tells how far it has come, as a source.

    Args:
        namespace: Whose past.
        mirror: Counts what closes from now on, and tells where the past ends; while it catches up nothing is read.
        ledger: Keeps what is read.
        visibility: Lists runs; is to let all other requests go ahead.
        history: Has the close events; likewise.
        classifier: The backfill's own: old results that cannot be decoded must not stop outcomes of live runs.
        since: How far back; None for all that there is.
        show: Is told how far it has come.
        page_size: Rows of a page.
        clocks: What it knows of time.

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
        classifier: Classifier,
        since: timedelta | None,
        show: Callable[[Done], None] = lambda _: None,
        page_size: int = PAGE_SIZE_MAX,
        clocks: Clocks = CLOCKS,
    ) -> None:
        self.classifier = classifier
        self._namespace = namespace
        self._mirror = mirror
        self._ledger = ledger
        self._visibility = visibility
        self._history = history
        self._span = since
        self._show = show
        self._page_size = page_size
        self._clocks = clocks
        self._floor = max(self._now() - min(since or KEPT, KEPT) // timedelta(microseconds=1), 1)
        self._done: Done | None = None
        self._errors: dict[str, TemporalRequestError | LedgerError] = {}

    async def read(self, now: int) -> Iterable[Sample]:  # noqa: ARG002 - the protocol's
        """Return how far it has come; nothing before it has begun.

        Raises:
            TemporalRequestError: The last request failed; the backfill retries it.
            LedgerError: The ledger could not be read or written; the backfill retries.
        """
        for error in self.errors:
            # Without the traceback, which would grow with every read.
            raise error.with_traceback(None)
        return () if self._done is None else tuple(_samples(self._done))

    @property
    def errors(self) -> tuple[TemporalRequestError | LedgerError, ...]:
        """Current errors, each retried until it is resolved."""
        return tuple(self._errors.values())

    def apply_slos(self, slos: Sequence[BoundSlo]) -> None:
        """Classify with the outcomes of *slos* from now on."""
        self.classifier.apply_slos(slos)

    async def run(self) -> None:
        """Read and count all that was asked for, and return."""
        state = self._mirror.state
        while CLOSED not in state.positions:
            await self._clocks.sleep(IDLE)
        past = BackfillStore(self._ledger, self._namespace, state.positions[CLOSED].lowest)
        reader = BackfillReader(
            past,
            self._visibility,
            classify=self.classifier.from_visibility,
            count=self._mirror.store.counted,
            floor=self._floor,
            page_size=self._page_size,
        )
        pending = PendingBackfillRuns(past, self._history, self.classifier, self._mirror.store.counted)
        while (progress := await self._try("reading", past.progress, past)) is None:
            await self._clocks.sleep(IDLE)
        whole = progress.position < self._floor
        begin, end = _moment(self._floor), _moment(min(progress.position, past.end))
        log.info("%s: backfill %s", self._namespace, "is complete" if whole else f"begins: from {end} back to {begin}")
        async with asyncio.TaskGroup() as tasks:
            reading = tasks.create_task(self._read_on(reader, past, progress))
            tasks.create_task(self._count_on(pending, past, reading))

    async def _read_on(self, reader: BackfillReader, past: BackfillStore, progress: Progress) -> None:
        failures = 0
        # When the ledger began to count by our clock, and so when the last of the past is surely visible.
        visible = self._mirror.state.positions.get(MINUTES, Position(self._now(), 0)).lowest + VISIBILITY_DELAY
        while not (reader.done(progress) and progress.rescanned):
            done, busy = reader.done(progress), self._mirror.state.gaps or progress.pending >= BACKLOG
            if busy or (done and self._now() < visible):
                await self._clocks.sleep(IDLE)
                progress = self._done.progress if self._done else progress
                continue
            act = reader.second_look if done else reader.page
            after = await self._try("reading", partial(act, self._now()), past)
            progress = after or progress
            failures = 0 if after else failures + 1
            if failures:
                await self._clocks.sleep(backoff(failures, JITTER))

    async def _count_on(self, pending: PendingBackfillRuns, past: BackfillStore, reading: "asyncio.Task[None]") -> None:
        over = False
        while not over:
            last = reading.done()
            progress = await self._try("settling", lambda: pending.count_all(self._now), past)
            over = last and progress is not None and not progress.pending
            await self._clocks.sleep(0 if over else IDLE)

    async def _try(self, what: str, act: Callable[[], Awaitable[Progress]], past: BackfillStore) -> Progress | None:
        """Return how far *act* has led, and tell of it; None if it failed."""
        before = self._errors.pop(what, None)
        try:
            progress = await act()
        except (TemporalRequestError, LedgerError) as error:
            self._errors[what] = error
            if str(error) != str(before):
                log.warning("%s: the backfill waits, %s fails: %s", self._namespace, what, error)
            return None
        if before:
            log.info("%s: the backfill goes on", self._namespace)
        self._tell(progress, past.end)
        return progress

    def _tell(self, progress: Progress, begin: int) -> None:
        whole = progress.position < self._floor
        share = (begin - progress.position) / max(begin - self._floor, 1)
        ended = bool(self._done and not self._done.complete)
        self._done = Done(
            self._namespace,
            progress,
            None if self._span is None else min(max(share, 0.0), 1.0),
            complete=whole and not progress.pending,
        )
        self._show(self._done)
        if self._done.complete and ended:
            log.info("%s: backfill is complete: %d runs that had closed before", self._namespace, progress.runs)

    def _now(self) -> int:
        return int(self._clocks.now() * SECOND)


def _samples(done: Done) -> Iterator[Sample]:
    progress = done.progress
    yield Sample(names.BACKFILL_REACHED, {}, progress.position / SECOND)
    yield Sample(names.BACKFILL_RUNS, {}, progress.runs)
    yield Sample(names.BACKFILL_PENDING_RUNS, {}, progress.pending)
    yield Sample(names.BACKFILL_MISSING_CLOSE_EVENTS, {}, progress.without_event)
    yield Sample(names.BACKFILL_UNKNOWN_STATUS_ROWS, {}, progress.unknown_status)
    yield Sample(names.BACKFILL_COMPLETE, {}, int(done.complete))


def _moment(microseconds: int) -> str:
    return f"{datetime.fromtimestamp(microseconds / SECOND, UTC):%Y-%m-%d %H:%M:%S}Z"
