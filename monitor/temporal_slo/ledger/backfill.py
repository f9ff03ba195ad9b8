"""The backfill's part of the ledger: counts by minute of runs that closed before counting started, and its progress."""

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field, fields
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, delete, literal, select, tuple_, update

from temporal_slo.ledger import chains as stored_chains
from temporal_slo.ledger import schema, upserts, writes
from temporal_slo.ledger.change import Change
from temporal_slo.ledger.ledger import Ledger
from temporal_slo.ledger.reads import SortKey, count_pending, known
from temporal_slo.runs.counted import ClosedKey, Counted
from temporal_slo.runs.executions import ChainRun, Observation
from temporal_slo.runs.microseconds import MINUTE
from temporal_slo.runs.run import SWEEP_OVERLAP, Run

VISIBILITY_DELAY: Final = SWEEP_OVERLAP
"""Longest time that a closed run takes to become visible, in microseconds."""


class Progress(NamedTuple):
    """Progress of a backfill.

    Attributes:
        position: All runs that closed after this time are read, and some of those that closed at it; in microseconds
            of Unix time.
        runs: Runs read.
        without_event: Runs counted without their close event.
        unknown_status: Visibility rows skipped because of an unknown status.
        rescanned: Whether the newest runs were read again.
        pending: Runs that wait for their close event.
    """

    position: int
    runs: int = 0
    without_event: int = 0
    unknown_status: int = 0
    rescanned: bool = False
    pending: int = 0


@dataclass
class BackfillChange:
    """What one page of visibility rows, or one batch of close events, changes. It is written in one transaction.

    Attributes:
        new_closed: New runs.
        counted: Runs to count.
        pending: Runs that wait for their close event.
        resolved: Ids of runs that are no longer pending.
        without_event: How many of the resolved runs are counted without their close event.
        unknown_status: Visibility rows skipped because of an unknown status.
        chain_runs: Runs that may be part of a chain, by run id.
        unchained: Workflow ids of runs about whose chain nothing is left to find out, by run id.
        observed: Differences between the durations of executions and those of runs.
        bad_executions: Runs whose execution consumes the error budget of an SLO.
        position: New position; None for no change.
        rescanned: Whether this completes the second read of the newest runs.
    """

    new_closed: list[Run] = field(default_factory=list)
    counted: list[Counted] = field(default_factory=list)
    pending: list[Run] = field(default_factory=list)
    resolved: list[str] = field(default_factory=list)
    without_event: int = 0
    unknown_status: int = 0
    chain_runs: dict[str, ChainRun] = field(default_factory=dict)
    unchained: dict[str, str] = field(default_factory=dict)
    observed: list[Observation] = field(default_factory=list)
    bad_executions: list[Counted] = field(default_factory=list)
    position: int | None = None
    rescanned: bool = False


class BackfillStore:
    """Backfilled runs of one namespace in the ledger. No exposed counter includes them.

    All methods raise LedgerError. Whether a failed commit was written is unknown: read the progress again.

    Args:
        ledger: The ledger.
        namespace: Temporal namespace.
        end: Exclusive end of the backfilled close times, where counting started; in microseconds of Unix time.
    """

    def __init__(self, ledger: Ledger, namespace: str, end: int) -> None:
        self._ledger = ledger
        self._namespace = namespace
        self.end = end

    @property
    def rescan_from(self) -> int:
        """Close time from which runs may not have been visible when counting started."""
        return self.end - VISIBILITY_DELAY

    async def progress(self) -> Progress:
        """Return the progress; at the end of the close times before the first page."""
        return await self._ledger.transact(self._progress)

    async def known(self, run_ids: Collection[str]) -> set[str]:
        """Return those of *run_ids* that are counted or pending, as far as they can be listed again."""
        return await self._ledger.transact(known, schema.backfill_seen, self._namespace, list(run_ids))

    async def pending_runs(self, limit: int, after: SortKey | None) -> list[Run]:
        """Return up to *limit* runs that wait for their close event, newest first, starting after a sort key."""
        return await self._ledger.transact(self._pending_runs, limit, after)

    async def chain_runs(self) -> list[ChainRun]:
        """Return the runs that may be part of a chain."""
        return await self._ledger.transact(stored_chains.of_namespace, schema.backfill_chain_runs, self._namespace)

    async def commit(self, change: BackfillChange, now: int) -> Progress:
        """Write *change* in one transaction and return the progress.

        Args:
            change: What to write.
            now: Current time, in microseconds of Unix time.
        """

        def write(connection: Connection) -> Progress:
            self._write(connection, change, now)
            return self._progress(connection)

        return await self._ledger.transact(write)

    def _progress(self, connection: Connection) -> Progress:
        table = schema.backfill_progress
        row = connection.execute(select(table).where(table.c.namespace == self._namespace)).first()
        if row is None:
            return Progress(self.end - 1)
        pending = count_pending(connection, schema.backfill_pending, self._namespace)
        return Progress(row.position, row.runs, row.gone, row.unknown, bool(row.swept), pending)

    def _pending_runs(self, connection: Connection, limit: int, after: SortKey | None) -> list[Run]:
        table = schema.backfill_pending
        order = tuple_(table.c.close_time, table.c.run_id)
        query = select(*(table.c[column.name] for column in fields(Run))).where(table.c.namespace == self._namespace)
        query = query if after is None else query.where(order < tuple_(*map(literal, after)))
        newest_first = (column.desc() for column in order.clauses)
        return [Run(*row) for row in connection.execute(query.order_by(*newest_first).limit(limit))]

    def _write(self, connection: Connection, change: BackfillChange, now: int) -> None:
        self._write_progress(connection, change)
        self._write_seen(connection, change)
        pending = schema.backfill_pending
        upserts.insert_missing(connection, pending, [self._row(writes.run_row(pending, run)) for run in change.pending])
        writes.delete_runs(connection, pending, self._namespace, change.resolved)
        stored_chains.replace(connection, schema.backfill_chain_runs, self._namespace, change.chain_runs.values())
        stored_chains.remove(connection, schema.backfill_chain_runs, self._namespace, change.unchained)
        self._count(connection, change, now)

    def _row(self, columns: dict[str, Any]) -> dict[str, Any]:
        return {"namespace": self._namespace, **columns}

    def _write_progress(self, connection: Connection, change: BackfillChange) -> None:
        table = schema.backfill_progress
        first = {"namespace": self._namespace, "position": self.end - 1}
        upserts.insert_missing(connection, table, [{column.name: 0 for column in table.columns} | first])
        values: dict[str, Any] = {
            "runs": table.c.runs + len(change.new_closed),
            "gone": table.c.gone + change.without_event,
            "unknown": table.c.unknown + change.unknown_status,
        }
        values |= {} if change.position is None else {"position": change.position}
        values |= {"swept": 1} if change.rescanned else {}
        connection.execute(update(table).where(table.c.namespace == self._namespace).values(values))

    def _write_seen(self, connection: Connection, change: BackfillChange) -> None:
        """Store the ids of runs that can be listed again, at the position and to be rescanned; delete all others."""
        table, progress = schema.backfill_seen, schema.backfill_progress
        row = connection.execute(select(progress).where(progress.c.namespace == self._namespace)).one()
        rescan_from = self.end if row.swept else self.rescan_from
        again = [run for run in change.new_closed if run.close_time == row.position or run.close_time >= rescan_from]
        upserts.insert_missing(connection, table, [self._row(writes.run_row(table, run)) for run in again])
        if change.position is not None or change.rescanned:
            read = table.c.close_time != row.position, table.c.close_time < rescan_from
            connection.execute(delete(table).where(table.c.namespace == self._namespace, *read))

    def _count(self, connection: Connection, page: BackfillChange, now: int) -> None:
        counted = page.counted
        change = Change(counted=counted, observed=page.observed, bad_executions=page.bad_executions)
        # Only tables without an epoch: the others hold the exposed counters.
        for table, rows in writes.new_rows(change, now):
            if table is schema.bad_runs:
                upserts.insert_missing(connection, table, [self._row(row) for row in rows])
        for table, rows in writes.increments(change):
            if table in {schema.closed_minutes, schema.execution_minutes}:
                upserts.increment(connection, table, [self._row(row) for row in rows])
        last = Counter((one.key, one.bucket) for one in counted if one.run.close_time // MINUTE == self.end // MINUTE)
        upserts.increment(
            connection,
            schema.backfill_last_minute,
            [self._row(key._asdict() | {"bucket": bucket, "count": count}) for (key, bucket), count in last.items()],
        )
        added: Counter[tuple[ClosedKey, int]] = Counter()
        for one in page.observed:
            added[one.key, one.bucket] += one.added if one.minute == self.end // MINUTE else 0
        upserts.increment(
            connection,
            schema.backfill_last_execution_minute,
            [self._row(key._asdict() | {"bucket": bucket, "count": n}) for (key, bucket), n in added.items() if n],
        )
