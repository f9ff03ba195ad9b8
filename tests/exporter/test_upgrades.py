"""Ledgers of older versions."""

import shutil
import sqlite3
from collections import Counter
from pathlib import Path

import pytest

from temporal_slo.exporter import schema, upgrades
from temporal_slo.exporter.ledger import Ledger
from temporal_slo.exporter.mirror import Mirror
from temporal_slo.exporter.snapshot import FailureKey, RunningKey
from temporal_slo.exporter.state import LATE, MINUTE, MINUTES, SECOND, Gap, OpenRun
from temporal_slo.testing import FakeVisibility

from .runs import BEGAN, at_once

LEDGERS = Path(__file__).parent / "ledgers"
RIDE = RunningKey("Ride", "rides")


def restore(path: Path, version: int) -> None:
    """Write the ledger that this version of the schema left."""
    with sqlite3.connect(path) as connection:
        connection.executescript((LEDGERS / f"{version}.sql").read_text())
        connection.execute("UPDATE ledger SET value = ? WHERE key = 'inode'", [str(path.stat().st_ino)])
    connection.close()


def minutes(path: Path) -> list[tuple[int, str, int]]:
    """Closed runs by minute and status."""
    with sqlite3.connect(path) as connection:
        rows = connection.execute("SELECT minute, status, count FROM closed_minutes ORDER BY status").fetchall()
    connection.close()
    return rows


def columns(path: Path) -> dict[str, set[str]]:
    """The columns of every table, and the names of all tables and indexes."""
    names = [table.name for table in schema.metadata.sorted_tables]
    with sqlite3.connect(path) as connection:
        found = {name: {row[1] for row in connection.execute(f"PRAGMA table_info({name})")} for name in names}
        found["all"] = {row[0] for row in connection.execute("SELECT name FROM sqlite_master")}
    connection.close()
    return found


@pytest.mark.parametrize("version", range(1, schema.VERSION))
async def test_upgrade(tmp_path: Path, version: int) -> None:
    """A ledger of an older schema is opened with all that it knew, and has the tables of a new one."""
    old, new = tmp_path / "old", tmp_path / "new"
    restore(old, version)
    for _ in range(2):
        ledger = Ledger(f"sqlite:///{old}")
        state = await ledger.load("shop")
        ledger.close()
        assert state.open == {"run-4": OpenRun(RIDE, BEGAN + 4 * SECOND)}
        assert (state.gaps, state.waiting) == ((Gap(BEGAN + 2 * SECOND, BEGAN + 3 * SECOND),), 1)
        assert [histogram.count for histogram in state.closed.values()] == [1, 1]
        assert state.failures == {FailureKey("Ride", "failed", "Refused"): 1}
        assert (state.started, state.others) == (Counter({RIDE: 4}), Counter({LATE: 1}))
    Ledger(f"sqlite:///{new}").close()
    assert columns(old) == columns(new)
    assert minutes(old) == [(BEGAN // MINUTE, "completed", 1), (BEGAN // MINUTE, "failed", 1)]


async def test_goes_on(tmp_path: Path) -> None:
    """A mirror goes on from an upgraded ledger, and judges minutes from then on."""
    path = tmp_path / "old"
    restore(path, 1)
    ledger = Ledger(f"sqlite:///{path}")
    now = BEGAN + 100 * SECOND
    mirror = Mirror("shop", FakeVisibility(), ledger, await ledger.load("shop"), now, judge=at_once)
    for later in (0, 5 * MINUTE):
        await mirror.poll(now + later)
        while await mirror.catch_up(now + later):
            pass
    # The first whole minute begins 100 seconds after BEGAN.
    assert mirror.state.positions[MINUTES] == (now, now + 4 * MINUTE)
    ledger.close()


def test_cut_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An upgrade that fails leaves the ledger as it was, and works the next time."""
    path = tmp_path / "old"
    restore(path, 1)
    shutil.copy(path, tmp_path / "before")
    with monkeypatch.context() as patch:
        patch.setattr(upgrades, "STEPS", {1: (*upgrades.STEPS[1], "ALTER TABLE nowhere ADD COLUMN x INTEGER")})
        with pytest.raises(Exception, match="nowhere"):
            Ledger(f"sqlite:///{path}")
    assert columns(path) == columns(tmp_path / "before")
    Ledger(f"sqlite:///{path}").close()
