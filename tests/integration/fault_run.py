"""Parts of the fault tests: what is run, what is killed meanwhile, and what must be counted at the end."""

import asyncio
import json
import math
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Protocol

from temporalio.client import Client
from temporalio.service import RPCError

from temporal_slo import names
from temporal_slo.runs.run import STATUS_NAMES
from temporal_slo.servers.postgres import Postgres
from temporal_slo.servers.process import Child, free_port, until
from temporal_slo.servers.prometheus import Prometheus
from temporal_slo.servers.temporal import ensure_namespace
from temporal_slo.temporal.visibility import CLOSED_QUERY, count_closed

from .endings import ENDINGS, OUTCOMES, Row, run_ending
from .exporter import Exporter

NAMESPACE = "faults"
TASK_QUEUE = "faults"
IN_FLIGHT = 20
STALLED = 300.0
"""Seconds without a closed, or a counted, run after which the test gives up."""
LIFETIME = (0.5, 4.0)
"""Range of an exporter's lifetime in seconds: it is killed at its start, during a request, or idle."""

TEMPORAL_STATUS = {"retried": "failed", "reset": "terminated"}
"""Temporal's statuses for the statuses that only the exporter has; no retried attempt here timed out."""


def spec(folder: Path) -> str:
    """Write a spec with the outcome rules that the endings assume, and return its path."""
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
    """Kills an exporter, and the server of its ledger, at random times; restarts use the same port and ledger.

    Args:
        folder: Folder of the log.
        address: Address of the Temporal server.
        seed: Seed of the random times.
        ledger: URL of the ledger.
        store: PostgreSQL server of the ledger; None for SQLite.
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
        """Kill and restart the exporter *times* times while *closed* runs close, in pairs in quick succession."""
        for number in range(times):
            await closed_runs(client, closed * (number // 2 * 2) // times)
            # The time is random, so there is no condition to wait for.
            await asyncio.sleep(self._random.uniform(*LIFETIME))
            self.exporter.child.kill()
            await self.exporter.http.aclose()
            self.kills += 1
            self.exporter = self._start()
            if self._store and number % 2:
                await self._kill_store(self._store)
        await self.exporter.started()

    async def _kill_store(self, store: Postgres) -> None:
        # An exporter that cannot open its ledger at the start exits.
        await self.exporter.started()
        await asyncio.sleep(self._random.uniform(*LIFETIME))
        store.child.kill()
        store.restart()
        await store.ready()
        self.exporter.child.check()
        self.store_kills += 1


async def run_all_endings(client: Client, each: int) -> None:
    """Run every ending *each* times, and retry while the server is down."""
    slots = asyncio.Semaphore(IN_FLIGHT)

    async def one(ending: str, number: int) -> None:
        async def done() -> bool:
            try:
                await run_ending(client, TASK_QUEUE, ending, f"{ending}-{number}")
            except RPCError:
                return False
            return True

        async with slots:
            await until(done, deadline=300, what=f"{ending}-{number}")

    async with asyncio.TaskGroup() as tasks:
        for number in range(each):
            for ending in ENDINGS:
                tasks.create_task(one(ending, number))


async def closed_runs(client: Client, count: int) -> None:
    """Wait until *count* runs have closed; give up only when none has closed for a while, however slow the machine."""
    closed, newest = -1, 0.0

    async def reached() -> bool:
        nonlocal closed, newest
        before, closed = closed, (await count_closed(client)).total()
        newest = time.monotonic() if closed > before else newest
        assert time.monotonic() - newest < STALLED, f"{closed} of {count} runs have closed, none for {STALLED:g} s"
        return closed >= count

    await until(reached, deadline=math.inf, what=f"{count} closed runs")


class Server(Protocol):
    """A Temporal server of a test."""

    address: str
    child: Child

    def restart(self) -> None:
        """Restart it after it exited."""

    async def ready(self) -> Client:
        """Wait until it is ready and return a client."""
        ...


@dataclass(frozen=True)
class Running:
    """What a fault test runs.

    Attributes:
        client: Client of NAMESPACE.
        killer: Has the exporter.
        prometheus: Scrapes the exporter.
    """

    client: Client
    killer: Killer
    prometheus: Prometheus


@asynccontextmanager
async def environment(
    folder: Path, program: Path, server: Server, ledger: str, store: Postgres | None
) -> AsyncIterator[Running]:
    """An exporter to kill, and a Prometheus that scrapes it, on a started *server*, which is stopped at the end."""
    try:
        client = await server.ready()
        await ensure_namespace(client, NAMESPACE)
        killer = Killer(folder, server.address, 11, ledger, store)
        await killer.exporter.started()
        await killer.exporter.becomes(names.EXPORTER_UP, 1)
        prometheus = Prometheus(program, folder, {"temporal-slo": killer.exporter.target})
        try:
            await prometheus.ready()
            yield Running(Client(client.service_client, namespace=NAMESPACE), killer, prometheus)
        except BaseException:
            print(killer.exporter.child.tail(40), server.child.tail(20))
            raise
        finally:
            prometheus.child.stop()
            await prometheus.close()
            await killer.exporter.stop()
    finally:
        server.child.stop()


def expected_rows(each: int) -> Counter[Row]:
    """Return what must be counted once every ending has run *each* times."""
    expected: Counter[Row] = Counter()
    for ending in ENDINGS.values():
        expected.update(dict.fromkeys(ending.rows, each))
    return expected


async def assert_exact(running: Running, expected: Counter[Row]) -> None:
    """Wait until all runs are counted, and compare exporter, Temporal and Prometheus with what is expected."""
    exporter = running.killer.exporter
    await all_counted(exporter, expected.total())
    assert await counted(exporter) == Counter(dict(by_outcome(expected)))
    assert await failures(exporter) == Counter(dict(by_failure(expected)))
    assert await by_server(running.client, {row.workflow_type for row in expected}) == as_server(expected)
    assert sum((await exporter.series(names.WORKFLOWS_STARTED)).values()) == expected.total()
    assert sum((await exporter.series(names.WORKFLOWS_RUNNING)).values()) == 0
    await increased(running.prometheus, by_status(expected))


def by_outcome(expected: Counter[Row]) -> Iterator[tuple[tuple[str, str, str], int]]:
    """Yield the closed runs by workflow type, status and outcome."""
    summed: Counter[tuple[str, str, str]] = Counter()
    for row, count in expected.items():
        summed[row.workflow_type, row.status, row.outcome] += count
    yield from summed.items()


def by_failure(expected: Counter[Row]) -> Iterator[tuple[tuple[str, str, str], int]]:
    """Yield the failures by workflow type, status and failure type."""
    summed: Counter[tuple[str, str, str]] = Counter()
    for row, count in expected.items():
        if row.failure_type:
            summed[row.workflow_type, row.status, row.failure_type] += count
    yield from summed.items()


def by_status(expected: Counter[Row]) -> Counter[str]:
    """Return the closed runs by the exporter's status."""
    summed: Counter[str] = Counter()
    for row, count in expected.items():
        summed[row.status] += count
    return summed


def as_server(expected: Counter[Row]) -> Counter[tuple[str, str]]:
    """Return the closed runs by workflow type and Temporal's status."""
    summed: Counter[tuple[str, str]] = Counter()
    for row, count in expected.items():
        summed[row.workflow_type, TEMPORAL_STATUS.get(row.status, row.status)] += count
    return summed


async def by_server(client: Client, types: set[str]) -> Counter[tuple[str, str]]:
    """Return the server's own counts by workflow type and status."""
    counts: Counter[tuple[str, str]] = Counter()
    for kind in types:
        query = f"{CLOSED_QUERY} AND WorkflowType = '{kind}' GROUP BY ExecutionStatus"
        for group in (await client.count_workflows(query)).groups:
            counts[kind, STATUS_NAMES[str(group.group_values[0])]] = group.count
    return counts


async def all_counted(exporter: Exporter, total: int) -> None:
    """Wait until the exporter has counted *total* runs, without a gap or pending runs; fail when it counts no more."""
    counted, newest = -1, 0.0

    async def done() -> bool:
        nonlocal counted, newest
        health = [await exporter.value(family) for family in HEALTH]
        before, counted = counted, sum((await exporter.closed()).values())
        newest = time.monotonic() if counted > before else newest
        assert time.monotonic() - newest < STALLED, f"{counted} of {total} runs are counted, none for {STALLED:g} s"
        return health == [1, 0, 0] and counted >= total

    await until(done, deadline=math.inf, what=f"{total} counted runs")


HEALTH = (names.EXPORTER_UP, names.EXPORTER_GAP, names.EXPORTER_PENDING_RUNS)


async def counted(exporter: Exporter) -> Counter[tuple[str, str, str]]:
    """Return the exporter's closed runs by workflow type, status and outcome."""
    counts: Counter[tuple[str, str, str]] = Counter()
    for labels, value in (await exporter.series(names.WORKFLOWS_CLOSED)).items():
        row = dict(labels)
        counts[row[names.WORKFLOW_TYPE], row[names.STATUS], row[names.OUTCOME]] += int(value)
    return counts


async def failures(exporter: Exporter) -> Counter[tuple[str, str, str]]:
    """Return the exporter's failures by workflow type, status and failure type."""
    counts: Counter[tuple[str, str, str]] = Counter()
    for labels, value in (await exporter.series(names.WORKFLOW_FAILURES)).items():
        row = dict(labels)
        counts[row[names.WORKFLOW_TYPE], row[names.STATUS], row[names.FAILURE_TYPE]] += int(value)
    return counts


async def increased(prometheus: Prometheus, expected: Counter[str]) -> None:
    """Wait until Prometheus has seen as many increases as expected, and compare them."""

    async def scraped() -> bool:
        return (await increases(prometheus)).total() >= expected.total()

    await until(scraped, deadline=60, what="the increases in Prometheus")
    assert await increases(prometheus) == expected


async def increases(prometheus: Prometheus) -> Counter[str]:
    """Return the increase per status in Prometheus, with its handling of resets but without extrapolation."""
    sample = names.WORKFLOWS_CLOSED.sample
    rises: Counter[str] = Counter()
    for labels, values in (await prometheus.samples(f"{sample}[2h]")).items():
        steps = pairwise(values)
        rises[dict(labels)[names.STATUS]] += int(sum(new - old if new >= old else new for old, new in steps))
    return rises
