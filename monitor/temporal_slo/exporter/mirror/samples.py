"""The metrics of one namespace, computed from the facts of its ledger and the rules of its SLOs."""

from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cache
from typing import NamedTuple

from temporal_slo import names
from temporal_slo.exporter.mirror.slo_rules import SloRules
from temporal_slo.exporter.mirror.store import MirrorStore
from temporal_slo.ledger.change import AUDIT, CLOSED
from temporal_slo.ledger.state import Histogram, Minutes, State
from temporal_slo.names.samples import Histogram as HistogramValue
from temporal_slo.names.samples import Observations, Sample, Value, ValueWithExemplar
from temporal_slo.names.values import COMPLETED, FAILED, NONE, TIMED_OUT
from temporal_slo.runs.counted import ClosedKey, RunningKey, SeenKey, bucket_counts
from temporal_slo.runs.microseconds import SECOND
from temporal_slo.runs.status_groups import status_group


class DurationKey(NamedTuple):
    """Labels of a series of durations."""

    workflow_type: str
    status: str
    outcome: str


def samples(store: MirrorStore, now: int) -> Iterator[Sample]:
    """Yield all metrics of a namespace, without the label `temporal_namespace`. Pure.

    Args:
        store: Facts, rules and exemplars.
        now: Local clock, in microseconds of Unix time.
    """
    yield from _closed_runs(store)
    yield from _overdue_minutes(store)
    yield from _open_runs(store, now)
    yield from _overdue_runs(store, now)
    yield from _progress(store)
    yield Sample(names.EXPORTER_OLDEST_PENDING_AGE, {}, _oldest_pending_age(store, now))


def _closed_runs(store: MirrorStore) -> Iterator[Sample]:
    state, rules, exemplars = store.state, store.rules, store.exemplars
    for running, count in state.started.items():
        yield Sample(names.WORKFLOWS_STARTED, running._asdict(), count)
    closed = {**dict.fromkeys(_expected(state, rules), Histogram()), **state.closed}
    for key, histogram in closed.items():
        value: Value = histogram.count
        if exemplar := exemplars.get(key):
            value = ValueWithExemplar(histogram.count, exemplar)
        yield Sample(names.WORKFLOWS_CLOSED, key._asdict(), value)
    yield from _seen_closed(state, closed)
    for failure, count in state.failures.items():
        exemplar = exemplars.get(failure)
        yield Sample(
            names.WORKFLOW_FAILURES, failure._asdict(), ValueWithExemplar(count, exemplar) if exemplar else count
        )
    executions = {key: closed_executions(key, histogram, state) for key, histogram in closed.items()}
    yield from _durations(names.WORKFLOW_DURATION, executions, rules.bucket_bounds)
    by_run = {key: histogram for key, histogram in closed.items() if key.workflow_type in rules.run_types}
    yield from _durations(names.RUN_DURATION, by_run, rules.bucket_bounds)


def _seen_closed(state: State, closed: Mapping[ClosedKey, Histogram]) -> Iterator[Sample]:
    # A transaction moves a run from those that wait to those that are classified, so the sum never falls.
    seen = Counter(state.waiting)
    for key, histogram in closed.items():
        seen[SeenKey(key.workflow_type, key.task_queue, status_group(key.status))] += histogram.count
    for series, count in seen.items():
        yield Sample(names.WORKFLOWS_SEEN_CLOSED, series._asdict(), count)
        yield Sample(names.WORKFLOWS_PENDING, series._asdict(), state.waiting[series])


def _expected(state: State, rules: SloRules) -> Iterator[ClosedKey]:
    """Yield the series of workflow types in the specs that are exposed at 0 before such a run has closed."""
    for workflow_type, task_queue in {*state.started, *(run.key for run in state.open.values())}:
        outcomes = rules.expected_outcomes.get(workflow_type, ())
        for outcome in outcomes:
            yield ClosedKey(workflow_type, task_queue, COMPLETED, outcome)
        for status in (FAILED, TIMED_OUT) if outcomes else ():
            yield ClosedKey(workflow_type, task_queue, status, NONE)


def closed_executions(key: ClosedKey, runs: Histogram, state: State) -> Histogram:
    """Return the durations of the executions of a series, whose runs have the durations *runs*."""
    added = state.executions.get(key)
    if added is None:
        return runs
    counts = Counter(runs.counts)
    counts.update(added.counts)
    return Histogram(counts, runs.duration + added.duration)


def _durations(
    family: names.Family, closed: Mapping[ClosedKey, Histogram], bounds: tuple[int, ...]
) -> Iterator[Sample]:
    seconds = tuple(bound / 1000 for bound in bounds)
    merged: dict[DurationKey, Histogram] = {}
    for key, histogram in closed.items():
        # Observations have no label for the task queue.
        whole = merged.setdefault(DurationKey(key.workflow_type, key.status, key.outcome), Histogram())
        whole.counts.update(histogram.counts)
        whole.duration += histogram.duration
    for duration, whole in merged.items():
        observed = Observations(bucket_counts(whole.counts, bounds), whole.duration / SECOND)
        yield Sample(family, duration._asdict(), HistogramValue(observed, seconds))


def _overdue_minutes(store: MirrorStore) -> Iterator[Sample]:
    for rule in store.rules.overdue:
        minutes = store.state.minutes.get(rule.slo, Minutes())
        yield Sample(names.OBSERVED_MINUTES, {names.SLO: rule.slo}, minutes.observed)
        yield Sample(names.OVERDUE_MINUTES, {names.SLO: rule.slo}, minutes.overdue)


def _open_runs(store: MirrorStore, now: int) -> Iterator[Sample]:
    state, labels = store.state, cache(store.bounds.current)
    # A series that existed once stays at 0: one that vanishes looks like missing data.
    known = {*state.started, *(RunningKey(key.workflow_type, key.task_queue) for key in state.closed)}
    running = Counter(dict.fromkeys(known, 0))
    paused = Counter(dict.fromkeys((key.workflow_type for key in known), 0))
    oldest = {key.workflow_type: now for key in known}
    for run in state.open.values():
        key = labels(run.key)
        if run.paused:
            paused[key.workflow_type] += 1
        else:
            running[key] += 1
        oldest[key.workflow_type] = min(oldest.get(key.workflow_type, now), run.due_time)
    for key, count in running.items():
        yield Sample(names.WORKFLOWS_RUNNING, key._asdict(), count)
    for workflow_type, count in paused.items():
        yield Sample(names.WORKFLOWS_PAUSED, {names.WORKFLOW_TYPE: workflow_type}, count)
    for workflow_type, due_time in oldest.items():
        age = max(now - due_time, 0) / SECOND
        yield Sample(names.WORKFLOW_OLDEST_RUNNING_AGE, {names.WORKFLOW_TYPE: workflow_type}, age)


def _overdue_runs(store: MirrorStore, now: int) -> Iterator[Sample]:
    for rule in store.rules.overdue:
        counts = dict.fromkeys(rule.workflow_types, 0)
        for run in store.state.open.values():
            if now - rule.since(run) > rule.max_age and rule.applies_to(run.key):
                counts[run.key.workflow_type] += 1
        for workflow_type, count in counts.items():
            labels = {names.WORKFLOW_TYPE: workflow_type, names.SLO: rule.slo}
            yield Sample(names.WORKFLOWS_OVERDUE, labels, count)


def _progress(store: MirrorStore) -> Iterator[Sample]:
    state = store.state
    yield from _measured_since(store)
    closed, audit = state.positions.get(CLOSED), state.positions.get(AUDIT)
    if closed and closed.position != closed.lowest:
        yield Sample(names.EXPORTER_WATERMARK, {}, closed.position / SECOND)
    if audit:
        yield Sample(names.EXPORTER_AUDITED_UNTIL, {}, audit.position / SECOND)
    if store.audit_drift is not None:
        yield Sample(names.EXPORTER_AUDIT_DRIFT, {}, store.audit_drift)
    yield Sample(names.EXPORTER_GAP, {}, sum(gap.high - gap.low for gap in state.gaps) / SECOND)
    yield Sample(names.EXPORTER_PENDING_RUNS, {}, state.pending)
    unknown = sum(1 for _ in store.unknown_open()) + sum(1 for _ in store.executions.waiting())
    yield Sample(names.EXPORTER_UNKNOWN_EXECUTION_STARTS, {}, unknown)
    for family in names.STORED_COUNTERS:
        yield Sample(family, {}, state.counters[family])


def _oldest_pending_age(store: MirrorStore, now: int) -> float:
    if not store.state.pending or store.oldest_pending is None:
        return 0.0
    return max(now - store.oldest_pending, 0) / SECOND


def _measured_since(store: MirrorStore) -> Iterator[Sample]:
    closed = store.state.positions.get(CLOSED)
    for slo, threshold in store.rules.latency_thresholds.items():
        since = store.state.measured_since.get(threshold)
        if since is not None:
            # 0: every run that the ledger counts has a bucket bound at the threshold.
            value = since / SECOND if since > (closed.lowest if closed else 0) else 0.0
            yield Sample(names.LATENCY_MEASURED_SINCE, {names.SLO: slo}, value)
