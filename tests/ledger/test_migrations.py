"""Ledgers with an older schema are upgraded."""

import re
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Connection, inspect

from temporal_slo import names
from temporal_slo.errors import UsageError
from temporal_slo.exporter.mirror.mirror import Mirror
from temporal_slo.ledger import migrations, opening, schema
from temporal_slo.ledger.change import AUDIT, MINUTES, ClosedOverdueRun, Gap, Position
from temporal_slo.ledger.ledger import Ledger
from temporal_slo.ledger.state import Histogram, Minutes, OpenRun, State
from temporal_slo.runs.counted import Classification, ClosedKey, FailureKey, RunningKey, SeenKey
from temporal_slo.runs.executions import WAITS, ChainRun
from temporal_slo.runs.microseconds import HOUR, MINUTE, SECOND
from temporal_slo.runs.run import Run
from temporal_slo.testing import FakeVisibility
from tests.conftest import query
from tests.run_factory import BEGAN, from_visibility

LEDGERS = Path(__file__).parent / "ledgers"
RIDE = RunningKey("Ride", "rides")
ENDED = (BEGAN - 20 * SECOND, BEGAN - 20 * SECOND, BEGAN - SECOND, 19 * SECOND)
FIRST_WITH_ALL_ROWS = 3
"""The first version whose stored ledger has rows in every table."""
FIRST_WITH_EXECUTIONS = 5


def restore(url: str, version: int) -> None:
    """Create a ledger with this version of the schema."""
    script = (LEDGERS / f"{version}.sql").read_text()
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
            connection.executescript(script)
    else:
        query(url, re.sub(r"PRAGMA .*;|BEGIN TRANSACTION;|COMMIT;| WITHOUT ROWID", "", script))
    with opened(url) as server:
        identity = opening.identity(server)
    query(url, f"UPDATE ledger SET value = '{identity}' WHERE key = 'inode'")  # noqa: S608 ours


@contextmanager
def opened(url: str) -> Iterator[Connection]:
    """A connection to a ledger in SQLite or PostgreSQL."""
    engine = opening.open_engine(url)
    try:
        with engine.connect() as connection:
            yield connection
    finally:
        engine.dispose()


def minutes(url: str) -> list[tuple[object, ...]]:
    """Closed runs by minute and status."""
    return query(url, "SELECT minute, status, count FROM closed_minutes ORDER BY status")


def rows(url: str, table: str) -> list[tuple[object, ...]]:
    """All rows of a table, in some fixed order."""
    return sorted(query(url, f"SELECT * FROM {table}"), key=repr)  # noqa: S608 ours


def columns(url: str) -> dict[str, tuple[set[str], set[str]]]:
    """The columns and the indexes of every table."""
    with opened(url) as connection:
        found = inspect(connection)
        return {
            table: (
                {column["name"] for column in found.get_columns(table)},
                {str(index["name"]) for index in found.get_indexes(table)},
            )
            for table in found.get_table_names()
        }


@pytest.mark.parametrize("version", range(FIRST_WITH_ALL_ROWS, schema.VERSION))
async def test_upgrade_of_all_rows(ledger_url: str, tmp_path: Path, version: int) -> None:
    """A ledger with rows in every table knows after its upgrade what a ledger of this schema knows."""
    restore(ledger_url, version)
    restore(new := f"sqlite:///{tmp_path / 'new'}", schema.VERSION)
    states = []
    for url in (ledger_url, new):
        ledger = Ledger(url)
        states.append((await ledger.load("shop"), await ledger.released("shop")))
        ledger.close()
    if version < FIRST_WITH_EXECUTIONS:
        known = states[1][0]
        known.executions, known.chain_runs = {}, {}
        known.closed_overdue = {run_id: run._replace(execution_start=0) for run_id, run in known.closed_overdue.items()}
    assert states[0] == states[1]
    assert columns(ledger_url) == columns(new)


@pytest.mark.parametrize("version", range(1, FIRST_WITH_ALL_ROWS))
async def test_upgrade(ledger_url: str, tmp_path: Path, version: int) -> None:
    """A ledger with an older schema keeps its data and gets the tables of a new one."""
    restore(ledger_url, version)
    for _ in range(2):
        ledger = Ledger(ledger_url)
        state = await ledger.load("shop")
        ledger.close()
        assert state.open == {"run-4": OpenRun(RIDE, BEGAN + 4 * SECOND)}
        assert (state.gaps, state.pending) == ((Gap(BEGAN + 2 * SECOND, BEGAN + 3 * SECOND),), 1)
        assert [histogram.count for histogram in state.closed.values()] == [1, 1]
        assert state.failures == {FailureKey("Ride", "failed", "Refused"): 1}
        assert (state.started, state.counters) == (Counter({RIDE: 4}), Counter({names.EXPORTER_LATE_ROWS: 1}))
    new = f"sqlite:///{tmp_path / 'new'}"
    Ledger(new).close()
    assert columns(ledger_url) == columns(new)
    assert minutes(ledger_url) == [(BEGAN // MINUTE, "completed", 1), (BEGAN // MINUTE, "failed", 1)]


async def test_same_schema(ledger_url: str) -> None:
    """A ledger of this schema opens with every row, and each of its facts is known."""
    restore(ledger_url, schema.VERSION)
    before = {table: rows(ledger_url, table) for table in columns(ledger_url)}
    assert all(before.values()), "a table without rows proves nothing"
    ledger = Ledger(ledger_url)
    state = await ledger.load("shop")
    released = await ledger.released("shop")
    ledger.close()
    assert {table: rows(ledger_url, table) for table in columns(ledger_url)} == before
    assert set(columns(ledger_url)) == set(schema.metadata.tables)
    assert released == {'["temporal_slo_workflows_closed", ["shop"]]'}
    assert state == State(
        positions={
            "closed": Position(BEGAN, BEGAN + 10 * SECOND),
            "running": Position(BEGAN, BEGAN + 9 * SECOND),
            MINUTES: Position(BEGAN, BEGAN - MINUTE),
            AUDIT: Position(BEGAN - HOUR, BEGAN - 30 * MINUTE),
        },
        gaps=(Gap(BEGAN + 6 * SECOND, BEGAN + 8 * SECOND),),
        open={
            "run-4": OpenRun(RIDE, BEGAN + 4 * SECOND),
            "run-6": OpenRun(RIDE, BEGAN + 5 * SECOND, paused=True),
        },
        closed={
            ClosedKey(*RIDE, "completed", "good"): Histogram(Counter({30_000: 1}), 12 * SECOND),
            ClosedKey(*RIDE, "failed", "none"): Histogram(Counter({30_000: 1}), 12 * SECOND),
        },
        started=Counter({RIDE: 6}),
        failures=Counter({FailureKey("Ride", "failed", "Refused"): 1}),
        counters=Counter(
            {
                names.EXPORTER_LATE_ROWS: 1,
                names.EXPORTER_VANISHED_RUNS: 2,
                names.EXPORTER_UNKNOWN_STATUS_ROWS: 3,
                names.EXPORTER_MISSING_CLOSE_EVENTS: 4,
                names.EXPORTER_AUDIT_REPAIRED_RUNS: 5,
                names.EXPORTER_RECONCILED_RUNS: 6,
                names.EXPORTER_FAILURE_TYPES_OVER_LIMIT: 7,
            }
        ),
        executions={ClosedKey(*RIDE, "completed", "good"): Histogram(Counter({30_000: -1}), -7 * SECOND)},
        chain_runs={
            "w-7": {
                "run-7": ChainRun(
                    Run("run-7", "w-7", *RIDE, "continued_as_new", *ENDED),
                    BEGAN - 60 * SECOND,
                    Classification("continued_as_new", "none"),
                    30_000,
                )
            },
            "w-8": {"run-8": ChainRun(Run("run-8", "w-8", *RIDE, "failed", *ENDED), WAITS)},
        },
        waiting=Counter({SeenKey(*RIDE, "terminated"): 1}),
        closed_overdue={
            "run-5": ClosedOverdueRun(RIDE, BEGAN - 900 * SECOND, BEGAN + 5 * SECOND, BEGAN - 1000 * SECOND)
        },
        minutes={"stuck": Minutes(observed=7, overdue=3)},
    )


async def test_polling_continues(ledger_url: str) -> None:
    """A mirror continues from an upgraded ledger and evaluates minutes from then on."""
    restore(ledger_url, 1)
    ledger = Ledger(ledger_url)
    now = BEGAN + 100 * SECOND
    mirror = Mirror("shop", FakeVisibility(), ledger, await ledger.load("shop"), now, classify=from_visibility)
    for later in (0, 5 * MINUTE):
        await mirror.poll(now + later)
        while await mirror.catch_up(now + later):
            pass
    # The first whole minute begins 100 seconds after BEGAN.
    assert mirror.state.positions[MINUTES] == (now, now + 4 * MINUTE)
    ledger.close()


def test_failed_upgrade(ledger_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A failed upgrade leaves the ledger unchanged, and the next one succeeds."""
    restore(ledger_url, 1)
    before = columns(ledger_url)
    with monkeypatch.context() as patch:
        patch.setattr(migrations, "STEPS", {1: (*migrations.STEPS[1], "ALTER TABLE nowhere ADD COLUMN x INTEGER")})
        with pytest.raises(UsageError, match="nowhere"):
            Ledger(ledger_url)
    assert columns(ledger_url) == before
    Ledger(ledger_url).close()
