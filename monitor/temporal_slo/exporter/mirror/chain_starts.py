"""Asks when the execution of a run started if the runs before it were not read, because they closed before counting."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from itertools import islice
from typing import Final

from temporal_slo import names
from temporal_slo.errors import LedgerError, TemporalRequestError
from temporal_slo.exporter.mirror.store import MirrorStore
from temporal_slo.ledger import chains as stored_chains
from temporal_slo.ledger.change import Change
from temporal_slo.ledger.ledger import Ledger
from temporal_slo.runs.executions import ASKS, NEXT_RUN_WITHIN, ChainRun
from temporal_slo.runs.microseconds import MINUTE, SECOND
from temporal_slo.runs.run import Run
from temporal_slo.temporal.start_events import StartEvents

BATCH: Final = 64
"""Runs asked for at once."""

INTERVAL: Final = 1.0
"""Seconds to the next batch if nothing was found out, and between two looks at what is open."""

CRON_RUNS_MAX: Final = 50
"""Runs of one cron invocation that are followed back one by one at most."""

DEADLINE: Final = 15 * MINUTE
"""How long a closed run waits for an answer before its execution counts from the run itself."""

log = logging.getLogger(__name__)


class ChainStarts:
    """Asks for the start of executions of one namespace.

    Args:
        store: Has the runs, and gets the answers.
        ledger: Has the workflow ids of open runs.
        events: Reads start events.
        clock: Unix time in seconds.
        sleep: Waits a number of seconds.
    """

    def __init__(
        self,
        store: MirrorStore,
        ledger: Ledger,
        events: StartEvents,
        *,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._store = store
        self._ledger = ledger
        self._events = events
        self._clock = clock
        self._sleep = sleep
        # Open runs without an answer: each is asked for again once all others were.
        self._unanswered = set[str]()
        self._asked_since: dict[str, int] = {}

    async def run(self) -> None:
        """Ask until cancelled."""
        failure = None
        while True:
            answered, before, failure = 0, failure, None
            try:
                answered = await self.ask()
            except LedgerError as error:
                failure = str(error)
                if failure != before:
                    log.warning("%s: writing starts of executions failed: %s", self._store.namespace, failure)
            if not answered:
                await self._sleep(INTERVAL)

    async def ask(self) -> int:
        """Ask for a batch of runs; return how many are known now.

        Raises:
            LedgerError: The ledger could not be read or written; the runs are asked for again.
        """
        closed = list(islice((one for one in self._store.executions.waiting() if one.execution_start == ASKS), BATCH))
        opened = await self._open_runs(BATCH - len(closed))
        if not closed and not opened:
            return 0
        change = Change()
        found = await asyncio.gather(*(self._answer(run, change) for run in [one.run for one in closed] + opened))
        for one, start in zip(closed, found, strict=False):
            self._take_closed(one, start, change)
        for run, start in zip(opened, found[len(closed) :], strict=True):
            if start is None:
                self._unanswered.add(run.run_id)
            else:
                change.execution_starts[run.run_id] = start
        answered = len(change.chain_runs) + len(change.execution_starts)
        await self._store.commit(change, self._now())
        return answered

    def _take_closed(self, one: ChainRun, start: int | None, change: Change) -> None:
        since = self._asked_since.setdefault(one.run.run_id, self._now())
        if start is None and self._now() - since > DEADLINE:
            start = one.run.due_time
            change.counters[names.EXPORTER_SHORTENED_EXECUTIONS] += 1
        if start is not None:
            change.chain_runs[one.run.run_id] = one._replace(execution_start=start)
            self._asked_since.pop(one.run.run_id)

    async def _open_runs(self, limit: int) -> list[Run]:
        """Return open runs to ask for."""
        ids = list(islice((run_id for run_id in self._store.unknown_open() if run_id not in self._unanswered), limit))
        if not ids:
            self._unanswered.clear()
            return []
        return await self._ledger.transact(stored_chains.runs, self._store.namespace, ids)

    async def _answer(self, run: Run, change: Change) -> int | None:
        """Return when the execution of *run* was due; None if Temporal does not answer."""
        try:
            start, known = await execution_start(self._events, run)
        except TemporalRequestError:
            return None
        change.counters[names.EXPORTER_SHORTENED_EXECUTIONS] += not known
        return start

    def _now(self) -> int:
        return int(self._clock() * SECOND)


async def execution_start(events: StartEvents, run: Run) -> tuple[int, bool]:
    """Return when the execution of *run* was due, and whether that is known.

    If the runs before were deleted by retention, it counts from the oldest that is known.

    Raises:
        TemporalRequestError: There is no answer.
    """
    start = await events.start(run.workflow_id, run.run_id)
    # The start event of a run that a reset started is that of an earlier run.
    if start and run.start_time - start.time > NEXT_RUN_WITHIN:
        return run.due_time, True
    known = run.due_time
    for _ in range(CRON_RUNS_MAX):
        if start is None:
            break
        known = min(known, start.due_time)
        if not start.continued:
            return known, True
        start = await events.start(run.workflow_id, start.first or start.continued)
    return known, False
