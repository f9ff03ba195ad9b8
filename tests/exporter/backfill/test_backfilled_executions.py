"""Backfilled executions count from their first run, although they are read newest first."""

import asyncio
import tempfile
from collections import Counter
from collections.abc import Sequence

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, func, select

from temporal_slo.exporter.backfill.backfill import Backfill, Clocks
from temporal_slo.exporter.classify.classifier import Classifier
from temporal_slo.ledger import closed_durations, schema
from temporal_slo.runs.microseconds import SECOND
from temporal_slo.testing import FixedClock
from tests.exporter.mirror.test_executions import FAST, Part, World, by_bucket, decode, parts
from tests.run_factory import BEGAN

LONG_AGO = 3000


def seconds_of(connection: Connection) -> dict[str, Counter[int]]:
    """Return the executions in the ledger by status and the second in which their duration ends."""
    table = closed_durations.counts(schema.closed_minutes, lambda _: (), executions=True)
    query = select(table.c.status, table.c.bucket, func.sum(table.c.count).label("runs"))
    found: dict[str, Counter[int]] = {"completed": Counter(), "failed": Counter()}
    for row in connection.execute(query.group_by(table.c.status, table.c.bucket)):
        if row.runs and row.status in found:
            found[row.status][row.bucket // 1000] += int(row.runs)
    return found


async def play(workflows: Sequence[tuple[int, Sequence[Part]]], page_size: int) -> None:
    """Backfill the runs of *workflows*, and compare their executions with the plan."""
    with tempfile.TemporaryDirectory(dir=FAST) as folder:
        world = World(f"sqlite:///{folder}/ledger.db", workflows, 10)
        world.update_rows()
        try:
            await world.mirror.poll(world.clock)
            clock = FixedClock((BEGAN + 3600 * SECOND) / SECOND)

            async def sleep(seconds: float) -> None:
                clock.forward(seconds)
                await asyncio.sleep(0)

            await Backfill(
                "shop",
                world.mirror,
                world.ledger,
                world.visibility,
                world.history,
                starts=world.starts,
                classifier=Classifier(decode),
                since=None,
                page_size=page_size,
                clocks=Clocks(clock, sleep),
            ).run()
            final = [one for one in world.planned if one.part.end in {"cron", "failed", "completed"}]
            assert await world.ledger.transact(seconds_of) == {
                status: by_bucket(
                    [one.run.close_time - one.execution_start for one in final if one.run.status == status]
                )
                for status in ("completed", "failed")
            }
        finally:
            world.ledger.close()


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    workflows=st.lists(st.tuples(st.integers(-LONG_AGO, -600), st.lists(parts, min_size=1, max_size=6)), max_size=6),
    page_size=st.integers(1, 5),
)
def test_backfilled_executions(workflows: list[tuple[int, list[Part]]], page_size: int) -> None:
    """Each execution counts once, with the time since its first run, in whatever pages its runs are read."""
    asyncio.run(play(workflows, page_size))
