"""Overdue minutes of real runs; the clock is moved forward."""

import time
import uuid
from pathlib import Path

from temporalio.client import Client

from temporal_slo.exporter.mirror.slo_rules import OverdueRule, SloRules
from temporal_slo.runs.microseconds import MINUTE, SECOND
from temporal_slo.servers.process import until
from temporal_slo.temporal.visibility import count_closed
from tests.conftest import Temporal
from tests.exposed import exposed

from .polling import polling

RULE = OverdueRule("slow", ("Unserved",), None, 5 * MINUTE)


async def all_visible(client: Client, running: int, closed: int) -> None:
    """Wait until visibility has *running* open and *closed* closed runs."""

    async def done() -> bool:
        opened = (await client.count_workflows("ExecutionStatus = 'Running'")).count
        return (opened, (await count_closed(client)).total()) == (running, closed)

    await until(done, deadline=30, what="the runs in visibility")


async def test_minutes(temporal: Temporal, tmp_path: Path) -> None:
    """An open run makes minutes overdue from five minutes after its start until it closes."""
    client = await temporal.namespace("overdue")
    async with polling(tmp_path, temporal.connection("overdue")) as parts:
        mirror = parts.poller._mirror  # noqa: SLF001 with the poller's own clock the test would take minutes
        mirror.store.rules = SloRules(overdue=(RULE,))
        now = int(time.time() * SECOND)
        await mirror.poll(now)
        start = mirror.state.positions["minutes"].position
        stuck = await client.start_workflow("Unserved", id=uuid.uuid4().hex, task_queue="no-workers")
        await all_visible(client, 1, 0)

        async def minutes(later: int) -> tuple[int, int]:
            await mirror.poll(start + (later + 1) * MINUTE)
            found = exposed(mirror, now)
            return found.observed_minutes["slow"], found.overdue_minutes["slow"]

        # It started in the minute before the first evaluated one, or shortly after.
        assert await minutes(4) == (4, 0)
        assert await minutes(10) in {(10, 6), (10, 5)}
        overdue = (await minutes(10))[1]
        assert await minutes(20) == (20, overdue + 10)
        await stuck.terminate()
        await all_visible(client, 0, 1)
        assert await minutes(30) == (30, overdue + 10)
