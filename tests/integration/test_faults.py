"""The exporter and Temporal killed again and again while bookings run: nothing lost, nothing doubled."""

import asyncio
import random
from collections import Counter
from pathlib import Path

import pytest
from temporalio.client import Client

from temporal_slo import names
from temporal_slo.exporter.visibility import count_closed
from temporal_slo.reference import load
from temporal_slo.reference.booking import BookingTimings
from temporal_slo.reference.services import Services
from temporal_slo.reference.worker import booking_worker
from temporal_slo.servers.process import free_port, until
from temporal_slo.servers.prometheus import Prometheus
from temporal_slo.servers.temporal import TemporalServer, ensure_namespace

from .exporter import Exporter

MIX = load.Mix.parse("confirmed=12,declined=3,cancelled_by_user=2,canceled=3,terminated=2,timed_out=2,failed=1")
QUICK = BookingTimings(retry_initial=0.1, retry_maximum=0.2, max_attempts=2)
NAMESPACE = "faults"
LIFE = (0.5, 4.0)
"""Seconds between which an exporter lives until it is killed: during its start, a poll, a page, or idle."""


class Killer:
    """Runs an exporter and kills it at random moments, always on the same port and ledger."""

    def __init__(self, folder: Path, address: str, seed: int) -> None:
        self._folder = folder
        self._address = address
        self._random = random.Random(seed)  # noqa: S311 no secret
        self.port = free_port()
        self.exporter = self._start()
        self.kills = 0

    def _start(self) -> Exporter:
        return Exporter(self._folder, self._address, NAMESPACE, port=self.port)

    async def kill_times(self, times: int) -> None:
        """Kill and restart it so many times."""
        for _ in range(times):
            # The moment is to be a random one, so there is nothing to wait for.
            await asyncio.sleep(self._random.uniform(*LIFE))
            self.exporter.child.kill()
            await self.exporter.http.aclose()
            self.kills += 1
            self.exporter = self._start()
        await self.exporter.started()


async def kill_and_restart(server: TemporalServer, client: Client, after: int) -> None:
    """Kill the server once it has so many closed runs, and start it again."""

    async def reached() -> bool:
        return (await count_closed(client)).total() >= after

    await until(reached, deadline=300, what=f"{after} closed runs")
    server.child.kill()
    server.restart()
    await server.ready()


async def all_closed(client: Client, count: int) -> None:
    """Wait until so many runs have closed."""

    async def closed() -> bool:
        return (await count_closed(client)).total() == count

    await until(closed, deadline=600, what=f"{count} closed runs")


@pytest.mark.sized
@pytest.mark.timeout(1800)
async def test_exact_under_faults(programs: dict[str, Path], tmp_path: Path, *, full_size: bool) -> None:
    """Exporter killed at random moments, server killed once: counts equal Temporal's, in the exporter and Prometheus."""
    count, kills = (4000, 30) if full_size else (150, 5)
    server = TemporalServer(tmp_path, durable=True, options=["--headless"])
    try:
        client = await server.ready()
        await ensure_namespace(client, NAMESPACE)
        client = Client(client.service_client, namespace=NAMESPACE)
        killer = Killer(tmp_path, server.address, seed=11)
        await killer.exporter.started()
        await killer.exporter.becomes(names.EXPORTER_UP, 1)
        prometheus = Prometheus(programs["prometheus"], tmp_path, {"temporal-slo": killer.exporter.target})
        try:
            await prometheus.ready()
            plan = load.Load(rate=40, count=count, mix=MIX, seed=7, timings=QUICK)
            async with booking_worker(client, Services(), max_concurrent_activities=50):
                tally, *_ = await asyncio.gather(
                    load.run(client, plan), killer.kill_times(kills), kill_and_restart(server, client, count // 3)
                )
                await all_closed(client, tally.started.total())
            await hold_against_server(client, killer.exporter, prometheus)
        finally:
            prometheus.child.stop()
            await prometheus.close()
            await killer.exporter.stop()
    finally:
        server.child.stop()
    print(f"{tally.started.total()} bookings, {killer.kills} kills of the exporter, 1 of the server: all counts equal")


async def hold_against_server(client: Client, exporter: Exporter, prometheus: Prometheus) -> None:
    """Hold closed, started and running of the exporter, and the increase in Prometheus, against the server's counts."""
    truth = await count_closed(client)

    async def caught_up() -> bool:
        up, uncovered = await exporter.value(names.EXPORTER_UP), await exporter.value(names.EXPORTER_UNCOVERED)
        return (up, uncovered) == (1, 0) and sum((await exporter.closed()).values()) >= truth.total()

    await until(caught_up, deadline=120, what="the exporter's counts")
    assert await exporter.closed() == truth
    assert sum((await exporter.series(names.WORKFLOWS_STARTED)).values()) == truth.total()
    assert sum((await exporter.series(names.WORKFLOWS_RUNNING)).values()) == 0

    async def scraped() -> bool:
        return sum((await increases(prometheus)).values()) >= truth.total()

    await until(scraped, deadline=60, what="the increase in Prometheus")
    assert await increases(prometheus) == truth


async def increases(prometheus: Prometheus) -> Counter[str]:
    """How much each status rose in Prometheus, resets counted as it counts them, without its extrapolation."""
    sample = names.WORKFLOWS_CLOSED.sample
    rises: Counter[str] = Counter()
    for labels, values in (await prometheus.samples(f"{sample}[1h]")).items():
        steps = zip(values, values[1:], strict=False)
        rises[dict(labels)["status"]] += int(sum(new - old if new >= old else new for old, new in steps))
    return rises
