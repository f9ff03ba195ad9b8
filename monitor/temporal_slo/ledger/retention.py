"""What the ledger forgets, and when."""

from typing import Final

from sqlalchemy import Connection, delete, func, select

from temporal_slo.ledger import schema
from temporal_slo.runs.microseconds import HOUR, MINUTE, SECOND

KEEP_SEEN: Final = 2 * 3600 * SECOND
KEEP_DAYS: Final = 400
KEEP_BAD_RUNS: Final = 1000
"""Bad runs of each SLO, the newest ones."""


def expire(connection: Connection, namespace: str, epoch: int, floor: int, now: int) -> None:
    """Delete what is never asked for again.

    Args:
        connection: To the ledger.
        namespace: Whose rows.
        epoch: The one that is counted in; totals of former ones go.
        floor: No close time below it will be read again.
        now: Our clock, in microseconds of Unix time.
    """
    seen, minutes = schema.seen, schema.closed_minutes
    connection.execute(
        delete(seen).where(seen.c.namespace == namespace, seen.c.inserted < now - KEEP_SEEN, seen.c.close_time < floor)
    )
    oldest = now - KEEP_DAYS * 24 * HOUR
    for column, unit in (
        (minutes.c.minute, MINUTE),
        (schema.minute_hours.c.hour, HOUR),
        (schema.bad_runs.c.close_time, 1),
    ):
        table = column.table
        connection.execute(delete(table).where(table.c.namespace == namespace, column < oldest // unit))
    _bound_bad_runs(connection, namespace)
    _forget_epochs(connection, namespace, epoch)


def _forget_epochs(connection: Connection, namespace: str, epoch: int) -> None:
    for table in schema.metadata.sorted_tables:
        if "epoch" in table.c:
            connection.execute(delete(table).where(table.c.namespace == namespace, table.c.epoch < epoch))


def _bound_bad_runs(connection: Connection, namespace: str) -> None:
    table = schema.bad_runs
    many = select(table.c.slo).where(table.c.namespace == namespace)
    many = many.group_by(table.c.slo).having(func.count() > KEEP_BAD_RUNS)
    for slo in connection.scalars(many).all():
        whose = table.c.namespace == namespace, table.c.slo == slo
        newest = select(table.c.close_time).where(*whose).order_by(table.c.close_time.desc())
        oldest = newest.limit(1).offset(KEEP_BAD_RUNS - 1).scalar_subquery()
        connection.execute(delete(table).where(*whose, table.c.close_time < oldest))
