"""The same on a Temporal cluster on PostgreSQL: exact counts while the exporter and both databases are killed."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from temporalio.client import Client

from temporal_slo.servers.cluster import ClusterPrograms, TemporalCluster
from temporal_slo.servers.postgres import Postgres
from temporal_slo.servers.postgres import programs as postgres_programs
from tests.conftest import Databases

from .endings import serving
from .fault_run import TASK_QUEUE, assert_exact, closed_runs, environment, expected_rows, run_all_endings

SMALL, FULL = 20, 400


@dataclass(frozen=True)
class Cluster:
    """A Temporal cluster and the PostgreSQL server of its databases."""

    server: TemporalCluster
    store: Postgres


@pytest.fixture
async def cluster(
    pytestconfig: pytest.Config, tmp_path: Path, cluster_programs: ClusterPrograms
) -> AsyncIterator[Cluster]:
    """A cluster with a PostgreSQL server of its own. The test stops the cluster."""
    store = Postgres(postgres_programs(pytestconfig.rootpath / ".tools", lambda _: None), fsync=False)
    try:
        await store.ready()
        yield Cluster(await asyncio.to_thread(TemporalCluster, tmp_path, cluster_programs, store), store)
    finally:
        store.close()


async def restart_store(store: Postgres, client: Client, after: int) -> None:
    """Stop the PostgreSQL server below Temporal once *after* runs have closed, without a shutdown, and restart it."""
    await closed_runs(client, after)
    store.stop_immediately()
    store.restart()
    await store.ready()


async def restart_store_twice(store: Postgres, client: Client, total: int) -> None:
    """Do so after a third and after two thirds of the runs."""
    for part in (1, 2):
        await restart_store(store, client, total * part // 3)


@pytest.mark.sized
@pytest.mark.timeout(3000)
async def test_exact_on_a_cluster(
    cluster: Cluster, programs: dict[str, Path], tmp_path: Path, databases: Databases, *, full_size: bool
) -> None:
    """Every ending is counted once, whether the exporter, its ledger's server or Temporal's database is killed."""
    each, kills = (FULL, 20) if full_size else (SMALL, 2)
    expected, ledger = expected_rows(each), databases.schema()
    try:
        async with environment(tmp_path, programs["prometheus"], cluster.server, ledger, databases.server) as running:
            async with serving(running.client, TASK_QUEUE):
                await asyncio.gather(
                    run_all_endings(running.client, each),
                    running.killer.kill_times(kills, running.client, expected.total()),
                    restart_store_twice(cluster.store, running.client, expected.total()),
                )
                await closed_runs(running.client, expected.total())
            await assert_exact(running, expected)
    finally:
        await databases.server.ensure_running()
    killed = f"{running.killer.kills} kills of the exporter, {running.killer.store_kills} of the ledger's server"
    print(f"{expected.total()} runs on a cluster, {killed}, 2 of Temporal's database: exact")
