"""Deletes ledger rows that are never read again."""

from typing import Final

from sqlalchemy import Connection, delete, func, select

from temporal_slo.ledger import schema
from temporal_slo.runs.microseconds import HOUR, MINUTE

KEEP_SEEN: Final = 2 * HOUR
"""How long ids of closed runs are kept at least, in microseconds."""

KEEP_DAYS: Final = 400
"""How long counts by minute and by hour, and bad runs, are kept, in days."""

KEEP_BAD_RUNS: Final = 1000
"""How many bad runs of each SLO are kept: the newest."""


def expire(connection: Connection, namespace: str, epoch: int, floor: int, now: int) -> None:
    """Delete rows that are never read again.

    Args:
        connection: An open transaction.
        namespace: Temporal namespace.
        epoch: The current epoch; totals of earlier ones are deleted.
        floor: No close time below it is read again, in microseconds of Unix time.
        now: Current time, in microseconds of Unix time.
    """
    seen, minutes = schema.seen, schema.closed_minutes
    connection.execute(
        delete(seen).where(seen.c.namespace == namespace, seen.c.inserted < now - KEEP_SEEN, seen.c.close_time < floor)
    )
    oldest = now - KEEP_DAYS * 24 * HOUR
    for column, unit in (
        (minutes.c.minute, MINUTE),
        (schema.execution_minutes.c.minute, MINUTE),
        (schema.minute_hours.c.hour, HOUR),
        (schema.bad_runs.c.close_time, 1),
    ):
        table = column.table
        connection.execute(delete(table).where(table.c.namespace == namespace, column < oldest // unit))
    _limit_bad_runs(connection, namespace)
    _delete_former_epochs(connection, namespace, epoch)


def _delete_former_epochs(connection: Connection, namespace: str, epoch: int) -> None:
    for table in schema.metadata.sorted_tables:
        if "epoch" in table.c:
            connection.execute(delete(table).where(table.c.namespace == namespace, table.c.epoch < epoch))


def _limit_bad_runs(connection: Connection, namespace: str) -> None:
    table = schema.bad_runs
    over_limit = select(table.c.slo).where(table.c.namespace == namespace)
    over_limit = over_limit.group_by(table.c.slo).having(func.count() > KEEP_BAD_RUNS)
    for slo in connection.scalars(over_limit).all():
        of_slo = table.c.namespace == namespace, table.c.slo == slo
        newest = select(table.c.close_time).where(*of_slo).order_by(table.c.close_time.desc())
        oldest = newest.limit(1).offset(KEEP_BAD_RUNS - 1).scalar_subquery()
        connection.execute(delete(table).where(*of_slo, table.c.close_time < oldest))
