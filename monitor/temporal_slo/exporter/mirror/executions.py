"""Executions of one namespace: carries the start of a chain from each run to the next, without a request.

A run that continued as new, or that is retried, is followed by the next run of its workflow id, which starts when it
closes. Their rows come in any order, and whether a run is retried is known only once its close event is read. So a
closed run whose predecessor may still be unread or unclassified waits: it is counted as a run at once, and its
execution is counted when its start is known.
"""

import heapq
from collections.abc import Iterable, Iterator
from collections.abc import Set as AbstractSet
from dataclasses import replace
from typing import Final, NamedTuple

from temporal_slo.exporter.mirror.chains import Chains, Execution, only_differences, put_in, taken_out
from temporal_slo.exporter.mirror.slo_rules import SloRules
from temporal_slo.ledger import chains as stored_chains
from temporal_slo.ledger.change import CLOSED, GOES_ON, MINUTES, Change, ClosedOverdueRun, Gap
from temporal_slo.ledger.ledger import Ledger
from temporal_slo.ledger.state import State
from temporal_slo.names.values import CONTINUED_AS_NEW, FAILED
from temporal_slo.runs.counted import Counted, RunningKey
from temporal_slo.runs.executions import (
    ASKS,
    CONTINUED_STATUSES,
    FINAL_STATUSES,
    NEXT_RUN_WITHIN,
    RETRYABLE_STATUSES,
    WAITS,
    ChainRun,
    follows,
)
from temporal_slo.runs.microseconds import HOUR, MINUTE, SECOND
from temporal_slo.runs.run import Run

OVERLAP: Final = 5 * SECOND
"""How much later than the row of a run that of the run before it may become visible."""

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
        unknown_open: Ids of open runs that may continue runs that closed before counting began.
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
        self.unknown_open = {run_id for run_id, run in self._state.open.items() if run.execution_start == 0}

    def applied(self, change: Change) -> None:
        """Note what waits now, after *change* was applied."""
        self._wait(change.chain_runs.values())
        for run_id, start in change.execution_starts.items():
            (self.unknown_open.discard if start else self.unknown_open.add)(run_id)
        self.unknown_open.difference_update(change.no_longer_open)
        self._chained_types.update(
            one.run.workflow_type for one in change.counted if one.classification.status in CONTINUED_STATUSES
        )

    def _wait(self, chain_runs: Iterable[ChainRun]) -> None:
        for one in chain_runs:
            if one.execution_start == WAITS and one.run.run_id not in self._late:
                if _starts_in(one.run, self._state.gaps):
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
        touched = step.take_open()
        if change.new_closed and step.types:
            await self._add_pending_failures(step, chains)
        touched |= step.take_closed() | step.take_answers() | self._released(step.gaps, polled)
        touched |= step.take_counted()
        if polled is not None:
            self._forget_without_next(chains)
            # A run that started before this closed after everything that this poll has read.
            self._covered = self._state.positions[CLOSED].position
        step.settle(touched, self._late.keys())
        if found := chains.handed_over():
            for run in await self._ledger.transact(stored_chains.open_runs, self._namespace, found):
                step.take_next(run)
        change.chain_runs, change.unchained = chains.changed(), chains.removed()
        change.observed = only_differences(change.observed)

    async def _add_pending_failures(self, step: "Step", chains: Chains) -> None:
        """Add failed runs that may be retried, and that wait for their close event, if a run may continue them."""
        waiting = {
            key.workflow_type for key, runs in self._state.waiting.items() if runs and key.status_group == FAILED
        }
        ids = [run.workflow_id for run in step.change.new_closed if run.workflow_type in step.types & waiting]
        if not ids:
            return
        found = await self._ledger.transact(stored_chains.pending_failures, self._namespace, sorted(set(ids)))
        for run in found:
            if chains.get(run) is None and any(_follows(one, run) for one in step.change.new_closed):
                # Without an entry of its own the run continued no other.
                chains.put(ChainRun(run, run.due_time))

    def _released(self, gaps: tuple[Gap, ...], polled: int | None) -> set[str]:
        """Return the workflow ids of runs that need not wait any more for rows to be read."""
        released = set[str]()
        while self._in_gap and not _in_gaps(-self._in_gap[0][0], gaps):
            released.add(heapq.heappop(self._in_gap)[1])
        if polled is not None:
            visible = [run_id for run_id, (_, since) in self._late.items() if since + OVERLAP <= polled]
            for run, _ in map(self._late.pop, visible):
                if _starts_in(run, gaps):
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


class Read(NamedTuple):
    """What was read before a change.

    Attributes:
        until: Close time up to which an earlier poll has read everything that was visible then.
        chained_types: Workflow types that had chains. Of others no rows are waited for.
    """

    until: int
    chained_types: AbstractSet[str]


class Step:
    """The completion of one change."""

    def __init__(self, state: State, change: Change, rules: SloRules, chains: Chains, read: Read) -> None:
        self.state, self.change, self._rules, self._chains = state, change, rules, chains
        self.types = rules.execution_types
        self.gaps = state.gaps if change.gaps is None else change.gaps
        self._read = read
        self._new_waiting = set[str]()
        # A run that started earlier may continue one that closed before anything was read.
        self._lowest = state.positions[CLOSED].lowest + NEXT_RUN_WITHIN if CLOSED in state.positions else 0

    def take_open(self) -> set[str]:
        """Set the start of the execution of runs that are seen open; return no workflow ids."""
        for run in self.change.new_open:
            known = self._chains.claim(run)
            first = run.due_time if run.start_time >= self._lowest else 0
            self.change.execution_starts[run.run_id] = first if known is None else known
        return set()

    def take_next(self, run: Run) -> None:
        """Set the start of the execution of an open run, if it continues one that was handed over."""
        closed = {one.run_id for one in self.change.new_closed}
        if run.run_id not in closed and (known := self._chains.claim(run)) is not None:
            self.change.execution_starts[run.run_id] = known

    def take_closed(self) -> set[str]:
        """Add the closed runs that may be part of a chain; return their workflow ids."""
        failures: dict[str, list[Run]] = {}
        for run in self.change.pending:
            if run.status in RETRYABLE_STATUSES:
                failures.setdefault(run.workflow_id, []).append(run)
        touched = set[str]()
        for run in sorted(self.change.new_closed, key=lambda one: (one.close_time, one.start_time)):
            for failure in failures.get(run.workflow_id, ()):
                if _follows(run, failure) and self._chains.get(failure) is None:
                    self._chains.put(ChainRun(failure, failure.due_time))
            if self._add(run):
                touched.add(run.workflow_id)
        return touched

    def _add(self, run: Run) -> bool:
        opened = self.state.open.get(run.run_id)
        start = opened.execution_start if opened else 0
        if start in {0, run.due_time}:
            start = self._first_known(run, known=bool(start))
            if start == run.due_time and run.status != CONTINUED_AS_NEW and run.workflow_id not in self._chains:
                return False
        self._chains.put(ChainRun(run, start))
        return True

    def _first_known(self, run: Run, *, known: bool) -> int:
        """Return when the execution of a run was due that is not known to continue another, or why that is unknown.

        Args:
            run: A closed run.
            known: Whether nothing before the run is unread.
        """
        relevant = run.workflow_type in self.types
        if run.start_time < self._lowest:
            return run.due_time if known or not relevant else ASKS
        late = run.workflow_type in self._read.chained_types and run.start_time + OVERLAP > self._read.until
        if run.workflow_id in self._chains or (relevant and (late or _starts_in(run, self.gaps))):
            if relevant and late:
                self._new_waiting.add(run.run_id)
            return WAITS
        return run.due_time

    def take_answers(self) -> set[str]:
        """Take the starts of executions that were found out otherwise; return their workflow ids."""
        for one in self.change.chain_runs.values():
            if self._chains.get(one.run):
                self._chains.put(one)
        return {one.run.workflow_id for one in self.change.chain_runs.values()}

    def take_counted(self) -> set[str]:
        """Take the classification of runs; return the workflow ids of those that may be part of a chain."""
        touched = set[str]()
        for index, counted in enumerate(self.change.counted):
            run, classification, in_bucket, _ = counted
            one = self._chains.get(run)
            if one is None and classification.status not in CONTINUED_STATUSES:
                self.change.counted[index] = self._judged_alone(counted)
                continue
            one = one or ChainRun(run, run.due_time)
            # With the labels under which it is counted.
            one = one._replace(run=run, classification=classification, bucket=in_bucket)
            self._chains.put(one)
            touched.add(run.workflow_id)
            if classification.status in FINAL_STATUSES:
                self.change.observed.append(taken_out(one))
            elif classification.status in CONTINUED_STATUSES:
                self._goes_on(run)
        return touched

    def _judged_alone(self, counted: Counted) -> Counted:
        if counted.classification.status not in FINAL_STATUSES:
            return counted
        bad_for = self._rules.bad_executions(counted.run, counted.classification, counted.run.duration)
        return counted._replace(bad_for=(*counted.bad_for, *bad_for)) if bad_for else counted

    def settle(self, workflow_ids: Iterable[str], late: Iterable[str]) -> None:
        """Find out as much as possible about the runs of *workflow_ids*.

        Args:
            workflow_ids: Those of which anything has changed.
            late: Ids of runs that wait for rows that may become visible late.
        """
        waiting = {*late, *self._new_waiting}

        def waits(one: ChainRun) -> bool:
            unread = one.run.workflow_type in self.types and _starts_in(one.run, self.gaps)
            return one.execution_start == ASKS or unread or one.run.run_id in waiting

        for workflow_id in workflow_ids:
            for one in self._chains.settle(workflow_id, waits):
                if not one.is_continued:
                    self._overdue_at_close(one)
            for execution in self._chains.finish(workflow_id):
                self._count(execution)

    def _count(self, execution: Execution) -> None:
        self.change.observed.append(put_in(execution, self._rules.bucket_bounds))
        run, classification, duration = execution.run, execution.classification, execution.duration
        if bad_for := self._rules.bad_executions(run, classification, duration):
            self.change.bad_executions.append(Counted(replace(run, duration=duration), classification, 0, bad_for))

    def _goes_on(self, run: Run) -> None:
        if run.run_id in self.state.closed_overdue or any(
            run.run_id == one.run_id for one in self.change.closed_overdue
        ):
            self.change.overdue_executions[run.run_id] = _overdue(run, GOES_ON)

    def _overdue_at_close(self, one: ChainRun) -> None:
        run, evaluated = one.run, self.state.positions.get(MINUTES)
        if one.execution_start == run.due_time or (evaluated and run.close_time < evaluated.position):
            return
        if self._rules.is_execution_overdue(run, one.execution_start):
            self.change.overdue_executions[run.run_id] = _overdue(run, one.execution_start)


def _overdue(run: Run, start: int) -> ClosedOverdueRun:
    return ClosedOverdueRun(RunningKey(run.workflow_type, run.task_queue), run.due_time, run.close_time, start)


def _continued_types(change: Change) -> set[str]:
    return {one.run.workflow_type for one in change.counted if one.classification.status in CONTINUED_STATUSES}


def _follows(run: Run, before: Run) -> bool:
    return run.workflow_id == before.workflow_id and follows(run, before)


def _starts_in(run: Run, gaps: Iterable[Gap]) -> bool:
    return _in_gaps(run.start_time, gaps)


def _in_gaps(start_time: int, gaps: Iterable[Gap]) -> bool:
    """Return whether the row of a run that closed when another started may be in one of *gaps*."""
    return any(gap.low <= start_time and start_time - NEXT_RUN_WITHIN <= gap.high for gap in gaps)
