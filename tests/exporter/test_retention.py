"""What the ledger forgets, so that it does not grow for ever."""

import shutil
import sqlite3
from collections import Counter
from pathlib import Path

from temporal_slo.exporter import schema
from temporal_slo.exporter.ledger import Ledger
from temporal_slo.exporter.retention import KEEP_DAYS
from temporal_slo.exporter.snapshot import RunningKey
from temporal_slo.exporter.state import HOUR, MINUTE, MINUTES, Change, Counted, Gap, Judged, Position, Verdict

from .runs import BEGAN, close, closed, running

SERIES = {"edges", "closed_totals", "started_totals", "failure_totals", "minute_totals", "other_totals", "exposed"}
"""Tables with a row for each list, series or counter, and no more."""

LIVE = {"open_runs", "pending"}
"""Tables whose rows leave when their run has closed, is counted, or was deleted."""


def tables(path: Path) -> set[str]:
    """The tables that have rows, but for what the ledger says about itself."""
    names = {table.name for table in schema.metadata.sorted_tables} - {"ledger"}
    with sqlite3.connect(path) as connection:
        found = {name for name in names if connection.execute(f"SELECT 1 FROM {name}").fetchone()}  # noqa: S608 ours
    connection.close()
    return found


def everything() -> Change:
    """A change with a row for every table."""
    failed = Counted(closed(1, "failed"), Verdict("failed", "none", "Refused"), 10_000, ("slo",))
    return Change(
        seen=[failed.run],
        counted=[failed],
        pending=[closed(2)],
        opened=[running(1)],
        long=[close(running(1), 60)],
        judged=[Judged("slo", BEGAN // HOUR, 1, 1)],
        started=Counter({RunningKey("Ride", "rides"): 1}),
        others=Counter({"late": 1}),
        positions={"closed": Position(BEGAN, BEGAN)},
        gaps=(Gap(1, 2),),
    )


async def test_every_table(tmp_path: Path) -> None:
    """Whatever the ledger keeps is a row for each series, belongs to a run that lives, or goes in time."""
    path = tmp_path / "ledger"
    ledger = Ledger(f"sqlite:///{path}")
    await ledger.commit("shop", everything(), BEGAN)
    await ledger.mark_exposed("shop", ["series"])
    assert tables(path) == {table.name for table in schema.metadata.sorted_tables} - {"ledger"}
    later = BEGAN + 2 * KEEP_DAYS * 24 * HOUR
    await ledger.commit("shop", Change(gaps=(), positions={MINUTES: Position(BEGAN, BEGAN + 2 * MINUTE)}), later)
    await ledger.expire("shop", later, later)
    assert tables(path) == SERIES | LIVE
    ledger.close()


async def test_former_epochs(tmp_path: Path) -> None:
    """The totals of a ledger that was restored over go with the next expiry."""
    path = tmp_path / "ledger"
    ledger = Ledger(f"sqlite:///{path}")
    await ledger.commit("shop", everything(), BEGAN)
    await ledger.mark_exposed("shop", ["series"])
    ledger.close()
    shutil.copy(path, tmp_path / "copy")
    (tmp_path / "copy").rename(path)
    restored = Ledger(f"sqlite:///{path}")
    await restored.expire("shop", BEGAN, BEGAN)
    assert tables(path) & SERIES == {"edges"}
    restored.close()
