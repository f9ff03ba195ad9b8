"""The audit against the counts of a real server; the clock is moved forward by an hour."""

import sqlite3
import time
import uuid
from pathlib import Path

from temporal_slo import names
from temporal_slo.ledger.change import AUDIT
from temporal_slo.runs.microseconds import HOUR, SECOND
from temporal_slo.servers.process import until
from temporal_slo.temporal.visibility import count_closed
from tests.conftest import Temporal
from tests.exposed import exposed

from .polling import polling

RUNS = 3


def lose_one(path: Path) -> None:
    """Delete a pending run from the ledger, as if it had never been read."""
    with sqlite3.connect(path) as connection:
        for table in ("pending", "seen"):
            connection.execute(f"DELETE FROM {table} WHERE run_id = (SELECT max(run_id) FROM {table})")  # noqa: S608 constants
    connection.close()


async def test_audit(temporal: Temporal, tmp_path: Path) -> None:
    """The server and the ledger count the same runs, and a run that the ledger lost is found and counted."""
    client = await temporal.namespace("audit")
    async with polling(tmp_path, temporal.connection("audit")) as parts:
        # With the poller's own clock the test would take an hour.
        mirror, audit = parts.poller._mirror, parts.poller._after_poll[-1]  # noqa: SLF001
        now = int(time.time() * SECOND)
        await mirror.poll(now)
        for _ in range(RUNS):
            handle = await client.start_workflow("Nobody", id=uuid.uuid4().hex, task_queue="nobody")
            await handle.cancel()
            await handle.terminate()

        async def closed() -> bool:
            return (await count_closed(client)).total() == RUNS

        await until(closed, deadline=30, what="the runs in visibility")
        await mirror.poll(now + 60 * SECOND)
        await audit(now + HOUR)
        assert (mirror.store.audit_drift, mirror.state.gaps) == (0, ())
        lose_one(tmp_path / "polling.db")
        del mirror.state.positions[AUDIT]
        await audit(now + HOUR)
        assert mirror.store.audit_drift == 1
        assert not await mirror.catch_up(now + HOUR)
        found = exposed(mirror, now)
        assert (found.counters[names.EXPORTER_AUDIT_REPAIRED_RUNS], found.gap, mirror.state.pending) == (1, 0, RUNS + 1)
