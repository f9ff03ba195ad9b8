"""Cost of polling compared with simpler exporters: `python -m tests.bench.bench_cost [--rows 200000] [--runs 1024]`."""

import argparse
import asyncio
import itertools
import math
import multiprocessing
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Final

from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import HistoryEventFilterType
from temporalio.api.workflowservice.v1 import GetWorkflowExecutionHistoryRequest, ListWorkflowExecutionsRequest
from temporalio.client import Client
from temporalio.envconfig import ClientConnectConfig

from temporal_slo.exporter.exposition.publisher import Publisher
from temporal_slo.exporter.mirror.mirror import Mirror
from temporal_slo.exporter.namespace import HISTORY_CONCURRENCY
from temporal_slo.exporter.poller import Poller
from temporal_slo.ledger.change import CLOSED, OPEN, Change, Position
from temporal_slo.ledger.ledger import Ledger
from temporal_slo.runs.microseconds import SECOND
from temporal_slo.settings import DEFAULT_HISTORY_RATE, DEFAULT_VISIBILITY_RATE, ExporterSettings
from temporal_slo.temporal.gateway import Gateway
from temporal_slo.temporal.merged_visibility import MergedVisibility
from temporal_slo.temporal.rate_limit import RateLimiter
from temporal_slo.temporal.rpc import GET_HISTORY
from temporal_slo.temporal.visibility import CLOSED_QUERY, PAGE_SIZE_MAX, TemporalVisibility, count_closed
from tests.exposed import published
from tests.integration.polling import parts_of
from tests.run_factory import from_visibility

from .seeding import NAMESPACE, QUEUE, STEP, TYPES, Site, seeded
from .timing import Race, Side

INTERVAL: Final = 15 * SECOND
NEW: Final = 100
"""Number of runs that close between two polls."""

SWEEPS: Final = 4
"""Number of polls per sweep of the overlap: one minute of 15-second polls."""

AGO: Final = 3600 * SECOND
"""Microseconds by which the clock of the polls is behind: they advance by 15 s without waiting."""


@dataclass
class Cost:
    """Cost of a poll with *rows* rows stored.

    Attributes:
        closed: Number of counted runs.
        added: Number of runs that closed.
    """

    rows: int
    ours: Side = field(default_factory=Side)
    sweeps: Side = field(default_factory=Side)
    counts: Side = field(default_factory=Side)
    relist: Side = field(default_factory=Side)
    closed: int = 0
    added: int = 0


@dataclass
class Memory:
    """Memory of an exporter without its HTTP server, in a child process.

    Attributes:
        idle: Peak resident memory before the first request, in megabytes.
        peak: Peak resident memory, in megabytes.
    """

    closed: int
    open: int
    seconds: float
    idle: float
    peak: float


@dataclass
class Result:
    """Measurements.

    Attributes:
        stored: Closed rows counted by the server, to catch up on.
    """

    costs: list[Cost]
    catch_up: Race
    stored: int
    settle: Race
    memory: Memory


class Polled:
    """An exporter that polls a site with a simulated clock, and the cost of its polls.

    Args:
        started: Start time; all stored rows closed before it.
    """

    def __init__(self, site: Site, started: int) -> None:
        self._site = site
        self._now = started
        self._gateway = Gateway(site.client, NAMESPACE)
        self.cost = Cost(site.rows)

    async def begin(self, ledger: Ledger) -> None:
        """Start counting; the first poll is not measured."""
        await begin(ledger, self._now)
        self._mirror = await mirror(self._gateway, ledger, self._now)
        publisher = Publisher(ledger)
        await publisher.join(NAMESPACE)
        clock = lambda: self._now / SECOND  # noqa: E731
        self._poller = Poller(NAMESPACE, self._mirror, tuple, publisher.put, interval=timedelta(1), clock=clock)
        await self._poller.poll()

    async def turn(self, number: int) -> None:
        """Close runs, and poll."""
        self._now += INTERVAL
        # All of them close after the last poll.
        self._site.add(list(self._site.closed(NEW, self._now - SECOND, (INTERVAL - 2 * SECOND) // NEW)))
        before = self._gateway.requests.total()
        side = self.cost.sweeps if number % SWEEPS == SWEEPS - 1 else self.cost.ours
        assert await side.timed(self._poller.poll)
        side.requests = max(side.requests, self._gateway.requests.total() - before)
        self.cost.added += NEW
        self.cost.closed = sum(histogram.count for histogram in self._mirror.state.closed.values())

    async def counted(self) -> None:
        """Count every type by status, like a plain exporter."""
        queries = [f"WorkflowType = '{kind}' GROUP BY ExecutionStatus" for kind in TYPES]
        self.cost.counts.requests = len(queries)
        found = await self.cost.counts.timed(lambda: _counted(self._site.client, queries))
        assert found == self._site.rows

    async def relisted(self) -> None:
        """List everything, like a simple exporter."""
        found = await self.cost.relist.timed(lambda: _listed(self._site.client))
        self.cost.relist.requests = -(-found // PAGE_SIZE_MAX)
        assert found == self._site.rows


async def _counted(client: Client, queries: list[str]) -> int:
    return sum([(await client.count_workflows(query)).count for query in queries])


async def _listed(client: Client) -> int:
    return sum([rows async for rows in pages(client)])


async def pages(client: Client) -> AsyncIterator[int]:
    """List closed runs with sequential requests; yield the number of rows of each page."""
    token = b""
    while True:
        request = ListWorkflowExecutionsRequest(
            namespace=NAMESPACE, query=CLOSED_QUERY, page_size=PAGE_SIZE_MAX, next_page_token=token
        )
        response = await client.workflow_service.list_workflow_executions(request)
        yield len(response.executions)
        token = response.next_page_token
        if not token:
            return


async def begin(ledger: Ledger, low: int) -> None:
    """Make the ledger count from *low* on."""
    positions = {name: Position(low, low) for name in (CLOSED, OPEN)}
    await ledger.commit(NAMESPACE, Change(positions=positions), low)


async def mirror(gateway: Gateway, ledger: Ledger, now: int, *, merged: bool = True) -> Mirror:
    """Return a mirror like that of the exporter, without rate limit.

    Args:
        gateway: Sends the requests.
        ledger: Its ledger.
        now: Time of the first poll, in microseconds.
        merged: Whether to list the closed statuses one by one where that is cheaper, as the exporter does.
    """
    lists = TemporalVisibility(gateway, RateLimiter(math.inf, 1))
    visibility = MergedVisibility(lists) if merged else lists
    return Mirror(NAMESPACE, visibility, ledger, await ledger.load(NAMESPACE), now, classify=from_visibility)


async def measure_cost(stack: AsyncExitStack, sites: list[Site], started: int, polls: int) -> list[Cost]:
    """Poll all sites in turns, in each of the three ways."""
    polled = [Polled(site, started) for site in sites]
    for one, site in zip(polled, sites, strict=True):
        ledger = _ledger(site, "cost")
        stack.callback(ledger.close)
        await one.begin(ledger)
    for number in range(polls):
        for one in polled:
            await one.turn(number)
        if number % SWEEPS == 0:
            for one in polled:
                await one.counted()
    for one in polled:
        await one.relisted()
    return [one.cost for one in polled]


def _ledger(site: Site, name: str) -> Ledger:
    return Ledger(f"sqlite:///{site.database.parent / name}.db")


async def measure_catch_up(site: Site) -> Race:
    """Catch up on all rows, alternating page by page with a bare loop."""
    race, ledger, gateway = Race(), _ledger(site, "catch-up"), Gateway(site.client, NAMESPACE)
    try:
        await begin(ledger, _before(site))
        await _race_pages(race, site, await mirror(gateway, ledger, _now()))
        race.ours.requests = gateway.requests.total()
    finally:
        ledger.close()
    return race


async def _race_pages(race: Race, site: Site, ours: Mirror) -> None:
    counted, bare = 0, pages(site.client)

    async def step() -> int:
        nonlocal counted
        before = counted
        await (ours.catch_up if ours.state.gaps else ours.poll)(_now())
        counted = sum(histogram.count for histogram in ours.state.closed.values())
        return counted - before

    async def loop() -> int:
        return await anext(bare, 0)

    # The first reader of a page finds the cache cold: both are first equally often.
    for number in itertools.count():
        if number % 2:
            await _even(race, loop)
        if number == 0 or ours.state.gaps:
            await race.ours.timed(step)
        if number % 2 == 0:
            await _even(race, loop)
        if not ours.state.gaps and race.bare.count >= race.ours.count:
            return


async def _even(race: Race, loop: Callable[[], Awaitable[int]]) -> None:
    """Read pages until the bare loop is ahead, or finished."""
    while race.bare.count <= race.ours.count and await race.bare.timed(loop):
        pass


async def measure_settling(site: Site, runs: int, turns: int) -> Race:
    """Close runs, and read their close events in turns with a bare loop, each turn with a new ledger."""
    race, low = Race(), _now()
    ended = await _terminated(site.client, runs)
    await _until_listed(site, site.rows + runs)
    for turn in range(turns):
        ledger = _ledger(site, f"settling-{turn}")
        try:
            await begin(ledger, low)
            parts = await parts_of(_settings(site.server.address), ledger)
            await parts.poller.poll()
            ways = [(race.ours, parts.pending_runs.count_lap), (race.bare, lambda: _close_events(site.client, ended))]
            # The first reader of an event finds the cache cold: both are first equally often.
            for side, read in ways[:: 1 if turn % 2 else -1]:
                await side.timed(read)
            await parts.poller.poll()
            assert sum(published(parts.poller.snapshot).closed.values()) == runs
        finally:
            ledger.close()
    return race


async def _terminated(client: Client, runs: int) -> list[WorkflowExecution]:
    """Start and terminate runs without a worker."""

    async def end(number: int) -> WorkflowExecution:
        async with turns:
            handle = await client.start_workflow("Ended", id=f"ended-{number}", task_queue=QUEUE)
            await handle.terminate("bench")
            return WorkflowExecution(workflow_id=handle.id, run_id=handle.result_run_id or "")

    turns = asyncio.Semaphore(16)
    return await asyncio.gather(*map(end, range(runs)))


async def _until_listed(site: Site, rows: int) -> None:
    while (await count_closed(site.client)).total() < rows:
        await asyncio.sleep(0.2)


async def _close_events(client: Client, runs: list[WorkflowExecution]) -> int:
    """Read close events with the concurrency of the exporter; return their number."""
    left, found = iter(runs), 0

    async def work() -> None:
        nonlocal found
        for execution in left:
            request = GetWorkflowExecutionHistoryRequest(
                namespace=NAMESPACE,
                execution=execution,
                history_event_filter_type=HistoryEventFilterType.HISTORY_EVENT_FILTER_TYPE_CLOSE_EVENT,
            )
            response = await client.workflow_service.get_workflow_execution_history(
                request, metadata=GET_HISTORY.metadata
            )
            found += len(response.history.events)

    await asyncio.gather(*(work() for _ in range(HISTORY_CONCURRENCY)))
    return found


def _settings(address: str) -> ExporterSettings:
    """Return settings without rate limits."""
    connection: ClientConnectConfig = {"target_host": address, "namespace": NAMESPACE}
    interval = timedelta(microseconds=INTERVAL)
    return ExporterSettings(connection, "", ("127.0.0.1", 0), interval, visibility_rate=math.inf, history_rate=math.inf)


async def measure_memory(site: Site, runs: int) -> Memory:
    """Store open runs too, and read all rows in a child process."""
    await site.fill(site.open(runs, _now() - AGO))
    # A new interpreter, which shares no memory with this one.
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as child:
        ledger = str(site.database.parent / "memory.db")
        arguments = (site.server.address, ledger, _before(site), site.rows, runs)
        return await asyncio.get_running_loop().run_in_executor(child, _export, *arguments)


def _export(address: str, ledger: str, low: int, rows: int, runs: int) -> Memory:
    return asyncio.run(_exported(address, Ledger(f"sqlite:///{ledger}"), low, rows, runs))


async def _exported(address: str, ledger: Ledger, low: int, rows: int, runs: int) -> Memory:
    idle, started = _peak(), time.monotonic()
    await begin(ledger, low)
    poller = (await parts_of(_settings(address), ledger)).poller
    task = asyncio.create_task(poller.run())
    closed = running = 0
    while (closed, running) != (rows, runs) and not task.done():
        await asyncio.sleep(0.1)
        if poller.snapshot.samples:
            found = published(poller.snapshot)
            closed, running = sum(found.closed.values()), sum(found.running.values())
    seconds = time.monotonic() - started
    task.cancel()
    await asyncio.wait([task])
    return Memory(closed, running, seconds, idle, _peak())


def _peak() -> float:
    """Return the peak resident memory of this process, in megabytes."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def _now() -> int:
    return int(time.time() * SECOND)


def _before(site: Site) -> int:
    """Return a time before all rows of *site*."""
    return _now() - 2 * AGO - site.rows * STEP


async def measure(folder: Path, rows: int, runs: int, polls: int = 32) -> Result:
    """Measure everything, with *rows* rows stored and with a tenth of them.

    Args:
        folder: Directory for the databases of the servers, 3 GB with 200,000 rows.
        rows: Stored closed runs; half as many open runs are added for the memory measurement.
        runs: Runs on the server, for their close events.
        polls: Polls with new runs; half as many turns for close events.
    """
    started = _now() - AGO
    async with AsyncExitStack() as stack:
        sites = [
            await stack.enter_async_context(seeded(folder / str(size), size, started)) for size in (rows // 10, rows)
        ]
        small, large = sites
        costs = await measure_cost(stack, sites, started + SECOND, polls)
        print(cost_table(costs), flush=True)
        settle = await measure_settling(small, runs, polls // 2)
        print(race_table("close events/s", settle), f"{settle.typical:.2f} in the median turn", flush=True)
        catch_up = await measure_catch_up(large)
        stored = (await count_closed(large.client)).total()
        print(race_table("rows/s catching up", catch_up), flush=True)
        print(sustained_table(catch_up, settle), flush=True)
        memory = await measure_memory(large, rows // 2)
        print(memory_table(memory), flush=True)
        return Result(costs, catch_up, stored, settle, memory)


def cost_table(costs: list[Cost]) -> str:
    """Return the cost of a poll as a table."""
    lines = [
        _line(f"a poll with {NEW} new closed runs", *(f"{cost.rows:,} rows" for cost in costs), "ratio", "requests")
    ]
    ways = {
        "ours": [cost.ours for cost in costs],
        "ours, once a minute (late sweep)": [cost.sweeps for cost in costs],
        f"a count for each of {len(TYPES)} types": [cost.counts for cost in costs],
        "listing everything": [cost.relist for cost in costs],
    }
    for name, sides in ways.items():
        times = [f"{1000 * side.median:.1f} ms" for side in sides]
        requests = " / ".join(str(side.requests) for side in sides)
        lines.append(_line(name, *times, f"{sides[-1].typical(sides[0]):.2f}", requests))
    lines.append(
        "median, and ratio in the median turn, of "
        + ", ".join(f"{len(sides[0].seconds)} ({name})" for name, sides in ways.items())
    )
    return "\n".join(lines)


def race_table(name: str, race: Race) -> str:
    """Return both rates and their ratio as a table."""
    rates = (f"{side.rate:,.0f} ({side.count:,})" for side in (race.ours, race.bare))
    return "\n".join([_line("", "ours", "bare loop", "ratio"), _line(name, *rates, f"{race.ratio:.2f}")])


def sustained_table(catch_up: Race, settle: Race) -> str:
    """Return the measured rates, capped by the default rate limits."""
    page = catch_up.ours.count / catch_up.ours.requests
    rows = min(catch_up.ours.rate, DEFAULT_VISIBILITY_RATE * page)
    events = min(settle.ours.rate, DEFAULT_HISTORY_RATE)
    limits = f"{DEFAULT_VISIBILITY_RATE:g} visibility and {DEFAULT_HISTORY_RATE:g} history requests per second"
    return f"with limits of {limits}: {rows:,.0f} rows/s at {page:,.0f} per request, {events:,.0f} close events/s"


def memory_table(memory: Memory) -> str:
    """Return the memory of the process that read everything."""
    what = f"{memory.closed:,} closed, {memory.open:,} open runs read in {memory.seconds:.1f} s"
    return f"resident memory: {memory.peak:.0f} MB peak ({memory.idle:.0f} MB when idle); {what}"


def _line(name: str, *values: str) -> str:
    return f"{name:<36}" + "".join(f"{value:>18}" for value in values)


def main() -> None:
    """Measure at the sizes given on the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--runs", type=int, default=1024)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(measure(Path(folder), arguments.rows, arguments.runs))


if __name__ == "__main__":
    main()
