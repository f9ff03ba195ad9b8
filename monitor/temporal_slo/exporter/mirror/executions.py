"""Executions of one namespace: carries the start of a chain from each run to the next, without a request.

A run that continued as new, or that is retried, is followed by the next run of its workflow id, which starts when it
closes. Their rows come in any order, and whether a run is retried is known only once its close event is read. So a
closed run whose predecessor may still be unread or unclassified waits: it is counted as a run at once, and its
execution is counted when its start is known.
"""

import heapq
from collections.abc import Iterable, Iterator
from typing import Final

from temporal_slo.exporter.mirror.chains import Chains, only_differences
from temporal_slo.exporter.mirror.execution_step import OVERLAP, Read, Step, continues, in_gaps, starts_in
from temporal_slo.exporter.mirror.slo_rules import SloRules
from temporal_slo.ledger import chains as stored_chains
from temporal_slo.ledger.change import CLOSED, Change, Gap
from temporal_slo.ledger.ledger import Ledger
from temporal_slo.ledger.state import State
from temporal_slo.names.values import FAILED
from temporal_slo.runs.executions import CONTINUED_STATUSES, WAITS, ChainRun
from temporal_slo.runs.microseconds import HOUR, MINUTE
from temporal_slo.runs.run import Run

KEPT_WITHOUT_NEXT: Final = 2 * HOUR
"""How long the end of a run is kept whose next run does not become visible, because it was deleted."""

JUDGED_AFTER: Final = 15 * MINUTE
"""How long minutes wait at most for runs whose execution may have started earlier than is known."""


class Executions:
    """Completes each change with what it says about executions.

    Args:
        namespace: Temporal namespace.
        ledger: Looks up runs by workflow id.
        state: The facts.

    Attributes:
        unknown_open: Ids of open runs that may continue runs that closed before counting began, as keys, in the order
            in which they were found.
    """

    def __init__(self, namespace: str, ledger: Ledger, state: State) -> None:
        self._namespace = namespace
        self._ledger = ledger
        self._state = state
        self._now = 0
        self._chained_types = {key.workflow_type for key in state.closed if key.status in CONTINUED_STATUSES}
        # Close time up to which an earlier poll has read everything that was visible then.
        self._covered = state.positions[CLOSED].position if CLOSED in state.positions else 0
        self.reload()

    def reload(self) -> None:
        """Find out again for what each run waits, after a change that was not applied."""
        # Runs that started in a gap, latest start first; and since when others wait for rows that are late.
        self._in_gap: list[tuple[int, str, str]] = []
        self._late: dict[str, tuple[Run, int]] = {}
        self._wait(one for runs in self._state.chain_runs.values() for one in runs.values())
        unknown = (run_id for run_id, run in self._state.open.items() if run.execution_start == 0)
        self.unknown_open = dict.fromkeys(unknown)

    def applied(self, change: Change) -> None:
        """Note what waits now, after *change* was applied."""
        self._wait(change.chain_runs.values())
        starts = change.execution_starts
        self.unknown_open |= dict.fromkeys(run_id for run_id, start in starts.items() if not start)
        for run_id in (*(run_id for run_id, start in starts.items() if start), *change.no_longer_open):
            self.unknown_open.pop(run_id, None)
        self._chained_types.update(
            one.run.workflow_type for one in change.counted if one.classification.status in CONTINUED_STATUSES
        )

    def _wait(self, chain_runs: Iterable[ChainRun]) -> None:
        for one in chain_runs:
            if one.execution_start == WAITS and one.run.run_id not in self._late:
                if starts_in(one.run, self._state.gaps):
                    self._wait_in_gap(one.run)
                else:
                    self._late[one.run.run_id] = one.run, self._now

    def _wait_in_gap(self, run: Run) -> None:
        heapq.heappush(self._in_gap, (-run.start_time, run.workflow_id, run.run_id))

    async def complete(self, change: Change, rules: SloRules, now: int, polled: int | None = None) -> None:
        """Add to *change* what it says about executions.

        Args:
            change: What one page of rows, or one batch of close events, changes.
            rules: What the SLOs require.
            now: Current time, in microseconds of Unix time.
            polled: When a complete poll began that has just ended; None if none has.

        Raises:
            LedgerError: The ledger could not be read.
        """
        self._now = now
        chains = Chains(self._state.chain_runs)
        read = Read(self._covered, self._chained_types | _continued_types(change))
        step = Step(self._state, change, rules, chains, read)
        step.take_open()
        if change.new_closed and step.types:
            await self._add_pending_failures(step, chains)
        touched = step.take_closed() | step.take_answers() | self._released(step.gaps, polled)
        touched |= step.take_counted()
        if polled is not None:
            self._forget_without_next(chains)
            # A run that started before this closed after everything that this poll has read.
            self._covered = self._state.positions[CLOSED].position
        step.settle(touched, self._late.keys())
        if found := chains.handed_over():
            step.take_next(await self._ledger.transact(stored_chains.open_runs, self._namespace, found))
        change.chain_runs, change.unchained = chains.changed(), chains.removed()
        change.observed = only_differences(change.observed)

    async def _add_pending_failures(self, step: Step, chains: Chains) -> None:
        """Add failed runs that may be retried, and that wait for their close event, if a run may continue them."""
        waiting = {
            key.workflow_type for key, runs in self._state.waiting.items() if runs and key.status_group == FAILED
        }
        ids = [run.workflow_id for run in step.change.new_closed if run.workflow_type in step.types & waiting]
        if not ids:
            return
        found = await self._ledger.transact(stored_chains.pending_failures, self._namespace, sorted(set(ids)))
        for run in found:
            if chains.get(run) is None and any(continues(one, run) for one in step.change.new_closed):
                # Without an entry of its own the run continued no other.
                chains.put(ChainRun(run, run.due_time))

    def _released(self, gaps: tuple[Gap, ...], polled: int | None) -> set[str]:
        """Return the workflow ids of runs that need not wait any more for rows to be read."""
        released = set[str]()
        while self._in_gap and not in_gaps(-self._in_gap[0][0], gaps):
            released.add(heapq.heappop(self._in_gap)[1])
        if polled is not None:
            visible = [run_id for run_id, (_, since) in self._late.items() if since + OVERLAP <= polled]
            for run, _ in map(self._late.pop, visible):
                if starts_in(run, gaps):
                    self._wait_in_gap(run)
                released.add(run.workflow_id)
        return released

    def _forget_without_next(self, chains: Chains) -> None:
        if self._state.gaps:
            return
        for workflow_id, runs in self._state.chain_runs.items():
            for run_id, one in runs.items():
                if one.is_continued and one.is_settled and one.run.close_time < self._now - KEPT_WITHOUT_NEXT:
                    chains.of(workflow_id).pop(run_id, None)

    async def judged_until(self, last: int, rules: SloRules) -> int:
        """Return the time up to which it is known since when each execution is open; at most *last*.

        Args:
            last: In microseconds of Unix time.
            rules: What the SLOs require.

        Raises:
            LedgerError: The ledger could not be read.
        """
        types = frozenset(type_ for rule in rules.overdue if not rule.by_run for type_ in rule.workflow_types)
        if not types:
            return last
        times = [one.run.start_time for one in self.waiting() if one.run.workflow_type in types]
        unknown = (self._state.open.get(run_id) for run_id in self.unknown_open)
        if any(run and run.key.workflow_type in types for run in unknown):
            times.append(0)
        failures = (runs for key, runs in self._state.waiting.items() if key.status_group == FAILED)
        if any(failures):
            oldest = await self._ledger.transact(stored_chains.oldest_pending_failure, self._namespace, types)
            times += [] if oldest is None else [oldest]
        return max(min([last, *times]), last - JUDGED_AFTER)

    def waiting(self) -> Iterator[ChainRun]:
        """Yield the closed runs whose start of execution is not known yet."""
        return (one for runs in self._state.chain_runs.values() for one in runs.values() if not one.is_settled)


def _continued_types(change: Change) -> set[str]:
    return {one.run.workflow_type for one in change.counted if one.classification.status in CONTINUED_STATUSES}
