"""The exporter against a real Temporal server, scraped by a real Prometheus."""

import asyncio
import uuid
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from temporalio.client import Client

from temporal_slo import names
from temporal_slo.exporter.exposition.snapshot import Snapshot
from temporal_slo.reference import load
from temporal_slo.reference.workflows.timings import ActivityTimings
from temporal_slo.servers.process import until
from temporal_slo.servers.prometheus import Prometheus
from temporal_slo.servers.temporal import TemporalServer, ensure_namespace
from temporal_slo.temporal.rpc import LIST_WORKFLOWS
from temporal_slo.temporal.visibility import count_closed
from tests.conftest import Temporal
from tests.exposed import Exposed, published
from tests.reference.application import application

from .exporter import Exporter
from .polling import polling

MIX = load.Mix.parse(
    "booking.confirmed=5,booking.declined=4,booking.cancelled_by_user=5,booking.canceled=4,booking.terminated=3,"
    "booking.timed_out=3,booking.failed=1"
)
BOOKING = "BookRideWorkflow"
"""The workflow type that is compared: bookings also start runs of their buses, which stay open."""
SMALL, FULL = 125, 4000
QUICK = ActivityTimings(retry_initial=0.1, retry_maximum=0.2, max_attempts=2)


@asynccontextmanager
async def exporting(folder: Path, address: str, namespace: str, *options: str) -> AsyncIterator[Exporter]:
    """A running exporter; its log is printed if the test fails."""
    exporter = Exporter(folder, address, namespace, *options)
    try:
        yield await exporter.started()
    except BaseException:
        print(exporter.child.tail(60))
        raise
    finally:
        await exporter.stop()


@asynccontextmanager
async def scraping(program: Path, folder: Path, exporter: Exporter) -> AsyncIterator[Prometheus]:
    """A Prometheus that scrapes *exporter*."""
    prometheus = Prometheus(program, folder, {"temporal-slo": exporter.target})
    try:
        await prometheus.ready()
        yield prometheus
    finally:
        prometheus.child.stop()
        await prometheus.close()


async def close_one(client: Client) -> None:
    """Start a run without a worker, and terminate it."""
    handle = await client.start_workflow("Unserved", id=uuid.uuid4().hex, task_queue="no-workers")
    await handle.terminate()


@pytest.mark.sized
@pytest.mark.timeout(900)
async def test_counts_equal_the_servers(
    temporal: Temporal, programs: dict[str, Path], tmp_path: Path, *, full_size: bool
) -> None:
    """For a known mix of bookings the load, Temporal, the exporter and Prometheus report the same closed counts."""
    client = await temporal.namespace("counted")
    count = FULL if full_size else SMALL
    expected = Counter(load.ENDINGS[outcome].status for outcome in load.plan(count, MIX, seed=7))
    async with (
        exporting(tmp_path, temporal.address, "counted") as exporter,
        scraping(programs["prometheus"], tmp_path, exporter) as prometheus,
        application(client, tmp_path) as services,
    ):
        plan = load.Load(50, services.url, count=count, mix=MIX, seed=7, timings=QUICK)
        assert (await load.run(client, plan)).started.total() == count

        async def all_closed() -> bool:
            return (await count_closed(client, BOOKING)).total() == count

        await until(all_closed, deadline=600, what=f"{count} closed bookings")
        await has_counted(exporter, expected)
        assert await count_closed(client, BOOKING) == expected == await exporter.closed(BOOKING)
        assert await scraped(prometheus, count) == expected
    print(f"{count} bookings, counted equally by Temporal, exporter and Prometheus: {dict(expected)}")


async def has_counted(exporter: Exporter, expected: Counter[str]) -> None:
    """Wait until the exporter has counted as many bookings as expected, of whatever status."""

    async def counted() -> bool:
        return sum((await exporter.closed(BOOKING)).values()) >= expected.total()

    await until(counted, deadline=60, what="the exporter's counts")


async def scraped(prometheus: Prometheus, count: int) -> dict[str, int]:
    """Wait until Prometheus has *count* closed bookings and return them by status."""
    found: dict[str, int] = {}

    async def all_scraped() -> bool:
        series = await prometheus.query(
            f'sum by (status) ({names.WORKFLOWS_CLOSED.sample}{{workflow_type="{BOOKING}"}})'
        )
        found.update({dict(labels)["status"]: int(value) for labels, value in series.items()})
        return sum(found.values()) >= count

    await until(all_scraped, deadline=60, what="Prometheus's counts")
    return found


def list_requests(snapshot: Snapshot) -> int:
    """Return the number of successful ListWorkflowExecutions requests."""
    return int(Exposed(snapshot.self_metrics).series(names.EXPORTER_VISIBILITY_REQUESTS)[LIST_WORKFLOWS.name, "OK"])


async def test_steady_state_is_two_requests(temporal: Temporal, tmp_path: Path) -> None:
    """Without new runs a poll makes two visibility requests, although there are open and closed runs."""
    client = await temporal.namespace("steady")
    async with polling(tmp_path, temporal.connection("steady")) as parts:
        poller = parts.poller
        await poller.poll()
        for _ in range(5):
            await close_one(client)
            await client.start_workflow("Unserved", id=uuid.uuid4().hex, task_queue="no-workers")

        async def seen() -> bool:
            assert await poller.poll()
            await parts.pending_runs.count_lap()
            found = published(poller.snapshot)
            return sum(found.closed.values()) == sum(found.running.values()) == 5

        await until(seen, deadline=30, what="5 closed and 5 open runs")
        before = list_requests(poller.snapshot)
        for _ in range(10):
            assert await poller.poll()
        assert list_requests(poller.snapshot) - before == 20


async def test_pages_of_a_real_server(temporal: Temporal, tmp_path: Path) -> None:
    """More rows than fit into the first page are read in pages of different sizes."""
    client = await temporal.namespace("paged")
    async with polling(tmp_path, temporal.connection("paged")) as parts:
        poller = parts.poller
        assert await poller.poll()
        for _ in range(15):
            await asyncio.gather(*(close_one(client) for _ in range(30)))

        async def all_closed() -> bool:
            return (await count_closed(client)).total() == 450

        await until(all_closed, deadline=60, what="450 closed runs")
        before = list_requests(poller.snapshot)
        assert await poller.poll()
        assert poller.snapshot.samples
        assert published(poller.snapshot).one(names.EXPORTER_PENDING_RUNS) == 450
        assert list_requests(poller.snapshot) - before == 3


async def test_killed_and_restarted(temporal: Temporal, tmp_path: Path) -> None:
    """Runs that close while the exporter is down are added to its counters after the restart."""
    client = await temporal.namespace("killed")
    async with exporting(tmp_path, temporal.address, "killed") as exporter:
        await exporter.becomes(names.EXPORTER_UP, 1)
        await close_one(client)
        await exporter.becomes(names.WORKFLOWS_CLOSED, 1)
        exporter.child.kill()
        for _ in range(3):
            await close_one(client)
    async with exporting(tmp_path, temporal.address, "killed") as exporter:
        await exporter.becomes(names.WORKFLOWS_CLOSED, 4)
        assert sum((await exporter.series(names.WORKFLOWS_STARTED)).values()) == 4


async def test_increase_in_prometheus(temporal: Temporal, programs: dict[str, Path], tmp_path: Path) -> None:
    """The first failure is an increase of 1 in Prometheus, because its series starts at 0."""
    client = await temporal.namespace("increase")
    async with (
        exporting(tmp_path, temporal.address, "increase") as exporter,
        scraping(programs["prometheus"], tmp_path, exporter) as prometheus,
    ):
        await exporter.becomes(names.EXPORTER_UP, 1)
        await close_one(client)
        sample = names.WORKFLOWS_CLOSED.sample

        async def counted() -> bool:
            return await prometheus.value(sample) == 1

        await until(counted, deadline=60, what="the closed run in Prometheus")
        assert await prometheus.value(f"max_over_time({sample}[5m]) - min_over_time({sample}[5m])") == 1
        assert await prometheus.value(f"count_over_time(({sample} == 0)[5m:1s])") is not None


async def test_server_down_at_start_and_killed_later(tmp_path: Path) -> None:
    """While the server is down the exporter reports it and keeps the last values; then it recovers by itself."""
    server = TemporalServer(tmp_path, durable=True, options=["--headless"])
    await server.ready()  # Killed earlier, it may leave a database that it cannot open.
    server.child.kill()
    try:
        async with exporting(tmp_path, server.address, "default") as exporter:
            await exporter.becomes(names.EXPORTER_UP, 0)
            await becomes_unready(exporter, "UNAVAILABLE")
            assert await exporter.value(names.EXPORTER_LAST_SUCCESS) is None

            server.restart()
            await ensure_namespace(await server.ready(), "default")
            await exporter.becomes(names.EXPORTER_UP, 1)
            assert await readiness(exporter) == (200, "")
            await close_one(await server.ready())
            await exporter.becomes(names.WORKFLOWS_CLOSED, 1)

            server.child.kill()
            await exporter.becomes(names.EXPORTER_UP, 0)
            stood_at = await exporter.value(names.EXPORTER_LAST_SUCCESS)
            await becomes_unready(exporter, "UNAVAILABLE")
            assert await exporter.value(names.WORKFLOWS_CLOSED) == 1
            await more_failures(exporter)
            assert await exporter.value(names.EXPORTER_LAST_SUCCESS) == stood_at

            server.restart()
            await close_one(await server.ready())
            await exporter.becomes(names.WORKFLOWS_CLOSED, 2)
            assert await exporter.value(names.EXPORTER_UP) == 1
    finally:
        server.child.stop()


async def readiness(exporter: Exporter) -> tuple[int, str]:
    """Return the status of /readyz and the code in its reason; /healthz must be 200."""
    assert (await exporter.http.get("/healthz")).status_code == 200
    answer = await exporter.http.get("/readyz")
    return answer.status_code, (answer.json()["reason"] or "").partition(":")[0]


async def becomes_unready(exporter: Exporter, code: str) -> None:
    """Wait until /readyz is 503 with this code in its reason."""

    async def unready() -> bool:
        return await readiness(exporter) == (503, code)

    await until(unready, deadline=30, what=f"/readyz 503 {code}")


async def more_failures(exporter: Exporter) -> None:
    """Wait for two more failed polls."""

    async def failures() -> float:
        requests = await exporter.series(names.EXPORTER_VISIBILITY_REQUESTS)
        return sum(value for labels, value in requests.items() if (names.CODE, "OK") not in labels)

    wanted = await failures() + 2

    async def reached() -> bool:
        return await failures() >= wanted

    await until(reached, deadline=30, what="two more failed polls")


async def test_unknown_namespace(temporal: Temporal, tmp_path: Path) -> None:
    """With an unknown Temporal namespace the exporter runs but is not ready, until the namespace is registered."""
    async with exporting(tmp_path, temporal.address, "later") as exporter:
        await exporter.becomes(names.EXPORTER_UP, 0)
        await becomes_unready(exporter, "NOT_FOUND")
        await temporal.namespace("later")
        await exporter.becomes(names.EXPORTER_UP, 1)


async def test_sigterm(temporal: Temporal, tmp_path: Path) -> None:
    """On SIGTERM the exporter exits with code 0 and frees its port."""
    async with exporting(tmp_path, temporal.address, "default") as exporter:
        exporter.child.stop()
        assert exporter.child.exit_code == 0
        with pytest.raises(httpx.ConnectError):
            await exporter.http.get("/healthz")
