"""Decides what closed runs are counted as: at once where visibility is enough, else once their close event is read."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Hashable
from typing import Final

from temporalio.api.history.v1 import HistoryEvent

from temporal_slo import names
from temporal_slo.errors import LedgerError, VisibilityError
from temporal_slo.exporter.history import History
from temporal_slo.exporter.ledger import Ledger
from temporal_slo.exporter.mirror import Mirror
from temporal_slo.exporter.outcome import UNKNOWN, OutcomeReader
from temporal_slo.exporter.state import GONE, OTHER_FAILURES, SECOND, Change, State, Verdict
from temporal_slo.exporter.verdict import COMPLETED, Bounded, needs_event, verdict
from temporal_slo.exporter.visibility import Run

FAILURE_TYPES_MAX: Final = 50
"""Failure types that each workflow type may have; further ones are counted as `other`."""

DEADLINE: Final = 15 * 60 * SECOND
"""How long a run waits for its close event before it is counted without."""

BATCH: Final = 64
IDLE: Final = 0.5

log = logging.getLogger(__name__)


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
            if not settled:
                await self._sleep(IDLE)

    async def settle(self) -> int:
        """Settle one batch of waiting runs and return how many that were.

        Raises:
            LedgerError: They could not be written; they are asked for again.
        """
        now = int(self._clock() * SECOND)
        rows = await self._ledger.waiting(self._namespace, BATCH)
        change = Change()
        found = await asyncio.gather(*(self._find(run, now - since > DEADLINE, change) for run, since in rows))
        for (run, _), one in zip(rows, found, strict=True):
            if one is not None:
                change.settled.append(run.run_id)
                bounded = self._judge.bound(run, one, change)
                change.counted.append(self._mirror.state.counted(run, bounded))
        await self._mirror.commit(change, now)
        return len(change.settled)

    async def _find(self, run: Run, late: bool, change: Change) -> Verdict | None:  # noqa: FBT001 private
        try:
            event = await self._history.close_event(run.workflow_id, run.run_id)
        except VisibilityError:
            event, answered = None, False
        else:
            answered = True
        found = await self._judge.with_event(run, event) if event else None
        if found or not (late or (answered and not event)):
            return found
        change.others[GONE] += 1
        return self._judge.without_event(run)
