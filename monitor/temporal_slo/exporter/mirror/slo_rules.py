"""What the SLOs of one namespace require of the mirror."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import chain
from typing import NamedTuple, Self

from temporal_slo.ledger.change import ClosedOverdueRun
from temporal_slo.ledger.state import OpenRun
from temporal_slo.names.values import BAD, EXCLUDED, GOOD, NONE, UNKNOWN
from temporal_slo.runs.counted import BUCKET_BOUNDS_MS, Classification, Counted, RunningKey, bucket
from temporal_slo.runs.run import Run
from temporal_slo.spec.bound import BoundSlo, outcomes, run_types, workflow_types
from temporal_slo.spec.events import bad_run_predicate
from temporal_slo.spec.model import Latency, Overdue
from temporal_slo.spec.slis import EXECUTION, RUN


class OverdueRule(NamedTuple):
    """When an open run is overdue for an SLO.

    Attributes:
        task_queue: Only runs of this task queue; None for any.
        max_age: Microseconds since the run was due to execute.
        tolerate: Overdue runs that a good minute may have.
        by_run: Whether the age is that of the run, and not that of its execution.
    """

    slo: str
    workflow_types: tuple[str, ...]
    task_queue: str | None
    max_age: int
    tolerate: int = 0
    by_run: bool = False

    def applies_to(self, key: RunningKey) -> bool:
        """Return whether runs of *key* are events of the SLO."""
        return key.workflow_type in self.workflow_types and self.task_queue in {None, key.task_queue}

    def since(self, run: OpenRun | ClosedOverdueRun) -> int:
        """Return since when the age of *run* counts: when it was due, or the first run of its execution."""
        return run.due_time if self.by_run else run.execution_start or run.due_time


class ClosedRunRule(NamedTuple):
    """When a closed run is a bad event of an SLO.

    Attributes:
        task_queue: Only runs of this task queue; None for any.
        is_bad: Takes status, outcome and duration in microseconds.
        by_execution: Whether the duration is that of the execution, and not that of the run.
    """

    slo: str
    workflow_types: tuple[str, ...]
    task_queue: str | None
    is_bad: Callable[[str, str, int], bool]
    by_execution: bool = False

    def is_bad_event(self, run: Run, classification: Classification, duration: int) -> bool:
        """Return whether *run* is a bad event of the SLO, with a duration in microseconds."""
        return (
            run.workflow_type in self.workflow_types
            and self.task_queue in {None, run.task_queue}
            and self.is_bad(classification.status, classification.outcome, duration)
        )


@dataclass(frozen=True, slots=True)
class SloRules:
    """The rules of one namespace. A reload replaces them as a whole.

    Attributes:
        bucket_bounds: Upper bounds of the duration buckets, in milliseconds, ascending; one at each latency threshold.
        overdue: When open runs are overdue.
        closed_runs: When closed runs are bad events.
        latency_thresholds: Threshold of each latency SLO, in milliseconds.
        run_types: Workflow types of which durations of runs are measured, besides those of executions.
        expected_outcomes: Outcomes that a completed run may have, by workflow type of the specs.
    """

    bucket_bounds: tuple[int, ...] = BUCKET_BOUNDS_MS
    overdue: tuple[OverdueRule, ...] = ()
    closed_runs: tuple[ClosedRunRule, ...] = ()
    latency_thresholds: Mapping[str, int] = field(default_factory=dict)
    run_types: frozenset[str] = frozenset()
    expected_outcomes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @classmethod
    def of(cls, slos: Sequence[BoundSlo]) -> Self:
        """Return the rules of the SLOs of one namespace."""
        read, thresholds = outcomes(slos), dict(_latency_thresholds(slos))
        return cls(
            bucket_bounds=tuple(sorted({*BUCKET_BOUNDS_MS, *thresholds.values()})),
            overdue=tuple(_overdue_rules(slos)),
            closed_runs=tuple(
                ClosedRunRule(slo.name, slo.workflow_types, slo.task_queue, is_bad, _by_execution(slo))
                for slo in slos
                if (is_bad := bad_run_predicate(slo.sli))
            ),
            latency_thresholds=thresholds,
            run_types=frozenset(chain(*(run_types(slos, slo.temporal_namespace) for slo in slos))),
            expected_outcomes={
                workflow_type: (GOOD, BAD, EXCLUDED, UNKNOWN) if workflow_type in read else (NONE,)
                for workflow_type in workflow_types(slos)
            },
        )

    @property
    def execution_types(self) -> frozenset[str]:
        """Workflow types of which durations or ages of executions are measured."""
        latency = (rule.workflow_types for rule in self.closed_runs if rule.by_execution)
        overdue = (rule.workflow_types for rule in self.overdue if not rule.by_run)
        return frozenset(chain(*latency, *overdue))

    def counted(self, run: Run, classification: Classification) -> Counted:
        """Return *run* with its bucket, and the SLOs whose error budget it consumes, whatever its execution."""
        bad_for = self._bad_for(run, classification, run.duration, by_execution=False)
        return Counted(run, classification, bucket(run.duration, self.bucket_bounds), bad_for)

    def bad_executions(self, run: Run, classification: Classification, duration: int) -> tuple[str, ...]:
        """Return the SLOs on executions whose error budget an execution consumes.

        Args:
            run: Its last run.
            classification: Of that run.
            duration: Of the execution, in microseconds.
        """
        return self._bad_for(run, classification, duration, by_execution=True)

    def _bad_for(
        self, run: Run, classification: Classification, duration: int, *, by_execution: bool
    ) -> tuple[str, ...]:
        rules = (rule for rule in self.closed_runs if rule.by_execution == by_execution)
        return tuple(rule.slo for rule in rules if rule.is_bad_event(run, classification, duration))

    def is_overdue_at_close(self, run: Run) -> bool:
        """Return whether a closed run was overdue for any SLO when it closed."""
        return self._is_overdue(self.overdue, run, run.due_time)

    def is_execution_overdue(self, run: Run, start: int) -> bool:
        """Return whether the execution of a closed run, due at *start*, was overdue for any SLO when the run closed."""
        return self._is_overdue((rule for rule in self.overdue if not rule.by_run), run, start)

    def _is_overdue(self, rules: Iterable[OverdueRule], run: Run, since: int) -> bool:
        key, age = RunningKey(run.workflow_type, run.task_queue), run.close_time - since
        return any(age > rule.max_age and rule.applies_to(key) for rule in rules)


def _latency_thresholds(slos: Sequence[BoundSlo]) -> Iterator[tuple[str, int]]:
    for slo in slos:
        if isinstance(slo.sli, Latency):
            yield slo.name, round(slo.sli.threshold.total_seconds() * 1000)


def _overdue_rules(slos: Sequence[BoundSlo]) -> Iterator[OverdueRule]:
    for slo in slos:
        if isinstance(slo.sli, Overdue):
            max_age = slo.sli.max_age // timedelta(microseconds=1)
            yield OverdueRule(
                slo.name, slo.workflow_types, slo.task_queue, max_age, slo.sli.tolerate, slo.sli.measure == RUN
            )


def _by_execution(slo: BoundSlo) -> bool:
    return isinstance(slo.sli, Latency) and slo.sli.measure == EXECUTION
