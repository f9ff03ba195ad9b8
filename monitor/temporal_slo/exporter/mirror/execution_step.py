"""What one change says about executions."""

from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from dataclasses import replace
from typing import Final, NamedTuple

from temporal_slo.exporter.mirror.chains import Chains, Execution, put_in, taken_out
from temporal_slo.exporter.mirror.slo_rules import SloRules
from temporal_slo.ledger.change import CLOSED, GOES_ON, MINUTES, Change, ClosedOverdueRun, Gap
from temporal_slo.ledger.state import State
from temporal_slo.names.values import CONTINUED_AS_NEW
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
from temporal_slo.runs.microseconds import SECOND
from temporal_slo.runs.run import Run

OVERLAP: Final = 5 * SECOND
"""How much later than the row of a run that of the run before it may become visible."""


class Read(NamedTuple):
    """What was read before a change.

    Attributes:
        until: Close time up to which an earlier poll has read everything that was visible then.
        chained_types: Workflow types that had chains. Of others no rows are waited for.
    """

    until: int
    chained_types: AbstractSet[str]


class Step:
    """The completion of one change.

    Args:
        state: The facts before the change.
        change: What is read; gets what follows for executions.
        rules: What the SLOs require.
        chains: The chains, of which this changes a copy.
        read: What was read before.
    """

    def __init__(self, state: State, change: Change, rules: SloRules, chains: Chains, read: Read) -> None:
        self.state, self.change, self._rules, self._chains = state, change, rules, chains
        self.types = rules.execution_types
        self.gaps = state.gaps if change.gaps is None else change.gaps
        self._read = read
        self._new_waiting = set[str]()
        # A run that started earlier may continue one that closed before anything was read.
        self._lowest = state.positions[CLOSED].lowest + NEXT_RUN_WITHIN if CLOSED in state.positions else 0

    def take_open(self) -> None:
        """Set the start of the execution of runs that are seen open."""
        for run in self.change.new_open:
            known = self._chains.claim(run)
            first = run.due_time if run.start_time >= self._lowest else 0
            self.change.execution_starts[run.run_id] = first if known is None else known

    def take_next(self, opened: Iterable[Run]) -> None:
        """Set the start of the execution of those open runs that continue one that was handed over."""
        closed = {one.run_id for one in self.change.new_closed}
        for run in opened:
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
                if continues(run, failure) and self._chains.get(failure) is None:
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
        one = ChainRun(run, start)
        self._chains.put(one)
        if one.is_settled and run.status != CONTINUED_AS_NEW:
            self._overdue_at_close(one)
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
        if run.workflow_id in self._chains or (relevant and (late or starts_in(run, self.gaps))):
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
            unread = one.run.workflow_type in self.types and starts_in(one.run, self.gaps)
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


def continues(run: Run, before: Run) -> bool:
    """Return whether *run* may continue *before*."""
    return run.workflow_id == before.workflow_id and follows(run, before)


def starts_in(run: Run, gaps: Iterable[Gap]) -> bool:
    """Return whether the row of the run before *run* may be in one of *gaps*."""
    return in_gaps(run.start_time, gaps)


def in_gaps(start_time: int, gaps: Iterable[Gap]) -> bool:
    """Return whether the row of a run that closed when another started may be in one of *gaps*."""
    return any(gap.low <= start_time and start_time - NEXT_RUN_WITHIN <= gap.high for gap in gaps)
