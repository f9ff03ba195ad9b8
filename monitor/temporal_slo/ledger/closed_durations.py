"""Closed runs by duration, from the ledger: durations of the runs, or of the executions that they end."""

from collections.abc import Callable, Sequence
from typing import Final

from sqlalchemy import ColumnElement, FromClause, Table, select, union_all

from temporal_slo.ledger import schema
from temporal_slo.spec.model import Latency, Sli
from temporal_slo.spec.slis import EXECUTION

ADDED: Final = {
    schema.closed_minutes: schema.execution_minutes,
    schema.backfill_last_minute: schema.backfill_last_execution_minute,
}
"""The table of what executions add to a table of runs."""


def counts(table: Table, where: Callable[[Table], Sequence[ColumnElement[bool]]], *, executions: bool) -> FromClause:
    """Return closed runs by duration bucket, with the columns of *table*; a key may have several rows to be summed.

    Args:
        table: Closed runs by minute, or those of the last minute of a backfill.
        where: Returns conditions on a table with these columns.
        executions: Whether durations are those of executions. A run whose execution is not known yet then counts
            nowhere.
    """
    tables = (table, ADDED[table]) if executions else (table,)
    return union_all(*(select(one).where(*where(one)) for one in tables)).subquery()


def measures_executions(sli: Sli) -> bool:
    """Return whether the events of *sli* depend on the durations of executions."""
    return isinstance(sli, Latency) and sli.measure == EXECUTION
