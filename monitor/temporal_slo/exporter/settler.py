"""Decides what closed runs are counted as: at once where visibility is enough, else once their close event is read."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Hashable, Iterable
from typing import Final

from temporalio.api.history.v1 import HistoryEvent

from temporal_slo import names
from temporal_slo.errors import LedgerError, VisibilityError
from temporal_slo.exporter.history import History
from temporal_slo.exporter.ledger import Ledger
from temporal_slo.exporter.mirror import Mirror
from temporal_slo.exporter.outcome import UNKNOWN, OutcomeReader
from temporal_slo.exporter.reading import Place, Waiting
from temporal_slo.exporter.state import GONE, OTHER_FAILURES, SECOND, Change, State, Verdict
from temporal_slo.exporter.verdict import COMPLETED, Bounded, needs_event, verdict
from temporal_slo.exporter.visibility import Run

FAILURE_TYPES_MAX: Final = 50
"""Failure types that each workflow type may have; further ones are counted as `other`."""

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

Asked = tuple[Run, Verdict | None, bool]
"""A run, what it is counted as if that can be told, and whether its close event is gone."""


class Judge:
    """Turns closed runs into verdicts.

    Args:
        reader: Reads business outcomes.
        outcomes: Workflow types that have one.
        state: What the ledger knows, for the failure types that have a place already.
    """

    def __init__(self, reader: OutcomeReader, outcomes: Collection[str], state: State) -> None:
        self._reader = reader
        self._outcomes = outcomes
        known: dict[Hashable, set[str]] = {}
        for key in state.failures:
            known.setdefault(key.workflow_type, set()).add(key.failure_type)
        self._bounded = Bounded(FAILURE_TYPES_MAX, known=known)

    def adopt(self, reader: OutcomeReader, outcomes: Collection[str]) -> None:
        """Go by another spec from now on; its arguments are as the class has them."""
        self._reader, self._outcomes = reader, outcomes

    def at_once(self, run: Run) -> Verdict | None:
        """Return what *run* is counted as, or None if that needs its close event."""
        status = str(run.status)
        if needs_event(status, outcome=self._reader.wants(run.workflow_type)):
            return None
        return verdict(status, None, self._no_outcome(run))

    def without_event(self, run: Run) -> Verdict:
        """Return what *run* is counted as if its close event is gone or did not come in time."""
        return verdict(str(run.status), None, self._no_outcome(run))

    async def with_event(self, run: Run, event: HistoryEvent) -> Verdict | None:
        """Return what *run* is counted as by its close event, or None if that can't be told yet."""
        outcome: str | None = self._no_outcome(run)
        if run.status == COMPLETED and run.workflow_type in self._outcomes:
            outcome = await self._reader.read(run.workflow_type, run.workflow_id, event)
        return None if outcome is None else verdict(str(run.status), event, outcome)

    def bound(self, run: Run, found: Verdict, change: Change) -> Verdict:
        """Return *found* with a failure type that is one of few."""
        if not found.failure_type:
            return found
        before = self._bounded.replaced
        kind = self._bounded(run.workflow_type, found.failure_type)
        change.others[OTHER_FAILURES] += self._bounded.replaced - before
        return found._replace(failure_type=kind)

    def _no_outcome(self, run: Run) -> str:
        return UNKNOWN if run.workflow_type in self._outcomes else names.OUTCOME_NONE


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
        history: History,
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
        passed: dict[int, Place] = {}
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

    async def _ask(self, passed: dict[int, Place], size: int) -> list[asyncio.Task[Asked]]:
        """Ask for the next runs beyond the places *passed*, and move them."""
        rows = await self._ledger.waiting(self._namespace, size, passed)
        passed.update({row.rank: row.place for row in rows})
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

    async def _find(self, row: Waiting) -> Asked:
        run, late = row.run, self._now() - row.since > DEADLINE
        try:
            event = await self._history.close_event(run.workflow_id, run.run_id)
        except VisibilityError:
            event, answered = None, False
        else:
            answered = True
        found = await self._judge.with_event(run, event) if event else None
        if found or not (late or (answered and not event)):
            return run, found, False
        return run, self._judge.without_event(run), True

    def _now(self) -> int:
        return int(self._clock() * SECOND)
