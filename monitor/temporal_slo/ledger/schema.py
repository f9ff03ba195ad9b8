"""The ledger's tables. Times are in microseconds of Unix time, durations in microseconds, unless stated otherwise.

Python names follow the vocabulary of the code; table and column names in SQL never change without a migration.
"""

from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import BigInteger, Column, Index, Integer, MetaData, PrimaryKeyConstraint, Table, Text

VERSION: Final = 5
APPLICATION_ID: Final = 0x54534C4F
"""Identifies a SQLite file as a ledger: "TSLO"."""

metadata: Final = MetaData()


def _table(name: str, keys: Mapping[str, type], values: Mapping[str, type]) -> Table:
    columns: list[Column[Any]] = [Column(column, kind, nullable=False) for column, kind in {**keys, **values}.items()]
    # Without row ids SQLite stores the primary key only once.
    return Table(name, metadata, *columns, PrimaryKeyConstraint(*keys), sqlite_with_rowid=False)


NAMESPACE: Final = {"namespace": Text}
_EPOCH: Final = {**NAMESPACE, "epoch": Integer}
"""Totals start at 0 in every epoch. A restored copy of a ledger begins a new epoch."""
_SERIES: Final = {"workflow_type": Text, "task_queue": Text}
_CLOSED: Final = {**_SERIES, "status": Text, "outcome": Text, "bucket": BigInteger}
_RUN: Final = {
    "workflow_id": Text,
    "workflow_type": Text,
    "task_queue": Text,
    "start_time": BigInteger,
    "due_time": BigInteger,
}

ledger: Final = _table("ledger", {"key": Text}, {"value": Text})
"""Metadata: `program`, `schema`, `epoch`, `inode` (the identity of the database), and the token of the last commit."""

watermarks: Final = _table("edges", {**NAMESPACE, "list": Text}, {"lowest": BigInteger, "position": BigInteger})
"""Watermarks: of the lists of closed and of open runs, of the minutes evaluated, and of the audit."""

gaps: Final = _table("gaps", {**NAMESPACE, "low": BigInteger}, {"high": BigInteger})
"""Ranges of close times below the watermark, inclusive, that are not read yet."""

seen: Final = _table("seen", {**NAMESPACE, "run_id": Text}, {"close_time": BigInteger, "inserted": BigInteger})
"""Closed runs that are counted or pending, kept as long as they can be listed again."""

open_runs: Final = _table(
    "open_runs", {**NAMESPACE, "run_id": Text}, {**_RUN, "paused": Integer, "execution_start": BigInteger}
)
"""Open runs. `execution_start` is when the first run of their chain was due; 0 if it is not known."""
Index("open_workflow", open_runs.c.namespace, open_runs.c.workflow_id)

pending: Final = _table(
    "pending",
    {**NAMESPACE, "run_id": Text},
    {**_RUN, "status": Text, "close_time": BigInteger, "duration": BigInteger, "rank": Integer, "inserted": BigInteger},
)
"""Closed runs that wait for their close event to be counted. Requests are shared between the ranks."""
_FAILURES: Final = pending.c.rank == 0
Index(
    "pending_workflow",
    pending.c.namespace,
    pending.c.workflow_id,
    sqlite_where=_FAILURES,
    postgresql_where=_FAILURES,
)
Index("pending_close", pending.c.namespace, pending.c.rank, pending.c.close_time, pending.c.run_id)

closed_minutes: Final = _table("closed_minutes", {**NAMESPACE, "minute": Integer, **_CLOSED}, {"count": BigInteger})
"""Closed runs by the minute of their close time. `bucket` is the upper bound in milliseconds, -1 for +Inf."""

closed_totals: Final = _table("closed_totals", {**_EPOCH, **_CLOSED}, {"count": BigInteger, "duration": BigInteger})
"""Closed runs and the sum of their durations."""

execution_minutes: Final = _table(
    "execution_minutes", {**NAMESPACE, "minute": Integer, **_CLOSED}, {"count": BigInteger}
)
"""What is added to `closed_minutes` where durations are those of executions; negative where a run is taken out."""

execution_totals: Final = _table(
    "execution_totals", {**_EPOCH, **_CLOSED}, {"count": BigInteger, "duration": BigInteger}
)
"""What is added to `closed_totals` where durations are those of executions."""

_CHAIN_RUN: Final = {
    **_RUN,
    "status": Text,
    "close_time": BigInteger,
    "duration": BigInteger,
    "execution_start": BigInteger,
    "counted_status": Text,
    "outcome": Text,
    "failure_type": Text,
    "bucket": BigInteger,
}

chain_runs: Final = _table("chain_runs", {**NAMESPACE, "run_id": Text}, _CHAIN_RUN)
"""Closed runs of which it is not known yet what came before them, or what comes after them.

`execution_start` is 0 or -1 if it is not known; `counted_status` is empty until the run is classified.
"""

started_totals: Final = _table("started_totals", {**_EPOCH, **_SERIES}, {"count": BigInteger})
"""Started runs."""

failure_totals: Final = _table(
    "failure_totals",
    {**_EPOCH, "workflow_type": Text, "status": Text, "failure_type": Text},
    {"count": BigInteger},
)
"""Closed runs by failure type."""

other_totals: Final = _table("other_totals", {**_EPOCH, "name": Text}, {"count": BigInteger})
"""Counters of the exporter about itself that survive a restart."""

_MINUTES: Final = {"observed": BigInteger, "overdue": BigInteger}

closed_overdue_runs: Final = _table(
    "long_runs",
    {**NAMESPACE, "run_id": Text},
    {**_SERIES, "due_time": BigInteger, "close_time": BigInteger},
)
"""Closed runs that were overdue in minutes that are not evaluated yet, or whose executions were."""

closed_overdue_executions: Final = _table(
    "long_executions", {**NAMESPACE, "run_id": Text}, {"close_time": BigInteger, "execution_start": BigInteger}
)
"""When the executions of some of these runs were due; -1 if the execution goes on in another run."""

minute_totals: Final = _table("minute_totals", {**_EPOCH, "slo": Text}, _MINUTES)
"""Minutes evaluated for an overdue SLO, and those of them that were overdue."""

minute_hours: Final = _table("minute_hours", {**NAMESPACE, "slo": Text, "hour": Integer}, _MINUTES)
"""The same by hour of Unix time."""

bad_runs: Final = _table(
    "bad_runs",
    {**NAMESPACE, "slo": Text, "close_time": BigInteger, "run_id": Text},
    {
        "workflow_id": Text,
        "workflow_type": Text,
        "status": Text,
        "outcome": Text,
        "failure_type": Text,
        "duration": BigInteger,
    },
)
"""The newest runs that consumed the error budget of an SLO."""

released_series: Final = _table("exposed", {**_EPOCH, "series": Text}, {})
"""Counter series whose initial zero was scraped, as JSON."""

latency_thresholds: Final = _table("measured", {**NAMESPACE, "edge": BigInteger}, {"since": BigInteger})
"""Latency thresholds (`edge`, in milliseconds) and the close time from which the histogram has a bucket bound there."""

backfill_progress: Final = _table(
    "past",
    NAMESPACE,
    {"position": BigInteger, "runs": BigInteger, "gone": BigInteger, "unknown": BigInteger, "swept": Integer},
)
"""Progress of the backfill. Runs that closed after `position` are read; of those at `position`, the `past_runs` are.

`gone` counts runs without a close event, `unknown` rows with an unknown status. `swept` is 1 after the newest runs
were read again.
"""

backfill_seen: Final = _table("past_runs", {**NAMESPACE, "run_id": Text}, {"close_time": BigInteger})
"""Backfilled runs that are counted or pending, kept as long as they can be listed again."""

backfill_pending: Final = _table(
    "past_pending",
    {**NAMESPACE, "run_id": Text},
    {**_RUN, "status": Text, "close_time": BigInteger, "duration": BigInteger},
)
"""Backfilled runs that wait for their close event to be counted."""
Index("past_pending_order", backfill_pending.c.namespace, backfill_pending.c.close_time, backfill_pending.c.run_id)

backfill_chain_runs: Final = _table("past_chain_runs", {**NAMESPACE, "run_id": Text}, _CHAIN_RUN)
"""The same as `chain_runs`, of backfilled runs."""

backfill_last_execution_minute: Final = _table(
    "past_last_execution_minute", {**NAMESPACE, **_CLOSED}, {"count": BigInteger}
)
"""What is added to `past_last_minute` where durations are those of executions."""

backfill_last_minute: Final = _table("past_last_minute", {**NAMESPACE, **_CLOSED}, {"count": BigInteger})
"""Backfilled runs that closed in the minute in which counting started; `closed_minutes` includes them."""
