"""The figures that a mirror's state amounts to."""

from collections import Counter
from collections.abc import Iterator

from temporal_slo.exporter.exposition.snapshot import DurationKey, Figures, OverdueKey
from temporal_slo.ledger.change import AUDIT, CLOSED
from temporal_slo.ledger.state import Histogram, Minutes, State
from temporal_slo.names.samples import Observations
from temporal_slo.names.values import NONE
from temporal_slo.runs.counted import ClosedKey, RunningKey, bucket_counts
from temporal_slo.runs.microseconds import SECOND


def figures(state: State, now: int) -> Figures:
    """Return the figures of *state*; pure.

    Args:
        state: What the mirror knows.
        now: Our clock, in microseconds of Unix time.
    """
    running, paused, oldest = _open(state, now)
    slos = {rule.slo: state.minutes.get(rule.slo, Minutes()) for rule in state.overdue}
    closed = {**dict.fromkeys(_expected(state), Histogram()), **state.closed}
    return Figures(
        closed={key: histogram.count for key, histogram in closed.items()},
        durations=_durations(closed, state.edges),
        running=running,
        oldest_running_age={kind: max(now - due, 0) / SECOND for kind, due in oldest.items()},
        overdue=_overdue(state, now),
        paused=paused,
        observed_minutes={slo: minutes.observed for slo, minutes in slos.items()},
        overdue_minutes={slo: minutes.overdue for slo, minutes in slos.items()},
        edges=tuple(edge / 1000 for edge in state.edges),
        started=dict(state.started),
        failures=dict(state.failures),
        others=dict(state.others),
        measured_since=dict(_measured_since(state)),
        exemplars=dict(state.exemplars),
        waiting=state.waiting,
        covered_until=_covered_until(state),
        audited_until=state.positions[AUDIT].position / SECOND if AUDIT in state.positions else None,
        audit_drift=state.drift,
        uncovered=sum(gap.high - gap.low for gap in state.gaps) / SECOND,
    )


def _expected(state: State) -> Iterator[ClosedKey]:
    """Yield the series of watched types that are to be there at 0, before the first run of their kind has closed."""
    for kind, queue in {*state.started, *(run.key for run in state.open.values())}:
        for outcome in state.watched.get(kind, ()):
            yield ClosedKey(kind, queue, "completed", outcome)
        for status in ("failed", "timed_out") if kind in state.watched else ():
            yield ClosedKey(kind, queue, status, NONE)


def _measured_since(state: State) -> Iterator[tuple[str, float]]:
    begun = state.positions[CLOSED].lowest if CLOSED in state.positions else 0
    for slo, edge in state.latencies.items():
        if edge in state.measured:
            since = state.measured[edge]
            yield slo, since / SECOND if since > begun else 0.0


def _covered_until(state: State) -> float | None:
    closed = state.positions.get(CLOSED)
    return None if closed is None or closed.position == closed.lowest else closed.position / SECOND


def _open(state: State, now: int) -> tuple[Counter[RunningKey], Counter[str], dict[str, int]]:
    """Return running and paused runs, and since when the oldest of either was due."""
    # What ran once stays a series at 0: a series that vanishes cannot be told from no data.
    known = {*state.started, *(RunningKey(key.workflow_type, key.task_queue) for key in state.closed)}
    running = Counter(dict.fromkeys(known, 0))
    paused = Counter(dict.fromkeys((key.workflow_type for key in known), 0))
    oldest = {key.workflow_type: now for key in known}
    for run in state.open.values():
        kind = run.key.workflow_type
        if run.paused:
            paused[kind] += 1
        else:
            running[run.key] += 1
        oldest[kind] = min(oldest.get(kind, now), run.due_time)
    return running, paused, oldest


def _overdue(state: State, now: int) -> dict[OverdueKey, int]:
    counts = {OverdueKey(kind, rule.slo): 0 for rule in state.overdue for kind in rule.workflow_types}
    for rule in state.overdue:
        for run in state.open.values():
            if now - run.due_time > rule.max_age and rule.fits(run.key):
                counts[OverdueKey(run.key.workflow_type, rule.slo)] += 1
    return counts


def _durations(closed: dict[ClosedKey, Histogram], edges: tuple[int, ...]) -> dict[DurationKey, Observations]:
    merged: dict[DurationKey, Histogram] = {}
    for key, histogram in closed.items():
        whole = merged.setdefault(DurationKey(key.workflow_type, key.status, key.outcome), Histogram())
        whole.counts.update(histogram.counts)
        whole.duration += histogram.duration
    return {key: Observations(bucket_counts(h.counts, edges), h.duration / SECOND) for key, h in merged.items()}
