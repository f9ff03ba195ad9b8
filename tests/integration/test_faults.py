"""Runs of every ending while the exporter and Temporal are killed: nothing lost, nothing doubled, nothing misjudged."""

import asyncio
import json
import random
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path

import pytest
from temporalio.client import Client
from temporalio.service import RPCError

from temporal_slo import names
from temporal_slo.runs.run import STATUS_NAMES
from temporal_slo.servers.postgres import Postgres
from temporal_slo.servers.process import free_port, until
from temporal_slo.servers.prometheus import Prometheus
from temporal_slo.servers.temporal import TemporalServer, ensure_namespace
from temporal_slo.temporal.visibility import CLOSED_QUERY, count_closed
from tests.conftest import Databases

from .endings import ENDINGS, OUTCOMES, Row, bring_about, serving
from .exporter import Exporter

NAMESPACE = "faults"
TASK_QUEUE = "faults"
SMALL, FEW, FULL = 200, 8, 2000
# What a killed process has written is safe with the operating system: no need to wait for the disk.
QUICK = ("--sqlite-pragma", "journal_mode=wal", "--sqlite-pragma", "synchronous=off")
IN_FLIGHT = 20
LIFE = (0.5, 4.0)
"""Seconds between which an exporter lives until it is killed: during its start, a page, a close event, or idle."""

AS_TEMPORAL = {"retried": "failed", "reset": "terminated"}
"""What Temporal calls the statuses of our own; no attempt that was retried has timed out here."""


def spec(folder: Path) -> str:
    """Write a spec with the outcomes that the endings presume, and return its path."""
    slos = [
        {
            "name": f"{kind.lower()}-success",
            "workflow": kind,
            "objective": "99.5",
            "outcome": outcome,
            "sli": {"success": {"bad": ["failed", "bad_outcome"], "excluded": ["canceled"]}},
        }
        for kind, outcome in OUTCOMES.items()
    ]
    about = {"version": "temporal-slo/v1", "service": "faults", "temporal_namespace": NAMESPACE, "owner": "tests"}
    # JSON is YAML.
    (folder / "spec.yaml").write_text(json.dumps({**about, "period": "30d", "slos": slos}))
    return str(folder / "spec.yaml")


class Killer:
    """Runs an exporter and kills it at random moments, and its ledger's server, always on the same port and ledger.

    Args:
        folder: Gets its log.
        address: Temporal's.
        seed: Of the moments.
        ledger: The URL of its ledger.
        store: The server of that; None for a file.
    """

    def __init__(self, folder: Path, address: str, seed: int, ledger: str, store: Postgres | None) -> None:
        self._folder = folder
        self._address = address
        self._ledger = ledger
        self._store = store
        self._random = random.Random(seed)  # noqa: S311 no secret
        self.port = free_port()
        self.exporter = self._start()
        self.kills = self.store_kills = 0

    def _start(self) -> Exporter:
        fast = ("--history-rate", "1000", "--visibility-rate", "100")
        options = ("--spec", spec(self._folder), "--ledger", self._ledger, *fast)
        return Exporter(self._folder, self._address, NAMESPACE, *options, port=self.port)

    async def kill_times(self, times: int, client: Client, closed: int) -> None:
        """Kill and restart it so many times while so many runs close: two by two, the second soon after a restart."""
        for number in range(times):
            await closed_runs(client, closed * (number // 2 * 2) // times)
            # The moment is to be a random one, so there is nothing to wait for.
            await asyncio.sleep(self._random.uniform(*LIFE))
            self.exporter.child.kill()
            await self.exporter.http.aclose()
            self.kills += 1
            self.exporter = self._start()
            if self._store and number % 2:
                await self._kill_store(self._store)
        await self.exporter.started()

    async def _kill_store(self, store: Postgres) -> None:
        # One that finds no ledger at its start ends.
        await self.exporter.started()
        await asyncio.sleep(self._random.uniform(*LIFE))
        store.child.kill()
        store.restart()
        await store.ready()
        self.exporter.child.check()
        self.store_kills += 1


async def bring_all_about(client: Client, each: int) -> None:
    """Bring every ending about so many times, whatever happens to the server meanwhile."""
    slots = asyncio.Semaphore(IN_FLIGHT)

    async def one(ending: str, number: int) -> None:
        async def done() -> bool:
            try:
                await bring_about(client, TASK_QUEUE, ending, f"{ending}-{number}")
            except RPCError:
                return False
            return True

        async with slots:
            await until(done, deadline=300, what=f"{ending}-{number}")

    async with asyncio.TaskGroup() as tasks:
        for number in range(each):
            for ending in ENDINGS:
                tasks.create_task(one(ending, number))


async def kill_and_restart(server: TemporalServer, client: Client, after: int) -> None:
    """Kill the server once it has so many closed runs, and start it again."""
    await closed_runs(client, after)
    server.child.kill()
    server.restart()
    await server.ready()


async def closed_runs(client: Client, count: int) -> None:
    """Wait until so many runs have closed."""

    async def reached() -> bool:
        return (await count_closed(client)).total() >= count

    await until(reached, deadline=900, what=f"{count} closed runs")


@asynccontextmanager
async def world(
    folder: Path, program: Path, ledger: str, store: Postgres | None
) -> AsyncIterator[tuple[TemporalServer, Client, Killer, Prometheus]]:
    """A server of its own, an exporter to kill, and a Prometheus that scrapes it."""
    server = TemporalServer(folder, durable=True, options=["--headless", *QUICK])
    try:
        client = await server.ready()
        await ensure_namespace(client, NAMESPACE)
        killer = Killer(folder, server.address, 11, ledger, store)
        await killer.exporter.started()
        await killer.exporter.becomes(names.EXPORTER_UP, 1)
        prometheus = Prometheus(program, folder, {"temporal-slo": killer.exporter.target})
        try:
            await prometheus.ready()
            yield server, Client(client.service_client, namespace=NAMESPACE), killer, prometheus
        except BaseException:
            print(killer.exporter.child.tail(40), server.child.tail(20))
            raise
        finally:
            prometheus.child.stop()
            await prometheus.close()
            await killer.exporter.stop()
    finally:
        server.child.stop()


@pytest.fixture
async def store(ledger_url: str, request: pytest.FixtureRequest) -> AsyncIterator[Postgres | None]:
    """The server of the ledger, which runs again in the end; None for a file."""
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
    """Whatever is killed, every ending is counted once and rightly: in the exporter, and as increase in Prometheus."""
    each, kills = (FULL, 25) if full_size else (FEW, 2) if store else (SMALL, 5)
    truth: Counter[Row] = Counter()
    for ending in ENDINGS.values():
        truth.update(dict.fromkeys(ending.rows, each))
    async with world(tmp_path, programs["prometheus"], ledger_url, store) as (server, client, killer, prometheus):
        async with serving(client, TASK_QUEUE):
            await asyncio.gather(
                bring_all_about(client, each),
                killer.kill_times(kills, client, truth.total()),
                kill_and_restart(server, client, truth.total() // 3),
            )
            await closed_runs(client, truth.total())
        await all_counted(killer.exporter, truth.total())
        assert await counted(killer.exporter) == Counter(dict(by_outcome(truth)))
        assert await failures(killer.exporter) == Counter(dict(by_failure(truth)))
        assert await by_server(client, {row.workflow_type for row in truth}) == as_server(truth)
        assert sum((await killer.exporter.series(names.WORKFLOWS_STARTED)).values()) == truth.total()
        assert sum((await killer.exporter.series(names.WORKFLOWS_RUNNING)).values()) == 0
        await increased(prometheus, by_status(truth))
    kills_told = f"{killer.kills} kills of the exporter, 1 of Temporal, {killer.store_kills} of the ledger's server"
    print(f"{truth.total()} runs, {len(ENDINGS)} endings, {kills_told}: exact")


def by_outcome(truth: Counter[Row]) -> Iterator[tuple[tuple[str, str, str], int]]:
    """Closed runs by type, status and outcome."""
    summed: Counter[tuple[str, str, str]] = Counter()
    for row, count in truth.items():
        summed[row.workflow_type, row.status, row.outcome] += count
    yield from summed.items()


def by_failure(truth: Counter[Row]) -> Iterator[tuple[tuple[str, str, str], int]]:
    """Failures by type, status and failure type."""
    summed: Counter[tuple[str, str, str]] = Counter()
    for row, count in truth.items():
        if row.failure_type:
            summed[row.workflow_type, row.status, row.failure_type] += count
    yield from summed.items()


def by_status(truth: Counter[Row]) -> Counter[str]:
    """Closed runs by our status."""
    summed: Counter[str] = Counter()
    for row, count in truth.items():
        summed[row.status] += count
    return summed


def as_server(truth: Counter[Row]) -> Counter[tuple[str, str]]:
    """Closed runs by type and by what Temporal calls their status."""
    summed: Counter[tuple[str, str]] = Counter()
    for row, count in truth.items():
        summed[row.workflow_type, AS_TEMPORAL.get(row.status, row.status)] += count
    return summed


async def by_server(client: Client, types: set[str]) -> Counter[tuple[str, str]]:
    """The server's own counts by type and status."""
    counts: Counter[tuple[str, str]] = Counter()
    for kind in types:
        query = f"{CLOSED_QUERY} AND WorkflowType = '{kind}' GROUP BY ExecutionStatus"
        for group in (await client.count_workflows(query)).groups:
            counts[kind, STATUS_NAMES[str(group.group_values[0])]] = group.count
    return counts


async def all_counted(exporter: Exporter, total: int) -> None:
    """Wait until the exporter has counted so many runs, and none is uncovered or waits."""

    async def done() -> bool:
        health = [await exporter.value(family) for family in HEALTH]
        return health == [1, 0, 0] and sum((await exporter.closed()).values()) >= total

    await until(done, deadline=180, what=f"{total} counted runs")


HEALTH = (names.EXPORTER_UP, names.EXPORTER_GAP, names.EXPORTER_PENDING_RUNS)


async def counted(exporter: Exporter) -> Counter[tuple[str, str, str]]:
    """What the exporter counted, by type, status and outcome."""
    counts: Counter[tuple[str, str, str]] = Counter()
    for labels, value in (await exporter.series(names.WORKFLOWS_CLOSED)).items():
        row = dict(labels)
        counts[row[names.WORKFLOW_TYPE], row[names.STATUS], row[names.OUTCOME]] += int(value)
    return counts


async def failures(exporter: Exporter) -> Counter[tuple[str, str, str]]:
    """What failures the exporter counted, by type, status and failure type."""
    counts: Counter[tuple[str, str, str]] = Counter()
    for labels, value in (await exporter.series(names.WORKFLOW_FAILURES)).items():
        row = dict(labels)
        counts[row[names.WORKFLOW_TYPE], row[names.STATUS], row[names.FAILURE_TYPE]] += int(value)
    return counts


async def increased(prometheus: Prometheus, truth: Counter[str]) -> None:
    """Wait until Prometheus has seen so many increases, and hold them against the truth."""

    async def scraped() -> bool:
        return (await increases(prometheus)).total() >= truth.total()

    await until(scraped, deadline=60, what="the increases in Prometheus")
    assert await increases(prometheus) == truth


async def increases(prometheus: Prometheus) -> Counter[str]:
    """How much each status rose in Prometheus, resets counted as it counts them, without its extrapolation."""
    sample = names.WORKFLOWS_CLOSED.sample
    rises: Counter[str] = Counter()
    for labels, values in (await prometheus.samples(f"{sample}[2h]")).items():
        steps = pairwise(values)
        rises[dict(labels)[names.STATUS]] += int(sum(new - old if new >= old else new for old, new in steps))
    return rises
