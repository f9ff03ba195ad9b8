"""The backfill with real servers: killed, rate-limited; and its history export in a real Prometheus."""

import asyncio
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest
from temporalio.api.workflowservice.v1 import CountWorkflowExecutionsRequest
from temporalio.service import RPCError

from temporal_slo import names
from temporal_slo.exporter.history_export.command import export
from temporal_slo.exporter.history_export.openmetrics_file import PROMTOOL_OPTION
from temporal_slo.runs.microseconds import SECOND
from temporal_slo.runs.run import STATUS_NAMES
from temporal_slo.servers.process import Child, until
from temporal_slo.servers.prometheus import Prometheus
from temporal_slo.temporal.rate_limit import RateLimiter
from tests.bench.seeding import NAMESPACE, Site, seeded
from tests.conftest import Temporal

from .backfilling import backfill_of
from .polling import polling

DAYS = 8
DAY = 24 * 3600
LIMIT = ("--dynamic-config-value", "frontend.namespaceRPS.visibility=10")
KILLS = 3
LOW_RATE = "4"
REFUSED_LOG = "reading closed runs failed, retrying: RESOURCE_EXHAUSTED"

Counts = Counter[tuple[int, str]]
"""Runs by day of Unix time and status."""


@dataclass
class Server:
    """A server with the runs of eight days and a limit of 10 visibility requests per second, and its own counts."""

    site: Site
    folder: Path
    rows: int
    page: int
    counts: Counts = field(default_factory=Counter)

    @contextmanager
    def backfilling(self, ledger: Path, rate: str = LOW_RATE, page: int | None = None) -> Iterator[Child]:
        """Run a process that polls and backfills."""
        address, url = self.site.server.address, f"sqlite:///{ledger}"
        own = ("-m", "tests.integration.backfilling", address, NAMESPACE, url, str(page or self.page), rate)
        child = Child("backfill", [sys.executable, *own], ledger.with_suffix(".log"))
        try:
            yield child
        finally:
            child.kill()

    async def complete(self, ledger: Path, child: Child, deadline: float = 300) -> None:
        """Wait until the backfill has read all runs."""

        async def read() -> bool:
            child.check()
            return progress(ledger)[1] < self.below_oldest

        await until(read, deadline=deadline, what="the end of the backfill")

    @property
    def below_oldest(self) -> int:
        """A time before all close times."""
        return int((time.time() - (DAYS + 2) * DAY) * SECOND)


def progress(ledger: Path) -> tuple[int, int]:
    """Return the runs read, and the close time down to which they are read; `sys.maxsize` before the first page."""
    with suppress(sqlite3.OperationalError), closing(sqlite3.connect(f"file:{ledger}?mode=ro", uri=True)) as connection:
        return connection.execute("SELECT runs, position FROM past").fetchone() or (0, sys.maxsize)
    return 0, sys.maxsize


def counted(ledger: Path) -> Counts:
    """Return the counts in the ledger."""
    query = "SELECT minute / 1440, status, sum(count) FROM closed_minutes GROUP BY 1, 2"
    with closing(sqlite3.connect(ledger)) as connection:
        return Counter({(day, status): count for day, status, count in connection.execute(query)})


async def server_counts(site: Site) -> Counts:
    """Return the server's own counts."""
    counts, limiter = Counts(), RateLimiter(4, 1)
    today = int(time.time()) // DAY
    for day in range(today - DAYS - 1, today + 1):
        since, end = (datetime.fromtimestamp(moment * DAY, UTC).isoformat() for moment in (day, day + 1))
        async with limiter.slot():
            answer = await site.client.count_workflows(
                f"CloseTime >= '{since}' AND CloseTime < '{end}' GROUP BY ExecutionStatus"
            )
        counts.update({(day, STATUS_NAMES[str(group.group_values[0])]): group.count for group in answer.groups})
    return counts


@pytest.fixture(scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory, full_size: bool) -> AsyncIterator[Server]:  # noqa: FBT001 - a fixture
    """A server whose runs closed over eight days."""
    folder = tmp_path_factory.mktemp("backfill")
    rows, page = (100_000, 1000) if full_size else (3_000, 300)
    step = DAYS * DAY * SECOND // rows
    async with seeded(folder / "server", rows, int((time.time() - 60) * SECOND), step, LIMIT) as site:
        yield Server(site, folder, rows, page, await server_counts(site))


@pytest.fixture(scope="module")
async def killed(server: Server) -> Path:
    """The ledger of a backfill that was killed several times, each time just after a page, and then completed."""
    ledger = server.folder / "killed.db"
    for _ in range(KILLS):
        before = progress(ledger)[0]
        with server.backfilling(ledger) as child:

            async def further(child: Child = child, before: int = before) -> bool:
                child.check()
                return progress(ledger)[0] > before

            await until(further, deadline=60, what="a page")
    assert 0 < progress(ledger)[0] < server.rows
    with server.backfilling(ledger) as child:
        await server.complete(ledger, child)
    return ledger


@pytest.mark.sized
async def test_equals_the_server(server: Server, killed: Path) -> None:
    """After several kills the ledger has the server's own counts for each day and status."""
    assert server.counts.total() == server.rows
    assert counted(killed) == server.counts
    with closing(sqlite3.connect(killed)) as connection:
        assert connection.execute("SELECT count(*) FROM closed_totals").fetchone() == (0,)
    print(f"backfill: {server.rows} runs over {DAYS} days, killed {KILLS} times: equal to the server's counts")


@pytest.mark.sized
async def test_yields_to_other_clients(server: Server) -> None:
    """During a backfill no request of a client that uses half of the server's limit is refused."""
    ledger, limiter, codes = server.folder / "other-client.db", RateLimiter(5, 1), Counter[str]()
    request = CountWorkflowExecutionsRequest(namespace=NAMESPACE, query="ExecutionStatus = 'Running'")
    with server.backfilling(ledger) as child:
        complete = asyncio.create_task(server.complete(ledger, child))
        start = time.monotonic()
        while not complete.done():
            async with limiter.slot():
                try:
                    await server.site.client.workflow_service.count_workflow_executions(request)
                    codes["OK"] += 1
                except RPCError as error:
                    codes[error.status.name] += 1
        await complete
    print(f"backfill with another client: {dict(codes)} in {time.monotonic() - start:.1f} s, {server.rows} runs read")
    assert set(codes) == {"OK"}
    assert codes["OK"] > 10
    assert counted(ledger) == server.counts


async def test_backs_off_when_refused(server: Server) -> None:
    """A backfill whose requests the server refuses backs off, continues, and counts each run once."""
    ledger, granted = server.folder / "refused.db", 0
    # Small pages: many more requests than the server accepts in a second.
    with server.backfilling(ledger, "1000", server.page // 6) as child:
        # Another client uses up the limit until a request of the backfill is refused.
        while REFUSED_LOG not in child.log.read_text():
            child.check()
            assert progress(ledger)[1] >= server.below_oldest
            with suppress(RPCError):
                await server.site.client.count_workflows("ExecutionStatus = 'Running'")
                granted += 1
        await server.complete(ledger, child)
    assert granted > 0
    assert counted(ledger) == server.counts


def blocks(programs: dict[str, Path], text: Path, data: Path) -> None:
    """Create blocks from an OpenMetrics file."""
    command = [programs["promtool"], "tsdb", "create-blocks-from", PROMTOOL_OPTION, "openmetrics", text, data]
    subprocess.run(list(map(str, command)), check=True, capture_output=True, timeout=600)


@pytest.mark.sized
async def test_import_into_prometheus(server: Server, killed: Path, programs: dict[str, Path], tmp_path: Path) -> None:
    """Prometheus imports the file with the counts of each day; `increase()` is right where live counting starts too."""
    text, live = tmp_path / "history.txt", tmp_path / "live.txt"
    options = {"openmetrics": str(text), "ledger": f"sqlite:///{killed}", "temporal_namespace": NAMESPACE}
    print(export({"since": None, "step": "1m", **options}, ["job=temporal-slo", "instance=h:1"], {}))
    lines = [line for line in text.read_text().splitlines() if line.startswith(names.WORKFLOWS_CLOSED.sample)]
    series, _, end = lines[-1].rsplit(" ", 2)
    after = [f"{series} {max(count, 0)} {float(end) + 15 * (count + 6)}" for count in range(-5, 8)]
    live.write_text("\n".join(["# TYPE temporal_slo_workflows_closed counter", *after, "# EOF\n"]))
    for file in (text, live):
        blocks(programs, file, tmp_path / "prometheus")
    prometheus = Prometheus(programs["prometheus"], tmp_path, {})
    try:
        await prometheus.ready()
        await compare(prometheus, server, series, float(end))
    finally:
        await prometheus.close()
        prometheus.child.stop()


async def compare(prometheus: Prometheus, server: Server, series: str, end: float) -> None:
    """Compare the values in Prometheus with the server's counts."""
    closed_, begin = names.WORKFLOWS_CLOSED.sample, f"{end:.3f}"
    for day in range(int(end) // DAY - DAYS, int(end) // DAY + 1):
        total = await prometheus.value(f"sum({closed_} @ {min((day + 1) * DAY, end):.3f})") or 0
        before = await prometheus.value(f"sum({closed_} @ {day * DAY})") or 0
        assert total - before == sum(count for (at, _), count in server.counts.items() if at == day)
    days = f"[{DAYS + 1}d] @ {begin}"
    for labels, value in (await prometheus.query(f"sum by (status) (increase({closed_}{days}))")).items():
        truth = sum(count for (_, status), count in server.counts.items() if status == dict(labels)["status"])
        assert value == pytest.approx(truth, rel=0.002)
    durations = await prometheus.value(f"sum({names.WORKFLOW_DURATION.name}_bucket{{le='+Inf'}} @ {begin})")
    assert durations == server.rows
    (exported,) = (await prometheus.query(f"{series} @ {begin}")).values()
    (whole,) = (await prometheus.query(f"increase({series}[{DAYS + 1}d] @ {end + 15 * 13:.3f})")).values()
    assert whole == pytest.approx(exported + 7, abs=0.5)


async def test_close_events(temporal: Temporal, tmp_path: Path) -> None:
    """Backfilled runs that need their close event are classified by it: a terminated run was not reset."""
    client = await temporal.namespace("backfill-events")
    for number in range(3):
        handle = await client.start_workflow("Nobody", id=f"backfill-{number}", task_queue="backfill-nobody")
        await handle.terminate()

    async def visible() -> bool:
        return (await client.count_workflows("ExecutionStatus = 'Terminated'")).count == 3

    await until(visible, deadline=30, what="three terminated runs")
    async with polling(tmp_path, temporal.connection("backfill-events")) as parts:
        await parts.poller.poll()
        ledger = parts.pending_runs._ledger  # noqa: SLF001 - shared by the parts
        backfill = backfill_of(parts, ledger, client)
        task = asyncio.create_task(backfill.run())

        async def complete() -> bool:
            return any(s.family is names.BACKFILL_COMPLETE and s.value for s in await backfill.read(0))

        await until(complete, deadline=60, what="the end of the backfill")
        assert counted(tmp_path / "polling.db") == {(int(time.time()) // DAY, "terminated"): 3}
        assert {sample.family: sample.value for sample in await backfill.read(0)}[
            names.BACKFILL_MISSING_CLOSE_EVENTS
        ] == 0
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
