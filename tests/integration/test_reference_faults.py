"""Bookings and top-ups while workers and services are killed at every step."""

import asyncio
import random
import sys
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count, product, zip_longest
from pathlib import Path
from typing import Final

import pytest
from temporalio.client import Client

from temporal_slo.reference.activities.booking import BookingActivities
from temporal_slo.reference.activities.payment import PaymentActivities
from temporal_slo.reference.workflows import fleet
from temporal_slo.reference.workflows.fleet import BusService, BusServiceRequest, BusServiceWorkflow, bus_service_id
from temporal_slo.servers.process import Child
from temporal_slo.servers.temporal import TemporalServer, ensure_namespace
from tests.reference.services_process import ServicesProcess, ServicesUnderTest, services_process

from .reference_books import prove
from .reference_runs import (
    BOOKINGS,
    ENDPOINTS,
    SERVICE_DATE,
    TASK_TIMEOUT,
    TIMINGS,
    TOP_UPS,
    BookingRun,
    Run,
    Stop,
    TopUpRun,
    stops,
)

NAMESPACE: Final = "reference-faults"
NO_SYNC: Final = ("--sqlite-pragma", "journal_mode=wal", "--sqlite-pragma", "synchronous=off")
SEED: Final = 1546
"""Chosen so that the small test has almost every story, and calls that take effect after their compensation."""
WORKER, SERVICES = "worker", "services"
VICTIMS: Final = ((WORKER,), (SERVICES,), (WORKER, SERVICES))
IN_FLIGHT: Final = 6
"""Bookings, and as many top-ups, per kill: each stopped run occupies some of the ten activity slots of its worker."""


@dataclass(frozen=True)
class Batch:
    """Runs that are in flight together, and what is killed when all of them have reached their stops."""

    victims: Sequence[str]
    bookings: Sequence[Stop]
    top_ups: Sequence[Stop]


def plan(*, full: bool) -> list[Batch]:
    """Return every stop with every choice of victims, or for a small test one batch of stops for each choice."""
    dice = random.Random(SEED)  # noqa: S311 no secret
    bookings, top_ups = groups_of(stops(BOOKINGS), dice), groups_of(stops(TOP_UPS), dice)
    groups: list[tuple[list[Stop], list[Stop]]] = list(zip_longest(bookings, top_ups, fillvalue=[]))
    chosen = product(VICTIMS, groups) if full else zip(VICTIMS, groups, strict=False)
    batches = [Batch(victims, *(survivable(stops, victims) for stops in group)) for victims, group in chosen]
    return [batch for batch in batches if batch.bookings or batch.top_ups]


def survivable(stops: list[Stop], victims: Sequence[str]) -> list[Stop]:
    """Return the stops at which these kills do not make a compensation fail: a limit of attempts would be reached."""
    return [stop for stop in stops if SERVICES not in victims or not stop.story.timings.max_attempts]


def groups_of(found: list[Stop], dice: random.Random) -> list[list[Stop]]:
    """Return the stops in random groups, of which the first have all steps."""
    dice.shuffle(found)
    rounds: Counter[str] = Counter()
    order = []
    for stop in found:
        order.append(rounds[stop.step])
        rounds[stop.step] += 1
    ordered = [stop for _, stop in sorted(zip(order, found, strict=True), key=lambda pair: pair[0])]
    return [ordered[start : start + IN_FLIGHT] for start in range(0, len(ordered), IN_FLIGHT)]


@dataclass
class System:
    """The reference application as processes, and all that was started in it.

    Attributes:
        killed: Number of kills, by process.
    """

    folder: Path
    address: str
    client: Client
    process: ServicesProcess
    services: ServicesUnderTest
    bookings: list[BookingRun] = field(default_factory=list)
    top_ups: list[TopUpRun] = field(default_factory=list)
    killed: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.worker = self._start_worker()

    def _start_worker(self) -> Child:
        connection = ["--temporal-address", self.address, "--temporal-namespace", NAMESPACE]
        command = [sys.executable, "-m", "temporal_slo", "worker", "booking", "payment", "fleet", *connection]
        return Child("worker", [*command, "--services", self.process.url], self.folder / "worker.log")

    async def kill(self, victims: Sequence[str]) -> None:
        """Kill the victims, and restart them at once."""
        self.worker.check()
        if WORKER in victims:
            self.worker.kill()
        if SERVICES in victims:
            self.process.kill()
        if WORKER in victims:
            self.worker = self._start_worker()
        if SERVICES in victims:
            await self.process.start()
        self.killed.update(victims)

    async def run(self, batch: Batch) -> None:
        """Start the runs of a batch, kill when all have stopped, and check the books when all have closed."""
        runs = await self._runs(batch)
        await asyncio.gather(*(run.reach() for run in runs))
        await asyncio.gather(*(run.at_stop() for run in runs))
        await self.kill(batch.victims)
        await asyncio.gather(*(run.finish() for run in runs))
        await prove(self.services, self.bookings, self.top_ups)
        await self.services.http.delete("/faults")

    async def _runs(self, batch: Batch) -> Sequence[Run]:
        started = len(self.bookings) + len(self.top_ups)
        numbers = count(started)
        bus = await self._start_bus(f"bus-{started}")
        bookings = [BookingRun(*self._of(stop, next(numbers)), bus=bus) for stop in batch.bookings]
        top_ups = [TopUpRun(*self._of(stop, next(numbers))) for stop in batch.top_ups]
        self.bookings += bookings
        self.top_ups += top_ups
        return [*bookings, *top_ups]

    def _of(self, stop: Stop, number: int) -> tuple[Client, ServicesUnderTest, Stop, str, int]:
        return self.client, self.services, stop, f"user-{number:04}", number

    async def _start_bus(self, bus: str) -> str:
        service = BusService(bus, SERVICE_DATE)
        await self.client.start_workflow(
            BusServiceWorkflow.run,
            BusServiceRequest(service, TIMINGS),
            id=bus_service_id(service),
            task_queue=fleet.TASK_QUEUE,
            task_timeout=TASK_TIMEOUT,
        )
        return bus


@asynccontextmanager
async def system(folder: Path) -> AsyncIterator[System]:
    """Run the reference application inside the context, with a Temporal server of its own."""
    server = TemporalServer(folder, durable=True, options=["--headless", *NO_SYNC])
    try:
        client = await server.ready()
        await ensure_namespace(client, NAMESPACE)
        async with services_process(folder) as (process, services):
            client = Client(client.service_client, namespace=NAMESPACE)
            system = System(folder, server.address, client, process, services)
            try:
                yield system
            except BaseException:
                print(system.worker.tail(40), server.child.tail(20))
                raise
            finally:
                system.worker.kill()
    finally:
        server.child.stop()


def activity_names() -> set[str]:
    """Return the activities of bookings and top-ups."""
    methods = [*vars(BookingActivities).values(), *vars(PaymentActivities).values()]
    found = [getattr(method, "__temporal_activity_definition", None) for method in methods]
    return {definition.name for definition in found if definition}


@pytest.mark.sized
@pytest.mark.timeout(3000)
async def test_books_balance_after_kills(tmp_path: Path, *, full_size: bool) -> None:
    """Whatever is killed at whichever step, no seat is held and no money is kept without its booking or credit."""
    batches = plan(full=full_size)
    kills: Counter[str] = Counter()
    async with system(tmp_path) as running:
        for batch in batches:
            await running.run(batch)
            kills.update(stop.step for stop in (*batch.bookings, *batch.top_ups))
        totals = await running.services.totals()
        assert "Traceback" not in running.worker.log.read_text()
    assert set(kills) == set(ENDPOINTS) == activity_names()
    killed = f"{running.killed[WORKER]} kills of the worker, {running.killed[SERVICES]} of the services"
    print(f"{kills.total()} runs, {killed}: books balance")
    print("stopped at a kill:", ", ".join(f"{step} {kills[step]}" for step in ENDPOINTS))
    print("books:", totals["seats"], totals["cards"], totals["paystack"], totals["wallets"])
