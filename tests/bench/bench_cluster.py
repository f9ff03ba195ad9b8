"""Duration of polls on a Temporal cluster, by open runs: `python -m tests.bench.bench_cluster`.

Needs the programs of a cluster, see CONTRIBUTING.md.
"""

import asyncio
import os
import tempfile
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import psycopg

from temporal_slo.exporter.mirror.mirror import Mirror
from temporal_slo.ledger.ledger import Ledger
from temporal_slo.runs.microseconds import SECOND
from temporal_slo.servers.cluster import VISIBILITY, ClusterPrograms, TemporalCluster
from temporal_slo.servers.postgres import Postgres
from temporal_slo.servers.postgres import programs as postgres_programs
from temporal_slo.temporal.gateway import Gateway

from .bench_cost import AGO, INTERVAL, NEW, begin, mirror
from .seeding import COLUMNS, NAMESPACE, TYPES, Namespace, Row, created_namespace
from .timing import Side

OPTIONS: Final = {"frontend.persistenceMaxQPS": 1_000_000, "system.visibilityPersistenceMaxReadQPS": 1_000_000}
"""Dynamic configuration without the limits that a fast loop exceeds."""

COPY: Final = f"COPY executions_visibility ({', '.join(COLUMNS)}) FROM STDIN"


@dataclass(kw_only=True)
class Site(Namespace):
    """A cluster and its visibility database.

    Attributes:
        visibility: URL of the database.
        now: Simulated time in microseconds; all stored rows are older.
        open_rows: Number of open rows stored.
    """

    visibility: str
    now: int
    open_rows: int = 0

    def add_closed(self, count: int, step: int) -> None:
        """Store runs that closed just now."""
        self._copy(self.closed(count, self.now - SECOND, step))
        self.rows += count

    def grow_open(self, total: int) -> None:
        """Store open runs until there are *total*, and let the database analyze its tables."""
        self._copy(self.open(total - self.open_rows, self.now - AGO))
        self.open_rows = total
        with psycopg.connect(self.visibility, autocommit=True) as connection:
            connection.execute("VACUUM ANALYZE executions_visibility")

    def _copy(self, rows: Iterable[Row]) -> None:
        with psycopg.connect(self.visibility) as connection, connection.cursor().copy(COPY) as copy:
            for row in rows:
                copy.write_row(row)


@dataclass
class Costs:
    """Durations of polls with so many open runs: ours, by one request for all statuses, and counts by workflow type."""

    open_rows: int
    ours: Side = field(default_factory=Side)
    single: Side = field(default_factory=Side)
    counts: Side = field(default_factory=Side)


class Polled:
    """A mirror that polls a site with a simulated clock."""

    def __init__(self, site: Site, gateway: Gateway, polled: Mirror) -> None:
        self._site, self._gateway, self._mirror = site, gateway, polled

    @classmethod
    async def of(cls, site: Site, folder: Path, stack: ExitStack, *, merged: bool) -> "Polled":
        """Return one with a new ledger in *folder*, closed by *stack*."""
        ledger, gateway = Ledger(f"sqlite:///{folder / f'{merged}.db'}"), Gateway(site.client, NAMESPACE)
        stack.callback(ledger.close)
        await begin(ledger, site.now)
        return cls(site, gateway, await mirror(gateway, ledger, site.now, merged=merged))

    async def poll(self, side: Side) -> None:
        """Poll once, timed."""
        before = self._gateway.requests.total()

        async def act() -> int:
            await self._mirror.poll(self._site.now)
            return 0

        await side.timed(act)
        side.requests = max(side.requests, self._gateway.requests.total() - before)

    @property
    def closed(self) -> int:
        """Number of counted runs."""
        return sum(histogram.count for histogram in self._mirror.state.closed.values())


async def measure(
    folder: Path, programs: ClusterPrograms, closed: int, open_runs: tuple[int, ...], polls: int
) -> list[Costs]:
    """Measure polls with each number of open runs.

    Args:
        folder: Directory for logs and ledgers.
        programs: Programs of the cluster.
        closed: Closed rows stored before.
        open_runs: Numbers of open rows, ascending.
        polls: Polls with each.
    """
    with ExitStack() as stack:
        async with started(folder, programs, closed) as site:
            ours = await Polled.of(site, folder, stack, merged=True)
            single = await Polled.of(site, folder, stack, merged=False)
            results = []
            for number in open_runs:
                site.grow_open(number)
                results.append(await measured(site, ours, single, polls))
            assert ours.closed == single.closed == len(open_runs) * (polls + 1) * NEW
            return results


async def measured(site: Site, ours: Polled, single: Polled, polls: int) -> Costs:
    """Poll in turns; the first poll of each is not measured, as it may list the open runs."""
    costs = Costs(site.open_rows)
    for number in range(polls + 1):
        site.now += INTERVAL
        site.add_closed(NEW, (INTERVAL - 2 * SECOND) // NEW)
        measured_now = Costs(0) if number == 0 else costs
        # The first reader of new rows finds the cache cold: both are first equally often.
        ways = [(ours, measured_now.ours), (single, measured_now.single)]
        for polled, side in ways[:: 1 if number % 2 else -1]:
            await polled.poll(side)
        await measured_now.counts.timed(lambda: counts(site))
    return costs


async def counts(site: Site) -> int:
    """Count every workflow type by status, as a plain exporter does; return the number of requests."""
    for kind in TYPES:
        await site.client.count_workflows(f"WorkflowType = '{kind}' GROUP BY ExecutionStatus")
    return len(TYPES)


@asynccontextmanager
async def started(folder: Path, programs: ClusterPrograms, closed: int) -> AsyncIterator[Site]:
    """Start a cluster with *closed* closed rows."""
    store = Postgres(postgres_programs(Path(".tools"), lambda _: None), fsync=False)
    try:
        await store.ready()
        cluster = await asyncio.to_thread(TemporalCluster, folder, programs, store, OPTIONS)
        try:
            client, namespace_id = await created_namespace(await cluster.ready())
            site = Site(client, namespace_id, visibility=store.url(VISIBILITY), now=_now() - AGO)
            site.add_closed(closed, SECOND // 7)
            # A poll reads back over the three minutes before.
            site.now += 2 * AGO // 10
            yield site
        finally:
            cluster.child.stop()
    finally:
        store.close()


def table(results: list[Costs], closed: int) -> str:
    """Return the durations as a table."""
    lines = [
        _line(f"{closed:,} closed rows, {NEW} new", *(f"{one.open_rows:,} open" for one in results), "last / first")
    ]
    ways = {
        "ours": [one.ours for one in results],
        "one request for all statuses": [one.single for one in results],
        f"a count for each of {len(TYPES)} types": [one.counts for one in results],
    }
    for name, sides in ways.items():
        ratio = sides[-1].median / sides[0].median
        lines.append(_line(name, *(f"{1000 * side.median:.1f} ms" for side in sides), f"{ratio:.2f}"))
    requests = max(one.ours.requests for one in results)
    lines.append(f"median of {len(results[0].ours.seconds)} polls; ours makes at most {requests} requests a poll")
    return "\n".join(lines)


def _now() -> int:
    return int(time.time() * SECOND)


def _line(name: str, *values: str) -> str:
    return f"{name:<32}" + "".join(f"{value:>16}" for value in values)


def main() -> None:
    """Measure at full size."""
    programs = ClusterPrograms.of_environment(os.environ)
    with tempfile.TemporaryDirectory() as folder:
        results = asyncio.run(measure(Path(folder), programs, 200_000, (0, 20_000, 100_000), 24))
    print(table(results, 200_000))


if __name__ == "__main__":
    main()
