"""What recording rules would have recorded of the past, had they been there: the base series of each SLO."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import timedelta
from typing import Final

from sqlalchemy import Connection, func, literal, select, union_all

from temporal_slo import names
from temporal_slo.exporter.exposition.escaping import braced, escaped
from temporal_slo.exporter.history_export.counters import YIELD, Part
from temporal_slo.exporter.history_export.openmetrics_file import HEARTBEAT, PastFamily, PastSeries, Window
from temporal_slo.ledger import schema
from temporal_slo.ledger.slo_events import Events, by_minute, measured_since, slo_filter
from temporal_slo.runs.microseconds import MINUTE
from temporal_slo.spec.bound import BoundSlo
from temporal_slo.spec.burn import BASE_WINDOW, EVALUATION_INTERVAL
from temporal_slo.spec.formatting import duration_text
from temporal_slo.spec.model import Latency, Success

STEP: Final = EVALUATION_INTERVAL // timedelta(milliseconds=1)
"""Of the samples, as of the rules: a period's sum weighs samples, not time."""
WINDOW: Final = BASE_WINDOW // timedelta(milliseconds=1)
MINUTE_MS: Final = 60_000

Pick = Callable[[Events], int]


def families(connection: Connection, parts: Sequence[Part], slos: Sequence[BoundSlo]) -> Iterator[PastFamily]:
    """Yield the rates of events and of errors, each family to be read before the next."""
    picks: dict[str, Pick] = {names.EVENTS_RATE: sum, names.ERRORS_RATE: lambda events: events.bad}
    for series, pick in picks.items():
        family = names.Family(f"{series}{duration_text(BASE_WINDOW)}", "gauge", "As a recording rule has it.", ())
        yield PastFamily(family, _series(connection, parts, slos, pick))


def unknown(slos: Iterable[BoundSlo], namespaces: Iterable[str]) -> list[str]:
    """Return the SLOs of *namespaces* whose past the ledger does not know."""
    watched = set(namespaces)
    return [
        slo.name for slo in slos if slo.temporal_namespace in watched and not isinstance(slo.sli, Success | Latency)
    ]


def elsewhere(slos: Iterable[BoundSlo], namespaces: Iterable[str]) -> list[BoundSlo]:
    """Return the SLOs that are of none of *namespaces*."""
    watched = set(namespaces)
    return [slo for slo in slos if slo.temporal_namespace not in watched]


def _series(
    connection: Connection, parts: Sequence[Part], slos: Sequence[BoundSlo], pick: Pick
) -> Iterator[PastSeries]:
    for part in parts:
        for slo in slos:
            if slo.temporal_namespace == part.namespace and isinstance(slo.sli, Success | Latency):
                minutes = ((minute, pick(events)) for minute, events in _minutes(connection, part, slo, slo.sli))
                labels = {names.SLO: slo.name, names.SERVICE: slo.service, names.NAMESPACE: part.namespace}
                pairs = sorted((name, escaped(value)) for name, value in labels.items())
                yield PastSeries([braced(pairs)], _lines(minutes, part.window))


def _lines(minutes: Iterable[tuple[int, int]], window: Window) -> Iterator[tuple[int, tuple[float]]]:
    for moment, rate in spread(minutes, window):
        yield moment, (rate,)


def _minutes(connection: Connection, part: Part, slo: BoundSlo, sli: Success | Latency) -> Iterator[tuple[int, Events]]:
    table, last = schema.closed_minutes, schema.backfill_last_minute
    minute, since = part.lowest // MINUTE, measured_since(connection, part.namespace, sli)
    keys = names.STATUS, names.OUTCOME, "bucket"
    begin = max(part.window.begin // MINUTE_MS, since // MINUTE)
    whole = select(table.c.minute, *(table.c[key] for key in keys), table.c.count).where(
        *slo_filter(table, slo), table.c.minute >= begin, table.c.minute < minute
    )
    rest = select(literal(minute).label("minute"), *(last.c[key] for key in keys), last.c.count).where(
        *slo_filter(last, slo)
    )
    both = union_all(whole, rest).subquery()
    order = [both.c.minute, *(both.c[key] for key in keys)]
    query = select(*order, func.sum(both.c.count).label("runs")).group_by(*order).order_by(*order)
    yield from by_minute(sli, connection.execution_options(yield_per=YIELD).execute(query))


def spread(minutes: Iterable[tuple[int, int]], window: Window) -> Iterator[tuple[int, float]]:
    """Yield the samples of a rate over five minutes, of which the sum, times their distance, is the number of events.

    Each minute's events are in the samples of the five minutes after it, as they would be in a rule's. Near the end,
    where live rules begin that do not know the past, they are in those that are left. Between events there are zeros,
    near enough to one another that Prometheus sees no gap.

    Args:
        minutes: Minute of Unix time and events in it, ascending.
        window: Its begin and end bound the samples.
    """
    rates: dict[int, float] = {}
    last, latest = 0, window.end // STEP * STEP
    for minute, count in minutes:
        end = (minute + 1) * MINUTE_MS
        for moment in sorted(moment for moment in rates if moment < min(end, latest)):
            yield from _zeros(last, moment)
            last = moment
            yield moment, rates.pop(moment)
        for moment in (times := _times(end, latest)):
            rates[moment] = rates.get(moment, 0.0) + count * 1000 / STEP / len(times)
    for moment in sorted(rates):
        yield from _zeros(last, moment)
        last = moment
        yield moment, rates[moment]
    if last:
        yield from _zeros(last, window.end)


def _times(end: int, latest: int) -> Sequence[int]:
    """Return when samples have the events of the minute that ends at *end*; the last sample is at *latest*."""
    first = -(-end // STEP) * STEP
    return range(first, min(first + WINDOW, latest + STEP), STEP) or [latest]


def _zeros(last: int, moment: int) -> Iterator[tuple[int, float]]:
    """Yield zeros between two samples that are further apart than the step."""
    if not last or moment - last <= STEP:
        return
    before = (moment - 1) // STEP * STEP
    yield from ((at, 0.0) for at in range(last + STEP, before, HEARTBEAT // STEP * STEP))
    if before > last:
        yield before, 0.0
