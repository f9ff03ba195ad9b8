"""Everything together for a long time: what the exporter uses of its machine does not grow."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import NamedTuple

import pytest
from temporalio.client import Client

from temporal_slo.reference import load
from temporal_slo.reference.services.simulated import Services
from temporal_slo.reference.workers import booking_worker
from temporal_slo.servers.process import until
from tests.conftest import Temporal

from .exporter import Exporter
from .test_exporter import MIX, QUICK, exporting, scraping

ROOT = Path(__file__).parents[2]
NAMESPACE = "volteryde-dev"
RATE = 20
SMALL, FULL = 12.0, 600.0
PATIENCE = 60.0
EVERY = "task_queues=2s,task_problems=2s,schedules=2s,retry_storms=2s"
MEMORY_GROWTH = 16.0
"""MiB from the second quarter to the last."""

ROW = 2048
"""Bytes of ledger that a run may take, its id included, which is forgotten after two hours."""

POOL = 4
"""Threads more than in the second quarter: pools fill up to the number of processors and a few."""

FILES = 6
"""Open files more: scrapes and requests under way."""


class Usage(NamedTuple):
    """What the exporter uses at a moment: MiB, numbers, and bytes."""

    memory: float
    threads: int
    files: int
    ledger: int
    closed: int

    def __str__(self) -> str:
        return f"{self.memory:.0f} MiB, {self.threads} threads, {self.files} files, {self.ledger / 1024:.0f} KiB ledger"


async def used(exporter: Exporter, folder: Path) -> Usage:
    """Return what *exporter* uses now."""
    process = Path("/proc", str(exporter.child.pid))
    status = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines())
    ledger = sum(file.stat().st_size for file in folder.glob("ledger.db*"))
    return Usage(
        int(status["VmRSS"].split()[0]) / 1024,
        int(status["Threads"]),
        len([*(process / "fd").iterdir()]),
        ledger,
        sum((await exporter.closed()).values()),
    )


async def ended(client: Client) -> None:
    """Wait until no booking runs: a worker of the SDK that is stopped in the midst of work may never end."""

    async def idle() -> bool:
        return (await client.count_workflows("ExecutionStatus = 'Running'")).count == 0

    await until(idle, deadline=PATIENCE, what="the end of all bookings")


def typical(usages: list[Usage]) -> Usage:
    """Return the median of each of them."""
    return Usage(*map(median, zip(*usages, strict=True)))


@pytest.mark.sized
@pytest.mark.timeout(900)
async def test_nothing_grows(temporal: Temporal, programs: dict[str, Path], tmp_path: Path, *, full_size: bool) -> None:
    """While bookings end, Prometheus scrapes and every source is read, the exporter stays within its bounds."""
    client = await temporal.namespace(NAMESPACE)
    seconds = FULL if full_size else SMALL
    plan = load.Load(rate=RATE, count=round(RATE * seconds), mix=MIX, seed=11, timings=QUICK, task_queue="endurance")
    options = ("--spec", str(ROOT / "deploy" / "slos"), "--sources", EVERY)
    usages: list[Usage] = []
    async with (
        exporting(tmp_path, temporal.address, NAMESPACE, *options) as exporter,
        scraping(programs["prometheus"], tmp_path, exporter),
        booking_worker(client, Services(), task_queue="endurance", max_concurrent_activities=50),
    ):
        loading, end = asyncio.create_task(load.run(client, plan)), time.monotonic() + seconds
        while time.monotonic() < end:
            usages.append(await used(exporter, tmp_path))
            await asyncio.wait([loading], timeout=0.5)
        await loading
        await ended(client)
        usages.append(await used(exporter, tmp_path))
    quarter = len(usages) // 4
    early, late = typical(usages[quarter : 2 * quarter]), typical(usages[-quarter:])
    print(f"{seconds:.0f} s, {late.closed} runs closed: from {early} to {late}")
    assert [*too_much(early, late)] == []


def too_much(early: Usage, late: Usage) -> Iterator[str]:
    """Yield what has grown by more than is allowed."""
    if late.memory - early.memory > MEMORY_GROWTH:
        yield "memory"
    if late.threads - early.threads > POOL:
        yield "threads"
    if late.files - early.files > FILES:
        yield "files"
    if late.ledger - early.ledger > ROW * (late.closed - early.closed) + 4 * 1024 * 1024:
        yield "ledger"
