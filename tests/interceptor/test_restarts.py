"""Worker restarts while workflows end."""

import time
from collections import Counter
from datetime import timedelta

import pytest
from temporalio.client import Client

from temporal_slo import names
from temporal_slo.interceptor import SLOPlugin
from temporal_slo.servers.process import until

from . import cases
from .conftest import Connect
from .drive import Drive, case_worker
from .metrics import Metrics

SMALL = (30, 3)
FULL = (200, 16)
"""Number of workflows and of worker restarts."""
USED = [cases.Waits, cases.CardFails, cases.Continues, cases.Three]


async def closed(client: Client, queue: str) -> int:
    """Return the number of closed runs in visibility."""
    return (await client.count_workflows(f"TaskQueue='{queue}' AND ExecutionStatus != 'Running'")).count


async def start(drive: Drive, count: int) -> Counter[tuple[str, str]]:
    """Start *count* workflows, of which the server closes a tenth by itself; return those, which no worker sees."""
    unseen: Counter[tuple[str, str]] = Counter()
    for index in range(count):
        match index % 20:
            case 0:
                await (await drive.start(cases.Waits)).terminate()
                unseen["Waits", "terminated"] += 1
            case 1:
                await drive.start(cases.Waits, execution_timeout=timedelta(seconds=1))
                unseen["Waits", "timed_out"] += 1
            case 2 | 3 | 4:
                await drive.start(cases.CardFails)
            case 5 | 6:
                await drive.start(cases.Continues, 1)
            case _:
                await drive.start(cases.Three)
    return unseen


@pytest.mark.sized
async def test_ends_equal_closed_runs_over_restarts(
    connect: Connect, metrics: Metrics, queue: str, *, full_size: bool
) -> None:
    """Over worker restarts the counted ends equal the closed runs in visibility, except those that no worker sees."""
    count, restarts = FULL if full_size else SMALL
    client = await connect(SLOPlugin())
    drive = Drive(client, queue)
    unseen = await start(drive, count)
    limits = {"max_concurrent_workflow_tasks": 5, "max_concurrent_activities": 5}
    started = time.monotonic()
    for part in range(1, restarts + 1):

        async def enough(part: int = part) -> bool:
            return await closed(client, queue) >= count * part / (restarts + 1)

        async with case_worker(client, queue, workflows=USED, **limits):
            await until(enough, deadline=60, what="enough closed runs")
    async with case_worker(client, queue, workflows=USED):
        await drive.wait()
    rows = await drive.rows(count + count // 10)
    seen = metrics.closed(queue)
    took = time.monotonic() - started
    print(f"{count} workflows, {restarts} restarts, {took:.0f} s: server {dict(rows)}; worker {dict(seen)}")
    assert rows - seen == unseen
    assert not seen - rows
    # Totals only: an activity that a stopping worker cancelled has another failure type.
    activities: Counter[str] = Counter()
    for key, value in metrics.counts(names.ACTIVITY_ENDS, queue).items():
        activities[key[0]] += value
    assert activities == {"Three": 3 * rows["Three", "completed"], "CardFails": rows["CardFails", "failed"]}
