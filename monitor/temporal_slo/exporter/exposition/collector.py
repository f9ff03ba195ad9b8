"""Snapshots as metric families and their series."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.metadata import version

from temporal_slo import names
from temporal_slo.exporter.exposition.snapshot import Figures, Snapshot
from temporal_slo.exporter.sources.source import Reading
from temporal_slo.ledger.change import GONE, LATE, OTHER_FAILURES, RECONCILED, REPAIRED, UNKNOWN_STATUS, VANISHED
from temporal_slo.names.samples import Exemplar, FamilySeries, Histogram, Labels, Sample, Value, ValueWithExemplar
from temporal_slo.temporal.rpc import (
    DESCRIBE_SCHEDULE,
    DESCRIBE_TASK_QUEUE,
    DESCRIBE_WORKFLOW,
    GET_HISTORY,
    LIST_WORKERS,
)

COUNTERS = (
    names.WORKFLOWS_STARTED,
    names.WORKFLOWS_CLOSED,
    names.WORKFLOW_FAILURES,
    names.WORKFLOW_DURATION,
    names.OBSERVED_MINUTES,
    names.OVERDUE_MINUTES,
)
"""Families whose series begin at 0: the ledger keeps them, so they would else appear at what they have counted."""

OTHERS = {
    LATE: names.EXPORTER_LATE_ROWS,
    VANISHED: names.EXPORTER_VANISHED_RUNS,
    RECONCILED: names.EXPORTER_RECONCILED_RUNS,
    REPAIRED: names.EXPORTER_AUDIT_REPAIRED_RUNS,
    GONE: names.EXPORTER_MISSING_CLOSE_EVENTS,
    OTHER_FAILURES: names.EXPORTER_FAILURE_TYPES_OVER_LIMIT,
    UNKNOWN_STATUS: names.EXPORTER_UNKNOWN_STATUS_ROWS,
}
"""Counters of the exporter itself, by what the state calls them."""

REQUESTS = {
    GET_HISTORY.name: names.EXPORTER_HISTORY_REQUESTS,
    DESCRIBE_TASK_QUEUE.name: names.EXPORTER_TASK_QUEUE_REQUESTS,
    LIST_WORKERS.name: names.EXPORTER_TASK_QUEUE_REQUESTS,
    DESCRIBE_SCHEDULE.name: names.EXPORTER_DESCRIBE_REQUESTS,
    DESCRIBE_WORKFLOW.name: names.EXPORTER_DESCRIBE_REQUESTS,
}
"""What counts requests that are not of visibility, by API."""


def collect(snapshots: Sequence[Snapshot], own: Sequence[Sample] = ()) -> list[FamilySeries]:
    """Return every family of `names.EXPORTER_FAMILIES` with its series in all *snapshots*; pure.

    Args:
        snapshots: One of each namespace.
        own: What the exporter tells of itself, whatever the namespace.

    Raises:
        ValueError: A sample's labels are not those that its family declares.
    """
    series: dict[names.Family, list[tuple[Labels, Value]]] = {family: [] for family in names.EXPORTER_FAMILIES}
    for sample in (_build_info(), *own, *(sample for snapshot in snapshots for sample in _samples(snapshot))):
        if sample.labels.keys() != set(sample.family.labels):
            raise ValueError(f"{sample.family.name}: {sorted(sample.labels)} are not {sorted(sample.family.labels)}")
        series[sample.family].append((tuple(sample.labels[name] for name in sample.family.labels), sample.value))
    return list(series.items())


def _samples(snapshot: Snapshot) -> Iterator[Sample]:
    namespace = {names.NAMESPACE: snapshot.temporal_namespace}
    figures = [] if snapshot.figures is None else [*_counts(snapshot.figures), *_state(snapshot.figures)]
    for family, labels, value in (*figures, *_health(snapshot), *_told(snapshot)):
        yield Sample(family, {**namespace, **labels}, value)


def _told(snapshot: Snapshot) -> Iterator[Sample]:
    for reading in snapshot.readings.values():
        yield from reading.samples


def _counts(figures: Figures) -> Iterator[Sample]:
    for key, count in figures.started.items():
        yield Sample(names.WORKFLOWS_STARTED, key._asdict(), count)
    for closed, count in figures.closed.items():
        yield Sample(names.WORKFLOWS_CLOSED, closed._asdict(), _exemplified(count, figures.exemplars.get(closed)))
    for failure, count in figures.failures.items():
        yield Sample(names.WORKFLOW_FAILURES, failure._asdict(), _exemplified(count, figures.exemplars.get(failure)))
    for slo, since in figures.measured_since.items():
        yield Sample(names.LATENCY_MEASURED_SINCE, {names.SLO: slo}, since)
    for slo, count in figures.observed_minutes.items():
        yield Sample(names.OBSERVED_MINUTES, {names.SLO: slo}, count)
    for slo, count in figures.overdue_minutes.items():
        yield Sample(names.OVERDUE_MINUTES, {names.SLO: slo}, count)
    for duration, observed in figures.durations.items():
        yield Sample(names.WORKFLOW_DURATION, duration._asdict(), Histogram(observed, figures.edges))


def _exemplified(count: int, exemplar: Exemplar | None) -> Value:
    return ValueWithExemplar(count, exemplar) if exemplar else count


def _state(figures: Figures) -> Iterator[Sample]:
    for running, count in figures.running.items():
        yield Sample(names.WORKFLOWS_RUNNING, running._asdict(), count)
    for kind, age in figures.oldest_running_age.items():
        yield Sample(names.WORKFLOW_OLDEST_RUNNING_AGE, {names.WORKFLOW_TYPE: kind}, age)
    for overdue, count in figures.overdue.items():
        yield Sample(names.WORKFLOWS_OVERDUE, overdue._asdict(), count)
    for kind, count in figures.paused.items():
        yield Sample(names.WORKFLOWS_PAUSED, {names.WORKFLOW_TYPE: kind}, count)
    if figures.covered_until is not None:
        yield Sample(names.EXPORTER_WATERMARK, {}, figures.covered_until)
    if figures.audited_until is not None:
        yield Sample(names.EXPORTER_AUDITED_UNTIL, {}, figures.audited_until)
    if figures.audit_drift is not None:
        yield Sample(names.EXPORTER_AUDIT_DRIFT, {}, figures.audit_drift)
    yield Sample(names.EXPORTER_GAP, {}, figures.uncovered)
    yield Sample(names.EXPORTER_PENDING_RUNS, {}, figures.waiting)
    for name, family in OTHERS.items():
        yield Sample(family, {}, figures.others.get(name, 0))


def _health(snapshot: Snapshot) -> Iterator[Sample]:
    polled = snapshot.poll_duration is not None
    yield Sample(names.EXPORTER_UP, {}, int(polled and snapshot.trouble is None))
    if snapshot.last_success is not None:
        yield Sample(names.EXPORTER_LAST_SUCCESS, {}, snapshot.last_success)
    if snapshot.poll_duration is not None:
        yield Sample(names.EXPORTER_POLL_DURATION, {}, snapshot.poll_duration)
    for (api, code), count in snapshot.requests.items():
        family = REQUESTS.get(api, names.EXPORTER_VISIBILITY_REQUESTS)
        labels = {names.API: api, names.CODE: code}
        yield Sample(family, {name: labels[name] for name in family.labels if name in labels}, count)
    for budget, seconds in snapshot.waited.items():
        yield Sample(names.EXPORTER_RATE_LIMIT_WAIT, {names.LIMITER: budget}, seconds)
    for name, reading in snapshot.readings.items():
        yield from _source_health({names.SOURCE: name}, reading)
    for budget, rate in snapshot.budgets.items():
        yield Sample(names.EXPORTER_RATE_LIMIT, {names.LIMITER: budget}, rate)
    if snapshot.outcomes_stopped is not None:
        yield Sample(names.EXPORTER_OUTCOMES_STOPPED, {}, int(snapshot.outcomes_stopped))


def _source_health(source: Mapping[str, str], reading: Reading) -> Iterator[Sample]:
    yield Sample(names.EXPORTER_SOURCE_UP, source, int(reading.trouble is None))
    yield Sample(names.EXPORTER_SOURCE_DURATION, source, reading.duration)
    if reading.last_success is not None:
        yield Sample(names.EXPORTER_SOURCE_LAST_SUCCESS, source, reading.last_success)


def _build_info() -> Sample:
    return Sample(names.EXPORTER_BUILD_INFO, {names.VERSION: version("temporal-slo")}, 1)


def zeroed(families: Iterable[FamilySeries], values: Mapping[tuple[str, Labels], Value]) -> list[FamilySeries]:
    """Return *families* with the values of some series, by family name and labels, replaced."""
    return [
        (family, [(labels, values.get((family.name, labels), value)) for labels, value in rows])
        for family, rows in families
    ]
