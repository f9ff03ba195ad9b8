"""Chains of closed runs: finds out which run continues which, whatever the order in which their rows are read."""

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from temporal_slo.runs.counted import Classification, ClosedKey, bucket
from temporal_slo.runs.executions import (
    FINAL_STATUSES,
    RETRYABLE_STATUSES,
    ChainRun,
    Observation,
    follows,
    starts_at_close,
)
from temporal_slo.runs.microseconds import MINUTE
from temporal_slo.runs.run import Run

Stored = Mapping[str, Mapping[str, ChainRun]]
"""Closed runs that may be part of a chain, by workflow id and run id."""


class Execution(NamedTuple):
    """A closed execution.

    Attributes:
        run: Its last run.
        start: When its first run was due, in microseconds of Unix time.
    """

    run: Run
    classification: Classification
    start: int

    @property
    def duration(self) -> int:
        """Microseconds from the time at which its first run was due to its close."""
        return self.run.duration if self.start == self.run.due_time else max(self.run.close_time - self.start, 0)


class Chains:
    """A working copy of the runs of some workflow ids that may be part of a chain.

    Args:
        stored: The runs as they are stored; they are not changed.
    """

    def __init__(self, stored: Stored) -> None:
        self._stored = stored
        self._runs: dict[str, dict[str, ChainRun]] = {}

    def __contains__(self, workflow_id: str) -> bool:
        return bool(self._runs[workflow_id] if workflow_id in self._runs else self._stored.get(workflow_id))

    def of(self, workflow_id: str) -> dict[str, ChainRun]:
        """Return the runs of a workflow id, for changes."""
        if workflow_id not in self._runs:
            self._runs[workflow_id] = dict(self._stored.get(workflow_id, {}))
        return self._runs[workflow_id]

    def get(self, run: Run) -> ChainRun | None:
        """Return what is known of *run*, if it may be part of a chain."""
        return self.of(run.workflow_id).get(run.run_id) if run.workflow_id in self else None

    def put(self, chain_run: ChainRun) -> None:
        """Add or replace a run."""
        self.of(chain_run.run.workflow_id)[chain_run.run.run_id] = chain_run

    def settle(self, workflow_id: str, waits: Callable[[ChainRun], bool]) -> list[ChainRun]:
        """Find out as much as possible about the runs of a workflow id.

        Args:
            workflow_id: The workflow id.
            waits: Returns whether the run before this one may still be unread.

        Returns:
            Runs whose start of execution became known.
        """
        runs, settled = self.of(workflow_id), list[ChainRun]()
        for chain_run in sorted(runs.values(), key=lambda one: (one.run.start_time, one.run.close_time)):
            if chain_run.is_settled:
                continue
            start = self._start(runs, chain_run, waits)
            if start is not None:
                runs[chain_run.run.run_id] = known = chain_run._replace(execution_start=start)
                settled.append(known)
        return settled

    def _start(self, runs: dict[str, ChainRun], chain_run: ChainRun, waits: Callable[[ChainRun], bool]) -> int | None:
        before = _before(runs.values(), chain_run.run)
        if before is None:
            return None if waits(chain_run) else chain_run.run.due_time
        if before.classification is None and before.run.status in RETRYABLE_STATUSES:
            return None
        if not before.is_continued:
            return chain_run.run.due_time
        if not before.is_settled:
            return None
        # It is followed by one run only.
        del runs[before.run.run_id]
        return before.execution_start

    def finish(self, workflow_id: str) -> list[Execution]:
        """Remove the runs that ended an execution about which all is known, and return these executions."""
        runs = self.of(workflow_id)
        ended = [one for one in runs.values() if one.is_settled and one.classification and not one.is_continued]
        for one in ended:
            del runs[one.run.run_id]
        return [
            Execution(one.run, one.classification, one.execution_start)
            for one in ended
            if one.classification and one.classification.status in FINAL_STATUSES
        ]

    def claim(self, run: Run) -> int | None:
        """Return the start of the execution that *run*, which is open, continues; None if none is known."""
        if run.workflow_id not in self:
            return None
        runs = self.of(run.workflow_id)
        for one in list(runs.values()):
            if one.is_continued and one.is_settled and starts_at_close(run.start_time, one.run.close_time):
                del runs[one.run.run_id]
                return one.execution_start
        return None

    def forget_continued(self, closed_before: int) -> None:
        """Remove runs that closed before this time and whose execution goes on in a run that is not known."""
        for runs in self._runs.values():
            for run_id, one in list(runs.items()):
                if one.is_continued and one.is_settled and one.run.close_time < closed_before:
                    del runs[run_id]

    def handed_over(self) -> list[str]:
        """Return the workflow ids with a new or changed run whose execution goes on in a run that is not known yet."""
        return [
            workflow_id
            for workflow_id, runs in self._runs.items()
            if any(
                one.is_continued and one.is_settled and one != self._stored.get(workflow_id, {}).get(run_id)
                for run_id, one in runs.items()
            )
        ]

    def changed(self) -> dict[str, ChainRun]:
        """Return the runs that are not stored like this, by run id."""
        return {
            run_id: one
            for workflow_id, runs in self._runs.items()
            for run_id, one in runs.items()
            if one != self._stored.get(workflow_id, {}).get(run_id)
        }

    def removed(self) -> dict[str, str]:
        """Return the workflow ids of stored runs that were removed, by run id."""
        return {
            run_id: workflow_id
            for workflow_id, runs in self._runs.items()
            for run_id in self._stored.get(workflow_id, {})
            if run_id not in runs
        }


def _before(runs: Iterable[ChainRun], run: Run) -> ChainRun | None:
    """Return the run that *run* may continue."""
    earlier = (one for one in runs if follows(run, one.run))
    return max(earlier, key=lambda one: one.run.close_time, default=None)


def taken_out(chain_run: ChainRun) -> Observation:
    """Return the observation that takes a run out of the durations of executions."""
    return _observation(chain_run.run, chain_run.classification, chain_run.bucket, -1, -chain_run.run.duration)


def put_in(execution: Execution, bounds: Iterable[int]) -> Observation:
    """Return the observation that adds an execution to the durations of executions."""
    duration = execution.duration
    return _observation(execution.run, execution.classification, bucket(duration, bounds), 1, duration)


def _observation(
    run: Run, classification: Classification | None, in_bucket: int, count: int, duration: int
) -> Observation:
    status, outcome, _ = classification or ("", "", "")
    key = ClosedKey(run.workflow_type, run.task_queue, status, outcome)
    return Observation(key, in_bucket, run.close_time // MINUTE, count, duration)


def only_differences(observed: Iterable[Observation]) -> list[Observation]:
    """Return *observed* without those that cancel each other out."""
    sums: dict[tuple[ClosedKey, int, int], tuple[int, int]] = {}
    for key, in_bucket, minute, count, duration in observed:
        before = sums.get((key, in_bucket, minute), (0, 0))
        sums[key, in_bucket, minute] = before[0] + count, before[1] + duration
    return [Observation(*key, *sum_) for key, sum_ in sums.items() if sum_ != (0, 0)]
