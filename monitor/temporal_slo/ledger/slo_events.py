"""Good and bad events of an SLO between two times, from the ledger: exact where a PromQL range is not."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from types import MappingProxyType
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, Table, func, select

from temporal_slo.ledger import closed_durations, schema
from temporal_slo.ledger.reads import counting_start
from temporal_slo.names.values import NONE, UNKNOWN
from temporal_slo.runs.microseconds import HOUR, MINUTE
from temporal_slo.runs.status_groups import STATUS_GROUPS, status_group
from temporal_slo.spec.bound import BoundSlo
from temporal_slo.spec.events import good_run_predicate, run_events
from temporal_slo.spec.model import Latency, Overdue, Success

RunSli = Success | Latency
"""SLIs whose events are closed runs."""


class Events(NamedTuple):
    """Numbers of events."""

    good: int
    bad: int


NO_EVENTS = Events(0, 0)


def events(connection: Connection, slo: BoundSlo, begin: int, end: int) -> Events | None:
    """Return the events of *slo* from *begin* until *end*.

    Args:
        connection: An open transaction.
        slo: The SLO.
        begin: Microseconds of Unix time, at the start of a minute. Overdue SLOs are stored by hour: the whole hour
            of *begin* is included.
        end: Exclusive end, in microseconds of Unix time.

    Returns:
        None if unknown: for an SLI that only workers measure, and before the first poll.
    """
    if isinstance(slo.sli, Overdue):
        return _minute_events(connection, slo, begin, end)
    if not isinstance(slo.sli, Success | Latency) or counting_start(connection, slo.temporal_namespace) is None:
        return None
    begin = max(begin, measured_since(connection, slo.temporal_namespace, slo.sli))
    table = closed_durations.counts(
        schema.closed_minutes,
        lambda one: (*slo_filter(one, slo), one.c.minute >= begin // MINUTE, one.c.minute < -(-end // MINUTE)),
        executions=closed_durations.measures_executions(slo.sli),
    )
    keys = table.c.status, table.c.outcome, table.c.bucket
    rows = connection.execute(select(*keys, func.sum(table.c.count).label("runs")).group_by(*keys))
    pending = schema.pending
    closed = pending.c.close_time >= begin, pending.c.close_time < end
    waiting = connection.execute(
        select(pending.c.status, func.count().label("runs"))
        .where(*slo_filter(pending, slo), *closed)
        .group_by(pending.c.status)
    )
    return count_events(slo.sli, rows, {row.status: row.runs for row in waiting})


def slo_filter(table: Table, slo: BoundSlo) -> tuple[ColumnElement[bool], ...]:
    """Return the conditions that select the runs of *slo* from a table of closed runs."""
    # The duration histogram has no label for the task queue: the ledger must select the same runs as PromQL.
    queue = (table.c.task_queue == slo.task_queue,) if slo.task_queue and isinstance(slo.sli, Success) else ()
    return (table.c.namespace == slo.temporal_namespace, table.c.workflow_type.in_(slo.workflow_types), *queue)


def count_events(sli: RunSli, rows: Iterable[Any], pending: Mapping[str, int] = MappingProxyType({})) -> Events:
    """Return the events among closed runs.

    Runs that are not classified yet, or whose outcome is unknown, count as the others of their status group do on
    average; without any others, failures are bad and completed runs are good.

    Args:
        sli: Defines the events.
        rows: Classified runs, with `status`, `outcome`, `bucket` and `runs`.
        pending: Runs that wait for their close event, by status in visibility.
    """
    is_good, unclassified = good_run_predicate(sli), Counter[str]()
    known: dict[str, Counter[bool | None]] = {group: Counter() for group in STATUS_GROUPS}
    for row in rows:
        group = status_group(row.status)
        if row.outcome == UNKNOWN:
            unclassified[group] += int(row.runs)
        else:
            known[group][is_good(row.status, row.outcome, row.bucket)] += int(row.runs)
    for status, runs in pending.items():
        unclassified[status_group(status)] += runs
    # If runs of unknown outcome are no events, pending ones are none until their outcome is known.
    if UNKNOWN not in run_events(sli).no_events:
        for group, runs in unclassified.items():
            shares = known[group] if known[group].total() else Counter({is_good(group, NONE, 0): 1})
            total = shares.total()
            for kind, share in list(shares.items()):
                known[group][kind] += round(runs * share / total)
    return Events(sum(counts[True] for counts in known.values()), sum(counts[False] for counts in known.values()))


def by_minute(sli: RunSli, rows: Iterable[Any]) -> Iterator[tuple[int, Events]]:
    """Yield each minute that has events with its events; *rows* are sorted by their `minute`."""
    for minute, group in groupby(rows, lambda row: int(row.minute)):
        found = count_events(sli, group)
        if found != NO_EVENTS:
            yield minute, found


def measured_since(connection: Connection, namespace: str, sli: RunSli) -> int:
    """Return the close time from which the events of *sli* are exact, in microseconds of Unix time; 0 for all.

    Durations that were counted before the latency threshold became a bucket bound cannot be compared with it.
    """
    if isinstance(sli, Success):
        return 0
    table = schema.latency_thresholds
    threshold = round(sli.threshold.total_seconds() * 1000)
    since = connection.scalar(select(table.c.since).where(table.c.namespace == namespace, table.c.edge == threshold))
    # A threshold as old as the ledger: backfilled runs, which closed earlier, were counted with this bucket bound too.
    return 0 if since is None or since <= (counting_start(connection, namespace) or 0) else since


def _minute_events(connection: Connection, slo: BoundSlo, begin: int, end: int) -> Events | None:
    table = schema.minute_hours
    rows = connection.execute(
        select(func.sum(table.c.observed), func.sum(table.c.overdue)).where(
            table.c.namespace == slo.temporal_namespace,
            table.c.slo == slo.name,
            table.c.hour >= begin // HOUR,
            table.c.hour < -(-end // HOUR),
        )
    )
    observed, overdue = rows.one()
    return None if observed is None else Events(int(observed - overdue), int(overdue))
