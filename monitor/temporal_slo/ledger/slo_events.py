"""What the events of an SLO were between two moments, as the ledger has them: the authority beside Prometheus."""

from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, Select, Table, func, select

from temporal_slo.ledger import schema
from temporal_slo.ledger.change import CLOSED
from temporal_slo.runs.microseconds import HOUR, MINUTE
from temporal_slo.spec.bound import BoundSlo
from temporal_slo.spec.events import good
from temporal_slo.spec.model import Latency, Overdue, Success

Runs = Success | Latency
"""SLIs whose events are closed runs."""


class Events(NamedTuple):
    """How many events there were."""

    good: int
    bad: int


NONE = Events(0, 0)


def events(connection: Connection, slo: BoundSlo, begin: int, end: int) -> Events | None:
    """Return the events of *slo* from *begin* until *end*.

    Args:
        connection: To the ledger.
        slo: The SLO.
        begin: Microseconds of Unix time, a whole minute; for an SLI of minutes the hour counts that it is in.
        end: The moment after the last.

    Returns:
        None for an SLI whose events only workers measure, and where nothing was read yet: that is not zero.
    """
    if isinstance(slo.sli, Overdue):
        return _minutes(connection, slo, begin, end)
    if not isinstance(slo.sli, Success | Latency) or not _begun(connection, slo.temporal_namespace):
        return None
    begin = max(begin, measured_since(connection, slo.temporal_namespace, slo.sli))
    table = schema.closed_minutes
    some = table.c.minute >= begin // MINUTE, table.c.minute < -(-end // MINUTE)
    keys = table.c.status, table.c.outcome, table.c.bucket
    rows = connection.execute(
        select(*keys, func.sum(table.c.count).label("runs")).where(*of_slo(table, slo), *some).group_by(*keys)
    )
    return judged(slo.sli, rows)


def of_slo(table: Table, slo: BoundSlo) -> tuple[ColumnElement[bool], ...]:
    """Return what selects the rows of the runs that *slo* is about."""
    # Durations tell no task queue in Prometheus: here they must be of the same runs.
    queue = (table.c.task_queue == slo.task_queue,) if slo.task_queue and isinstance(slo.sli, Success) else ()
    return (table.c.namespace == slo.temporal_namespace, table.c.workflow_type.in_(slo.workflow_types), *queue)


def judged(sli: Runs, rows: Iterable[Any]) -> Events:
    """Return the events among *rows*, each with `status`, `outcome`, `bucket` and `runs`."""
    counts, judge = {True: 0, False: 0}, good(sli)
    for row in rows:
        verdict = judge(row.status, row.outcome, row.bucket)
        if verdict is not None:
            counts[verdict] += row.runs
    return Events(counts[True], counts[False])


def by_minute(sli: Runs, rows: Iterable[Any]) -> Iterator[tuple[int, Events]]:
    """Yield the events of each minute that has any; *rows* are in the order of their `minute`."""
    for minute, group in groupby(rows, lambda row: int(row.minute)):
        found = judged(sli, group)
        if found != NONE:
            yield minute, found


def measured_since(connection: Connection, namespace: str, sli: Runs) -> int:
    """Return the close time from which the threshold of *sli* is measured, in microseconds; 0 if from the first run."""
    if isinstance(sli, Success):
        return 0
    table, edges = schema.measured, schema.edges
    edge = round(sli.threshold.total_seconds() * 1000)
    since = connection.scalar(select(table.c.since).where(table.c.namespace == namespace, table.c.edge == edge))
    begun: Select[tuple[int]] = select(edges.c.lowest).where(edges.c.namespace == namespace, edges.c.list == CLOSED)
    # Measured since counting began: what closed before, and was read later, has the edge too.
    return 0 if since is None or since <= (connection.scalar(begun) or 0) else since


def _begun(connection: Connection, namespace: str) -> bool:
    edges = schema.edges
    query = select(edges.c.lowest).where(edges.c.namespace == namespace, edges.c.list == CLOSED)
    return connection.scalar(query) is not None


def _minutes(connection: Connection, slo: BoundSlo, begin: int, end: int) -> Events | None:
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
