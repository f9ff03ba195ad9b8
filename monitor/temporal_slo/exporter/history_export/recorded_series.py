"""Recorded series as the recording rules would have written them: the base series of each SLO."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import timedelta
from typing import Final

from sqlalchemy import Connection, func, literal, select, union_all

from temporal_slo import names
from temporal_slo.exporter.exposition.escaping import escaped, label_set
from temporal_slo.exporter.history_export.counters import FETCHED_ROWS, MINUTE_MS, NamespaceExport
from temporal_slo.exporter.history_export.openmetrics_file import (
    MAX_SAMPLE_INTERVAL,
    ExportedFamily,
    ExportedSeries,
    Window,
)
from temporal_slo.ledger import closed_durations, schema
from temporal_slo.ledger.slo_events import Events, by_minute, measured_since, slo_filter
from temporal_slo.runs.microseconds import MINUTE
from temporal_slo.spec.bound import BoundSlo
from temporal_slo.spec.burn import BASE_WINDOW, EVALUATION_INTERVAL
from temporal_slo.spec.formatting import duration_text
from temporal_slo.spec.model import Latency, Success

STEP_MS: Final = EVALUATION_INTERVAL // timedelta(milliseconds=1)
"""Interval between samples, that of the rules: a sum over the period weighs samples, not time."""

RATE_WINDOW_MS: Final = BASE_WINDOW // timedelta(milliseconds=1)

CountEvents = Callable[[Events], int]


def families(
    connection: Connection, exports: Sequence[NamespaceExport], slos: Sequence[BoundSlo]
) -> Iterator[ExportedFamily]:
    """Yield the rates of events and of errors. Read each family completely before the next."""
    recorded: dict[str, CountEvents] = {names.EVENTS_RATE: sum, names.ERRORS_RATE: lambda events: events.bad}
    for name, count in recorded.items():
        family = names.Family(f"{name}{duration_text(BASE_WINDOW)}", "gauge", "Recorded series of an SLO.", ())
        yield ExportedFamily(family, _series(connection, exports, slos, count))


def slos_without_history(slos: Iterable[BoundSlo], namespaces: Iterable[str]) -> list[str]:
    """Return the names of the SLOs of *namespaces* whose type has no history in the ledger."""
    exported = set(namespaces)
    return [
        slo.name for slo in slos if slo.temporal_namespace in exported and not isinstance(slo.sli, Success | Latency)
    ]


def slos_of_other_namespaces(slos: Iterable[BoundSlo], namespaces: Iterable[str]) -> list[BoundSlo]:
    """Return the SLOs whose namespace is not among *namespaces*."""
    exported = set(namespaces)
    return [slo for slo in slos if slo.temporal_namespace not in exported]


def _series(
    connection: Connection, exports: Sequence[NamespaceExport], slos: Sequence[BoundSlo], count: CountEvents
) -> Iterator[ExportedSeries]:
    for export in exports:
        for slo in slos:
            if slo.temporal_namespace == export.namespace and isinstance(slo.sli, Success | Latency):
                minutes = ((minute, count(events)) for minute, events in _minutes(connection, export, slo, slo.sli))
                labels = {names.SLO: slo.name, names.SERVICE: slo.service, names.NAMESPACE: export.namespace}
                pairs = sorted((name, escaped(value)) for name, value in labels.items())
                samples = ((moment, (rate,)) for moment, rate in rate_samples(minutes, export.window))
                yield ExportedSeries([label_set(pairs)], samples)


def _minutes(
    connection: Connection, export: NamespaceExport, slo: BoundSlo, sli: Success | Latency
) -> Iterator[tuple[int, Events]]:
    table, last = schema.closed_minutes, schema.backfill_last_minute
    last_minute, since = export.counting_start // MINUTE, measured_since(connection, export.namespace, sli)
    keys = names.STATUS, names.OUTCOME, "bucket"
    begin = max(export.window.begin // MINUTE_MS, since // MINUTE)
    executions = closed_durations.measures_executions(sli)
    runs = closed_durations.counts(
        table,
        lambda one: (*slo_filter(one, slo), one.c.minute >= begin, one.c.minute < last_minute),
        executions=executions,
    )
    whole = select(runs.c.minute, *(runs.c[key] for key in keys), runs.c.count)
    minute = literal(last_minute).label("minute")
    others = closed_durations.counts(last, lambda one: slo_filter(one, slo), executions=executions)
    rest = select(minute, *(others.c[key] for key in keys), others.c.count)
    both = union_all(whole, rest).subquery()
    order = [both.c.minute, *(both.c[key] for key in keys)]
    query = select(*order, func.sum(both.c.count).label("runs")).group_by(*order).order_by(*order)
    yield from by_minute(sli, connection.execution_options(yield_per=FETCHED_ROWS).execute(query))


def rate_samples(minutes: Iterable[tuple[int, int]], window: Window) -> Iterator[tuple[int, float]]:
    """Yield the samples of a 5-minute rate. Their sum, times the interval between samples, is the number of events.

    Each minute's events are in the samples of the five minutes after it, as in a rule's. Near the end of the window,
    where live rules start that do not see the history, they are in the remaining samples. Between events the samples
    are zeros, close enough to each other that the series does not become stale.

    Args:
        minutes: Minute of Unix time and number of events in it, ascending.
        window: Time range of the samples.
    """
    rates: dict[int, float] = {}
    last, last_sample = 0, window.end // STEP_MS * STEP_MS
    for minute, count in minutes:
        end = (minute + 1) * MINUTE_MS
        for moment in sorted(moment for moment in rates if moment < min(end, last_sample)):
            yield from _zeros(last, moment)
            last = moment
            yield moment, rates.pop(moment)
        for moment in (times := _sample_times(end, last_sample)):
            rates[moment] = rates.get(moment, 0.0) + count * 1000 / STEP_MS / len(times)
    for moment in sorted(rates):
        yield from _zeros(last, moment)
        last = moment
        yield moment, rates[moment]
    if last:
        yield from _zeros(last, window.end)


def _sample_times(end: int, last_sample: int) -> Sequence[int]:
    """Return the times of the samples that include the events of the minute that ends at *end*."""
    first = -(-end // STEP_MS) * STEP_MS
    return range(first, min(first + RATE_WINDOW_MS, last_sample + STEP_MS), STEP_MS) or [last_sample]


def _zeros(last: int, moment: int) -> Iterator[tuple[int, float]]:
    """Yield zeros between two samples that are more than one step apart."""
    if not last or moment - last <= STEP_MS:
        return
    before = (moment - 1) // STEP_MS * STEP_MS
    yield from ((time, 0.0) for time in range(last + STEP_MS, before, MAX_SAMPLE_INTERVAL // STEP_MS * STEP_MS))
    if before > last:
        yield before, 0.0
