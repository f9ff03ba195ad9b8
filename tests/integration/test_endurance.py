"""Resource usage of the exporter under load does not grow over time."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import NamedTuple

import pytest
from temporalio.client import Client

from temporal_slo.reference import load
from temporal_slo.servers.process import until
from tests.conftest import Temporal
from tests.reference.application import application

from .exporter import Exporter
from .test_exporter import BOOKING, MIX, QUICK, exporting, scraping

ROOT = Path(__file__).parents[2]
NAMESPACE = "volteryde-dev"
RATE = 20
SMALL, FULL = 12.0, 600.0
DEADLINE = 60.0
SOURCES = "task_queues=2s,task_problems=2s,schedules=2s,retry_storms=2s"
MEMORY_GROWTH = 16.0
"""Allowed growth from the second quarter to the last, in MiB."""

LEDGER_BYTES_PER_RUN = 2048
"""Allowed bytes of ledger per run, including its run id, which is deleted after two hours."""

THREADS_GROWTH = 4
"""Allowed additional threads: pools fill up to the number of processors and a few more."""

FILES_GROWTH = 6
"""Allowed additional open files: scrapes and requests in flight."""


class Usage(NamedTuple):
    """Resource usage of the exporter: memory in MiB, threads, open files, ledger size in bytes, closed runs."""

    memory: float
    threads: int
    files: int
    ledger: int
    closed: int

    def __str__(self) -> str:
        return f"{self.memory:.0f} MiB, {self.threads} threads, {self.files} files, {self.ledger / 1024:.0f} KiB ledger"


async def usage_of(exporter: Exporter, folder: Path) -> Usage:
    """Return the current resource usage of *exporter*."""
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


async def all_closed(client: Client) -> None:
    """Wait until no booking is open: an SDK worker that is stopped in the middle of work may hang."""

    async def idle() -> bool:
        return (await client.count_workflows(f"ExecutionStatus = 'Running' AND WorkflowType = '{BOOKING}'")).count == 0

    await until(idle, deadline=DEADLINE, what="the end of all bookings")


def medians(usages: list[Usage]) -> Usage:
    """Return the median of each value."""
    return Usage(*map(median, zip(*usages, strict=True)))


@pytest.mark.sized
@pytest.mark.timeout(900)
async def test_nothing_grows(temporal: Temporal, programs: dict[str, Path], tmp_path: Path, *, full_size: bool) -> None:
    """While bookings close, Prometheus scrapes and every source is read, resource usage stays within its limits."""
    client = await temporal.namespace(NAMESPACE)
    seconds = FULL if full_size else SMALL
    options = ("--spec", str(ROOT / "deploy" / "slos"), "--sources", SOURCES)
    usages: list[Usage] = []
    async with (
        exporting(tmp_path, temporal.address, NAMESPACE, *options) as exporter,
        scraping(programs["prometheus"], tmp_path, exporter),
        application(client, tmp_path) as services,
    ):
        plan = load.Load(RATE, services.url, count=round(RATE * seconds), mix=MIX, seed=11, timings=QUICK)
        loading, end = asyncio.create_task(load.run(client, plan)), time.monotonic() + seconds
        while time.monotonic() < end:
            usages.append(await usage_of(exporter, tmp_path))
            await asyncio.wait([loading], timeout=0.5)
        await loading
        await all_closed(client)
        usages.append(await usage_of(exporter, tmp_path))
    quarter = len(usages) // 4
    early, late = medians(usages[quarter : 2 * quarter]), medians(usages[-quarter:])
    print(f"{seconds:.0f} s, {late.closed} runs closed: from {early} to {late}")
    assert [*exceeded(early, late)] == []


def exceeded(early: Usage, late: Usage) -> Iterator[str]:
    """Yield the resources that grew by more than allowed."""
    if late.memory - early.memory > MEMORY_GROWTH:
        yield "memory"
    if late.threads - early.threads > THREADS_GROWTH:
        yield "threads"
    if late.files - early.files > FILES_GROWTH:
        yield "files"
    if late.ledger - early.ledger > LEDGER_BYTES_PER_RUN * (late.closed - early.closed) + 4 * 1024 * 1024:
        yield "ledger"
