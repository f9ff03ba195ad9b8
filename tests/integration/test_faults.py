"""Exact counts of every ending while exporter, Temporal and the ledger's server are killed."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from temporalio.client import Client

from temporal_slo.servers.postgres import Postgres
from temporal_slo.servers.temporal import TemporalServer
from tests.conftest import Databases

from .endings import ENDINGS, serving
from .fault_run import TASK_QUEUE, Server, assert_exact, closed_runs, environment, expected_rows, run_all_endings

SMALL, FEW, FULL = 100, 8, 2000
# Writes of a killed process survive in the operating system: no need to sync to disk.
NO_SYNC = ("--sqlite-pragma", "journal_mode=wal", "--sqlite-pragma", "synchronous=off")


async def kill_and_restart(server: Server, client: Client, after: int) -> None:
    """Kill the server once *after* runs have closed, and restart it."""
    await closed_runs(client, after)
    server.child.kill()
    server.restart()
    await server.ready()


@pytest.fixture
async def store(ledger_url: str, request: pytest.FixtureRequest) -> AsyncIterator[Postgres | None]:
    """The PostgreSQL server of the ledger, running again after the test; None for SQLite."""
    if ledger_url.startswith("sqlite"):
        yield None
        return
    databases: Databases = request.getfixturevalue("databases")
    yield databases.server
    await databases.server.ensure_running()


@pytest.mark.sized
@pytest.mark.timeout(3000)
async def test_exact_under_faults(
    programs: dict[str, Path], tmp_path: Path, ledger_url: str, store: Postgres | None, *, full_size: bool
) -> None:
    """Whatever is killed, every ending is counted once and correctly, in the exporter and as increase in Prometheus."""
    each, kills = (FULL, 25) if full_size else (FEW, 2) if store else (SMALL, 5)
    expected = expected_rows(each)
    server = TemporalServer(tmp_path, durable=True, options=["--headless", *NO_SYNC])
    async with environment(tmp_path, programs["prometheus"], server, ledger_url, store) as running:
        client, killer = running.client, running.killer
        async with serving(client, TASK_QUEUE):
            await asyncio.gather(
                run_all_endings(client, each),
                killer.kill_times(kills, client, expected.total()),
                kill_and_restart(server, client, expected.total() // 3),
            )
            await closed_runs(client, expected.total())
        await assert_exact(running, expected)
    killed = f"{killer.kills} kills of the exporter, 1 of Temporal, {killer.store_kills} of the ledger's server"
    print(f"{expected.total()} runs, {len(ENDINGS)} endings, {killed}: exact")
