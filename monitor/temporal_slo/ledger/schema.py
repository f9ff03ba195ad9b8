"""The ledger's tables. Times are microseconds of Unix time, durations microseconds, everywhere."""

from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import BigInteger, Column, Index, Integer, MetaData, PrimaryKeyConstraint, Table, Text

VERSION: Final = 3
APPLICATION_ID: Final = 0x54534C4F
"""Marks a SQLite file as ours: "TSLO"."""

metadata: Final = MetaData()


def _table(name: str, keys: Mapping[str, type], values: Mapping[str, type]) -> Table:
    columns: list[Column[Any]] = [Column(column, kind, nullable=False) for column, kind in {**keys, **values}.items()]
    # A table that is only its key needs no second copy of it.
    return Table(name, metadata, *columns, PrimaryKeyConstraint(*keys), sqlite_with_rowid=False)


NAMESPACE: Final = {"namespace": Text}
_EPOCH: Final = {**NAMESPACE, "epoch": Integer}
"""Totals count from 0 in every epoch; a restored ledger begins a new one."""
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
"""About the ledger itself: `program`, `schema`, `epoch`, `inode`."""

edges: Final = _table("edges", {**NAMESPACE, "list": Text}, {"lowest": BigInteger, "position": BigInteger})
"""How far down each list was read: `closed` and `running`."""

gaps: Final = _table("gaps", {**NAMESPACE, "low": BigInteger}, {"high": BigInteger})
"""Close times, both ends included, that are below the edge and not yet covered."""

seen: Final = _table("seen", {**NAMESPACE, "run_id": Text}, {"close_time": BigInteger, "inserted": BigInteger})
"""Closed runs that are counted or pending, as long as they can be read again."""

open_runs: Final = _table("open_runs", {**NAMESPACE, "run_id": Text}, {**_RUN, "paused": Integer})
pending: Final = _table(
    "pending",
    {**NAMESPACE, "run_id": Text},
    {**_RUN, "status": Text, "close_time": BigInteger, "duration": BigInteger, "rank": Integer, "inserted": BigInteger},
)
"""Closed runs that are covered but wait for their close event to be counted; those of a lower rank are asked first."""
Index("pending_order", pending.c.namespace, pending.c.rank, pending.c.inserted, pending.c.run_id)

closed_minutes: Final = _table("closed_minutes", {**NAMESPACE, "minute": Integer, **_CLOSED}, {"count": BigInteger})
"""Closed runs by the minute of their close; `bucket` is the upper edge in milliseconds, -1 above all."""

closed_totals: Final = _table("closed_totals", {**_EPOCH, **_CLOSED}, {"count": BigInteger, "duration": BigInteger})
started_totals: Final = _table("started_totals", {**_EPOCH, **_SERIES}, {"count": BigInteger})
failure_totals: Final = _table(
    "failure_totals",
    {**_EPOCH, "workflow_type": Text, "status": Text, "failure_type": Text},
    {"count": BigInteger},
)
other_totals: Final = _table("other_totals", {**_EPOCH, "name": Text}, {"count": BigInteger})
"""Counters of the exporter itself that must outlive it."""

_MINUTES: Final = {"observed": BigInteger, "overdue": BigInteger}

long_runs: Final = _table(
    "long_runs",
    {**NAMESPACE, "run_id": Text},
    {**_SERIES, "due_time": BigInteger, "close_time": BigInteger},
)
"""Closed runs that were overdue in minutes which are not judged yet."""

minute_totals: Final = _table("minute_totals", {**_EPOCH, "slo": Text}, _MINUTES)
"""Minutes that were judged for an SLO, and those of them that were overdue."""

minute_hours: Final = _table("minute_hours", {**NAMESPACE, "slo": Text, "hour": Integer}, _MINUTES)
"""The same by the hour of Unix time."""

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
"""Which runs spent the budget of an SLO: the newest of them."""

exposed: Final = _table("exposed", {**_EPOCH, "series": Text}, {})
"""Counter series that were let go from the 0 at which each begins."""

measured: Final = _table("measured", {**NAMESPACE, "edge": BigInteger}, {"since": BigInteger})
"""Latency thresholds, in milliseconds, and the close time from which durations have an edge there."""

past: Final = _table(
    "past",
    NAMESPACE,
    {"position": BigInteger, "runs": BigInteger, "gone": BigInteger, "unknown": BigInteger, "swept": Integer},
)
"""How far down was read what closed before counting began: all after `position`, and what `past_runs` has of it.

`swept` is 1 when the youngest of it was read a second time.
"""

past_runs: Final = _table("past_runs", {**NAMESPACE, "run_id": Text}, {"close_time": BigInteger})
"""Runs of the past that are counted or pending, as long as they can be read again."""

past_pending: Final = _table(
    "past_pending",
    {**NAMESPACE, "run_id": Text},
    {**_RUN, "status": Text, "close_time": BigInteger, "duration": BigInteger},
)
"""Runs of the past that wait for their close event to be counted."""
Index("past_pending_order", past_pending.c.namespace, past_pending.c.close_time, past_pending.c.run_id)

past_last_minute: Final = _table("past_last_minute", {**NAMESPACE, **_CLOSED}, {"count": BigInteger})
"""Runs of the past that closed in the very minute in which counting began; `closed_minutes` has both together."""
