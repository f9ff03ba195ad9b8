"""Retention: the size of the ledger is bounded."""

from collections import Counter

from sqlalchemy import Connection, Text, insert

from temporal_slo import names
from temporal_slo.exporter.mirror.chains import taken_out
from temporal_slo.ledger import retention, schema
from temporal_slo.ledger.change import MINUTES, Change, ClosedOverdueRun, EvaluatedHour, Gap, Position
from temporal_slo.ledger.ledger import Ledger
from temporal_slo.ledger.retention import KEEP_DAYS
from temporal_slo.runs.counted import Classification, Counted, RunningKey
from temporal_slo.runs.executions import WAITS, ChainRun
from temporal_slo.runs.microseconds import HOUR, MINUTE
from tests.conftest import query, restore_copy
from tests.run_factory import BEGAN, close, closed, running

SERIES = {
    "edges",
    "closed_totals",
    "execution_totals",
    "started_totals",
    "failure_totals",
    "minute_totals",
    "other_totals",
    "exposed",
}
"""Tables with one row for each list, series or counter."""

FIXED = {"measured", "past", "past_runs", "past_last_minute", "past_last_execution_minute"}
"""Tables with one row for each threshold, or for the last minutes before counting started."""

LIVE = {"open_runs", "pending", "past_pending", "chain_runs", "past_chain_runs"}
"""Tables whose rows are removed when their run closes, is counted, is continued, or is deleted from Temporal."""


def tables(ledger: str) -> set[str]:
    """Names of the tables with rows, except the metadata."""
    names = {table.name for table in schema.metadata.sorted_tables} - {"ledger"}
    return {name for name in names if query(ledger, f"SELECT 1 FROM {name}")}  # noqa: S608 ours


def fill(connection: Connection) -> None:
    """Write a row to each table that no change writes to."""
    for table in map(schema.metadata.tables.__getitem__, FIXED | {"past_pending", "past_chain_runs"}):
        row = {column.name: "x" if isinstance(column.type, Text) else 1 for column in table.columns}
        connection.execute(insert(table), row | {"namespace": "shop"})


def everything() -> Change:
    """A change that writes to every other table."""
    failed = Counted(closed(1, "failed"), Classification("failed", "none", "Refused"), 10_000, ("slo",))
    return Change(
        new_closed=[failed.run],
        counted=[failed],
        pending=[closed(2)],
        new_open=[running(1)],
        closed_overdue=[close(running(1), 60)],
        overdue_executions={"run": ClosedOverdueRun(RunningKey("Ride", "rides"), BEGAN, BEGAN + MINUTE, BEGAN)},
        chain_runs={failed.run.run_id: ChainRun(failed.run, WAITS)},
        observed=[taken_out(ChainRun(failed.run, WAITS, failed.classification, failed.bucket))],
        evaluated=[EvaluatedHour("slo", BEGAN // HOUR, 1, 1)],
        started=Counter({RunningKey("Ride", "rides"): 1}),
        counters=Counter({names.EXPORTER_LATE_ROWS: 1}),
        positions={"closed": Position(BEGAN, BEGAN)},
        gaps=(Gap(1, 2),),
    )


async def test_every_table(ledger_url: str) -> None:
    """Every row belongs to a series, a threshold or a run that is not counted yet, or expires."""
    ledger = Ledger(ledger_url)
    await ledger.commit("shop", everything(), BEGAN)
    await ledger.mark_released("shop", ["series"])
    await ledger.transact(fill)
    assert tables(ledger_url) == {table.name for table in schema.metadata.sorted_tables} - {"ledger"}
    later = BEGAN + 2 * KEEP_DAYS * 24 * HOUR
    await ledger.commit("shop", Change(gaps=(), positions={MINUTES: Position(BEGAN, BEGAN + 2 * MINUTE)}), later)
    await ledger.transact(retention.expire, "shop", ledger.epoch, later, later)
    assert tables(ledger_url) == SERIES | FIXED | LIVE
    ledger.close()


async def test_former_epochs(ledger_url: str) -> None:
    """Totals of former epochs are deleted with the next expiry."""
    ledger = Ledger(ledger_url)
    await ledger.commit("shop", everything(), BEGAN)
    await ledger.mark_released("shop", ["series"])
    ledger.close()
    restore_copy(ledger_url)
    restored = Ledger(ledger_url)
    await restored.transact(retention.expire, "shop", restored.epoch, BEGAN, BEGAN)
    assert tables(ledger_url) & SERIES == {"edges"}
    restored.close()
