"""A booking worker and a fleet worker over the services, and the bookings of tests."""

import uuid
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from temporalio.client import Client, WorkflowExecutionStatus, WorkflowFailureError, WorkflowHandle

from temporal_slo.reference.activities.service_client import ServiceClient
from temporal_slo.reference.workers.booking import booking_worker
from temporal_slo.reference.workers.fleet import fleet_worker
from temporal_slo.reference.workflows.booking import BookingRequest, BookingResult, BookRideWorkflow
from temporal_slo.reference.workflows.fleet import BusService
from temporal_slo.reference.workflows.timings import ActivityTimings
from temporal_slo.servers.process import until

from .services_process import ServicesUnderTest, running_services

NAMESPACE = "reference-tests"
FARE = 1750
QUICK = ActivityTimings(start_to_close=20, retry_initial=0.05, retry_maximum=0.1, max_attempts=2)
PATIENT = ActivityTimings(start_to_close=20, retry_initial=0.05, retry_maximum=0.1, max_attempts=20)

RESERVE, RELEASE = "seats/reserve", "seats/release"
CHARGE, REFUND = "payments/charge", "payments/refund"
CONFIRM, ADD, NOTIFY = "bookings/confirm", "manifests/add-booking", "notifications/send"

Handle = WorkflowHandle[BookRideWorkflow, BookingResult]


@dataclass(frozen=True)
class Record:
    """What the services have on record about the booking of a user; amounts in kobo."""

    held: int = 0
    released: int = 0
    charged: int = 0
    refunded: int = 0
    confirmed: int = 0
    on_manifest: int = 0
    notifications: int = 0

    @property
    def nothing_left(self) -> bool:
        """Whether the user has no seat, no booking and no charge."""
        return self.charged == self.refunded and not (self.held or self.confirmed or self.on_manifest)


CONFIRMED = Record(held=1, charged=FARE, confirmed=1, on_manifest=1, notifications=1)
"""Of a booking without failures."""
_RECORD = """
    SELECT TOTAL(NOT r.released) AS held, TOTAL(r.released) AS released, TOTAL(c.amount) AS charged,
        TOTAL(c.refunded) AS refunded, TOTAL(b.confirmed) AS confirmed, COUNT(m.booking_id) AS on_manifest,
        (SELECT COUNT(*) FROM notifications n WHERE n.user_id = ?1) AS notifications
    FROM owners o JOIN reservations r ON r.reservation_id = o.subject
    LEFT JOIN charges c USING (reservation_id) LEFT JOIN bookings b USING (reservation_id)
    LEFT JOIN manifest_bookings m USING (booking_id)
    WHERE o.user_id = ?1
"""
_UNSETTLED = "SELECT 1 FROM calls JOIN keys USING (key) WHERE user_id = ? AND endpoint = ? AND status IS NULL"


@dataclass(frozen=True)
class Shop:
    """Services, and their workers on separate task queues, which book rides on one bus of their own."""

    client: Client
    services: ServicesUnderTest
    name: str = field(default_factory=lambda: uuid.uuid4().hex[:8])

    @property
    def task_queue(self) -> str:
        """Task queue of the booking worker."""
        return f"shop-{self.name}"

    @property
    def fleet_queue(self) -> str:
        """Task queue of the fleet worker."""
        return f"fleet-{self.name}"

    @property
    def bus(self) -> str:
        """The bus; no other shop has it."""
        return f"bus-{self.name}"

    async def set_timetable(self, bus: BusService, departs_in: timedelta, arrives_in: timedelta) -> None:
        """Set when a bus departs and arrives, from now."""
        now = datetime.now(UTC)
        times = {"departsAt": (now + departs_in).isoformat(), "arrivesAt": (now + arrives_in).isoformat()}
        path = f"/api/v1/timetables/{bus.bus_id}/{bus.service_date}"
        (await self.services.http.put(path, json=times)).raise_for_status()

    def rider(self) -> "Rider":
        """Return a new user."""
        return Rider(self, f"user-{uuid.uuid4().hex[:8]}")


@dataclass(frozen=True)
class Rider:
    """A user who makes one booking, and whose calls can fail."""

    shop: Shop
    user_id: str

    async def start(
        self,
        timings: ActivityTimings = QUICK,
        *,
        signal: str | None = None,
        execution_timeout: timedelta | None = None,
        service_date: str = "",
        workflow_id: str = "",
    ) -> Handle:
        """Start the booking."""
        return await self.shop.client.start_workflow(
            BookRideWorkflow.run,
            BookingRequest(self.user_id, self.shop.bus, "segment-3", FARE, timings, service_date),
            id=workflow_id or f"booking-{self.user_id}",
            task_queue=self.shop.task_queue,
            execution_timeout=execution_timeout,
            start_signal=signal,
            start_signal_args=["changed plans"] if signal else [],
        )

    @asynccontextmanager
    async def failing(self, endpoint: str, kind: str, **rule: float) -> AsyncIterator[None]:
        """Make the user's calls of an endpoint fail inside the context."""
        name = uuid.uuid4().hex
        await self.shop.services.put_fault(name, endpoint=endpoint, kind=kind, userPrefix=self.user_id, **rule)
        try:
            yield
        finally:
            await self.shop.services.delete_fault(name)

    @asynccontextmanager
    async def held_up(self, endpoint: str) -> AsyncIterator[None]:
        """Hold up the user's calls of an endpoint before their effect until the context ends."""
        async with self.failing(endpoint, "latency", seconds=600):
            yield

    async def called(self, endpoint: str) -> None:
        """Wait until an endpoint was called for the user."""
        await self.shop.services.called(endpoint, self.user_id)

    async def settled(self, endpoint: str) -> None:
        """Wait until every call of an endpoint for the user has taken effect, or was refused."""

        async def none_left() -> bool:
            return not self.shop.services.rows(_UNSETTLED, self.user_id, endpoint)

        await until(none_left, deadline=20, what=f"{endpoint} settled for {self.user_id}")

    async def calls(self) -> Counter[str]:
        """Return the number of the user's calls by endpoint."""
        return Counter(call["endpoint"] for call in await self.shop.services.calls(user=self.user_id))

    def record(self) -> Record:
        """Return what the services have on record."""
        (row,) = self.shop.services.rows(_RECORD, self.user_id)
        return Record(**{name: int(value) for name, value in row.items()})


@asynccontextmanager
async def open_shop(client: Client, directory: Path) -> AsyncIterator[Shop]:
    """Run a shop inside the context; its books are in *directory*."""
    async with running_services(directory) as services:
        shop = Shop(client, services)
        async with serving_fleet(shop), serving_bookings(shop):
            yield shop


@asynccontextmanager
async def serving_bookings(shop: Shop, drain: timedelta = timedelta()) -> AsyncIterator[None]:
    """Run a booking worker of a shop inside the context."""
    own, fleet = shop.task_queue, shop.fleet_queue
    async with (
        ServiceClient(shop.services.url) as services,
        booking_worker(shop.client, services, task_queue=own, fleet_queue=fleet, drain=drain),
    ):
        yield


@asynccontextmanager
async def serving_fleet(shop: Shop) -> AsyncIterator[None]:
    """Run a fleet worker of a shop inside the context."""
    async with (
        ServiceClient(shop.services.url) as services,
        fleet_worker(shop.client, services, task_queue=shop.fleet_queue),
    ):
        yield


async def ending(handle: Handle) -> tuple[str, BaseException | None]:
    """Wait until a run has closed; return its status in Temporal, lower case, and its failure."""
    failure: BaseException | None = None
    try:
        await handle.result()
    except WorkflowFailureError as error:
        failure = error.cause
    status = (await handle.describe()).status or WorkflowExecutionStatus.RUNNING
    return status.name.lower(), failure
