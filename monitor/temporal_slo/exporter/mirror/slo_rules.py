"""What the SLOs of a namespace require of the mirror."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple

from temporal_slo.names.values import BAD, EXCLUDED, GOOD, NONE, UNKNOWN
from temporal_slo.runs.counted import BUCKET_BOUNDS_MS, RunningKey
from temporal_slo.spec.events import broken
from temporal_slo.spec.model import (
    Latency,
    Spec,
    latency_thresholds,
    overdue_slos,
    slos_of,
    spec_outcomes,
    watched_types,
)

if TYPE_CHECKING:
    from temporal_slo.ledger.state import State


def go_by(specs: tuple[Spec, ...], namespace: str, state: "State") -> None:
    """Have *state* go by the SLOs of *namespace*."""
    state.edges = _edges(specs, namespace)
    state.overdue = tuple(
        OverdueRule(
            slo.name, slo.workflow, slo.task_queue, overdue.max_age // timedelta(microseconds=1), overdue.tolerate
        )
        for slo, overdue in overdue_slos(specs, namespace)
    )
    state.latencies = {
        slo.name: round(slo.sli.threshold.total_seconds() * 1000)
        for slo in slos_of(specs, namespace)
        if isinstance(slo.sli, Latency)
    }
    state.promises = tuple(
        Promise(slo.name, slo.workflow, slo.task_queue, is_broken)
        for slo in slos_of(specs, namespace)
        if (is_broken := broken(slo.sli))
    )
    state.watched = dict(_watched(specs, namespace))


def _watched(specs: tuple[Spec, ...], namespace: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    outcomes = spec_outcomes(specs, namespace)
    for kind in watched_types(specs, namespace):
        yield kind, (GOOD, BAD, EXCLUDED, UNKNOWN) if kind in outcomes else (NONE,)


def _edges(specs: tuple[Spec, ...], namespace: str) -> tuple[int, ...]:
    """Return the edges of the duration buckets in milliseconds: one at every latency threshold of the spec."""
    return tuple(
        sorted({*BUCKET_BOUNDS_MS, *(round(seconds * 1000) for seconds in latency_thresholds(specs, namespace))})
    )


class OverdueRule(NamedTuple):
    """When an open run is overdue.

    Attributes:
        task_queue: None for any.
        max_age: Microseconds since it was due to execute.
        tolerate: Overdue runs that a good minute may have.
    """

    slo: str
    workflow_types: tuple[str, ...]
    task_queue: str | None
    max_age: int
    tolerate: int = 0

    def fits(self, key: RunningKey) -> bool:
        """Return whether runs of *key* are meant."""
        return key.workflow_type in self.workflow_types and self.task_queue in {None, key.task_queue}


class Promise(NamedTuple):
    """An SLO whose events are closed runs.

    Attributes:
        task_queue: None for any.
        broken: Tells by status, outcome and duration in microseconds whether a run spent its budget.
    """

    slo: str
    workflow_types: tuple[str, ...]
    task_queue: str | None
    broken: Callable[[str, str, int], bool]
