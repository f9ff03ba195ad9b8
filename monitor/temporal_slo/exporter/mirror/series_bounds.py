"""Bounds of the workflow types and task queues that have series of their own."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Final, NamedTuple

from temporal_slo import names
from temporal_slo.ledger.change import Change
from temporal_slo.ledger.state import State
from temporal_slo.names.bounded import BoundedValues
from temporal_slo.names.values import OTHER
from temporal_slo.runs.counted import RunningKey
from temporal_slo.runs.run import Run
from temporal_slo.settings import DEFAULT_TASK_QUEUES_MAX, DEFAULT_WORKFLOW_TYPES_MAX
from temporal_slo.spec.bound import BoundSlo, task_queues, workflow_types


class Limits(NamedTuple):
    """How many values of each label have series of their own, besides those that the specs name."""

    workflow_types: int = DEFAULT_WORKFLOW_TYPES_MAX
    task_queues: int = DEFAULT_TASK_QUEUES_MAX


DEFAULT_LIMITS: Final = Limits()


class SeriesBounds:
    """Chooses the labels of the runs of one namespace; those beyond the limits are counted as `other`.

    Workflow types and task queues that a spec names always have series of their own, and so has what the ledger counts
    already. A value that has a series keeps it.

    Args:
        state: The facts of the namespace.
        slos: The SLOs of the namespace.
        limits: Of both labels.
    """

    def __init__(self, state: State, slos: Sequence[BoundSlo] = (), limits: Limits = DEFAULT_LIMITS) -> None:
        self._state = state
        keys = set(_counted(state))
        self._types = BoundedValues(limits.workflow_types, known={names.WORKFLOW_TYPE: {key[0] for key in keys}})
        self._queues = BoundedValues(limits.task_queues, known={names.TASK_QUEUE: {key[1] for key in keys}})
        self.apply_slos(slos)
        # Open runs that started before the ledger began are in no counter, but have gauges.
        self._admit([run.key for run in state.open.values()])

    def apply_slos(self, slos: Sequence[BoundSlo]) -> None:
        """Give series of their own to the workflow types and task queues of *slos* from now on."""
        self._types.keep(workflow_types(slos))
        self._queues.keep(task_queues(slos))

    def admit(self, runs: Collection[Run]) -> None:
        """Give series to the new workflow types and task queues of *runs* while there is room, the busiest first."""
        self._admit([key_of(run) for run in runs])

    def key(self, run: Run, change: Change) -> RunningKey:
        """Return the labels of a run that is counted for the first time; *change* counts those beyond a limit."""
        key = self.current(key_of(run))
        if key.workflow_type == OTHER != run.workflow_type:
            change.counters[names.EXPORTER_WORKFLOW_TYPES_OVER_LIMIT] += 1
        if key.task_queue == OTHER != run.task_queue:
            change.counters[names.EXPORTER_QUEUE_LABELS_OVER_LIMIT] += 1
        return key

    def labeled(self, run: Run) -> Run:
        """Return *run* with the labels under which it is counted."""
        key = self.current(key_of(run))
        return run if key == key_of(run) else replace(run, **key._asdict())

    def current(self, key: RunningKey) -> RunningKey:
        """Return the labels of runs of *key*."""
        return RunningKey(
            self._types.current(names.WORKFLOW_TYPE, key.workflow_type),
            self._queues.current(names.TASK_QUEUE, key.task_queue),
        )

    def _admit(self, keys: Sequence[RunningKey]) -> None:
        self._types.admit(names.WORKFLOW_TYPE, (key.workflow_type for key in keys))
        self._queues.admit(names.TASK_QUEUE, (key.task_queue for key in keys))


def key_of(run: Run) -> RunningKey:
    """Return the workflow type and the task queue of *run*."""
    return RunningKey(run.workflow_type, run.task_queue)


def _counted(state: State) -> Iterator[RunningKey]:
    yield from state.started
    counted: Iterable[tuple[str, str, *tuple[str, ...]]] = (*state.closed, *state.waiting)
    for workflow_type, task_queue, *_ in counted:
        yield RunningKey(workflow_type, task_queue)
