"""A fleet worker over the services, and the bus services of tests."""

import os
import sys
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from temporalio.api.enums.v1 import EventType
from temporalio.client import Client, WorkflowHandle, WorkflowHistory, WorkflowUpdateFailedError
from temporalio.exceptions import ApplicationError

from temporal_slo.reference.activities.fleet import start_bus_service, start_operation
from temporal_slo.reference.activities.service_client import ServiceClient
from temporal_slo.reference.workers.fleet import fleet_worker
from temporal_slo.reference.workflows.fleet import (
    ADD_BOOKING,
    ADD_TO_MANIFEST,
    MANIFEST_BUSY,
    Boarding,
    BusService,
    BusServiceRequest,
    BusServiceResult,
    BusServiceWorkflow,
    Manifest,
    Tracking,
    bus_service_id,
)
from temporal_slo.reference.workflows.timings import ActivityTimings
from temporal_slo.servers.process import Child, until
from tests.conftest import Temporal

from .services_process import ServicesUnderTest, running_services

QUICK = ActivityTimings(start_to_close=20, retry_initial=0.05, retry_maximum=0.1, max_attempts=2)
TRACKING = Tracking(segment=0.3, interval=0.05, heartbeat_timeout=5)
OPEN, ADD, SEAL, POSITION = "manifests/open", "manifests/add-booking", "manifests/seal", "buses/position"
SEALED = "SELECT 1 FROM manifests WHERE bus_id = ? AND sealed"
HOUR = 3600.0
DEADLINE = 20.0

Handle = WorkflowHandle[BusServiceWorkflow, BusServiceResult]


@dataclass(frozen=True)
class Depot:
    """Services, and the task queue of their fleet worker."""

    client: Client
    services: ServicesUnderTest
    task_queue: str = field(default_factory=lambda: f"depot-{uuid.uuid4().hex[:8]}")

    async def bus(
        self,
        departs_in: float = HOUR,
        travels: float = HOUR,
        *,
        tracking: Tracking = TRACKING,
        max_events: int = 400,
    ) -> "Bus":
        """Return a bus with a timetable, not started; times in seconds."""
        departs = datetime.now(UTC) + timedelta(seconds=departs_in)
        service = BusService(f"bus-{uuid.uuid4().hex[:8]}", "2031-05-06")
        bus = Bus(self, BusServiceRequest(service, QUICK, tracking, max_events), departs)
        await bus.set_timetable(departs + timedelta(seconds=travels))
        return bus

    @asynccontextmanager
    async def failing(self, endpoint: str, kind: str, **rule: float) -> AsyncIterator[None]:
        """Make all calls of an endpoint fail inside the context."""
        name = uuid.uuid4().hex
        await self.services.put_fault(name, endpoint=endpoint, kind=kind, **rule)
        try:
            yield
        finally:
            await self.services.delete_fault(name)


@dataclass(frozen=True)
class Bus:
    """A bus service of a depot."""

    depot: Depot
    request: BusServiceRequest
    departs: datetime

    @property
    def handle(self) -> Handle:
        """The handle of its current run."""
        return self.depot.client.get_workflow_handle_for(BusServiceWorkflow.run, bus_service_id(self.request.bus))

    async def set_timetable(self, arrives: datetime) -> None:
        """Set when it arrives."""
        service = self.request.bus
        path = f"/api/v1/timetables/{service.bus_id}/{service.service_date}"
        timetable = {"departsAt": self.departs.isoformat(), "arrivesAt": arrives.isoformat()}
        (await self.depot.services.http.put(path, json=timetable)).raise_for_status()

    async def arrive(self) -> None:
        """Let it arrive now."""
        await self.set_timetable(datetime.now(UTC))
        await self.handle.result()

    async def start(self) -> Handle:
        """Start it."""
        await start_bus_service(self.depot.client, self.request, self.depot.task_queue)
        return self.handle

    async def add(self, booking_id: str, update_id: str | None = None) -> Boarding:
        """Add a booking with an update that starts the bus service if need be, as `assignToManifest` does.

        Args:
            booking_id: The booking.
            update_id: The booking by default.
        """
        boarding: Boarding = await self.depot.client.execute_update_with_start_workflow(
            ADD_BOOKING,
            booking_id,
            start_workflow_operation=start_operation(self.request, self.depot.task_queue),
            id=update_id or booking_id,
            result_type=Boarding,
        )
        return boarding

    async def add_patiently(self, booking_id: str) -> Boarding:
        """Add a booking, and retry while the bus says that it is busy."""

        async def added() -> Boarding | None:
            try:
                return await self.add(booking_id)
            except WorkflowUpdateFailedError as error:
                if failure(error).type != MANIFEST_BUSY:
                    raise
                return None

        return await until(added, deadline=DEADLINE, what=f"{booking_id} added")

    async def refusal(self, booking_id: str, update_id: str | None = None) -> ApplicationError:
        """Add a booking that is refused, and return why."""
        try:
            await self.add(booking_id, update_id)
        except WorkflowUpdateFailedError as error:
            return failure(error)
        raise AssertionError(f"{booking_id} was not refused")

    async def manifest(self) -> Manifest:
        """Return the answer to the query."""
        return await self.handle.query(BusServiceWorkflow.manifest)

    async def sealed(self) -> None:
        """Wait until the bus takes no more bookings."""

        async def is_sealed() -> bool:
            return (await self.manifest()).sealed

        await until(is_sealed, deadline=DEADLINE, what="the manifest is sealed")

    async def closed_books(self) -> None:
        """Wait until the fleet service has sealed the manifest."""

        async def is_sealed() -> bool:
            return bool(self.depot.services.rows(SEALED, self.request.bus.bus_id))

        await until(is_sealed, deadline=DEADLINE, what="the fleet service has sealed the manifest")

    def recorded(self) -> list[str]:
        """Return the bookings that the fleet service has on record, in their order."""
        query = "SELECT booking_id FROM manifest_bookings WHERE bus_id = ? ORDER BY seq"
        return [row["booking_id"] for row in self.depot.services.rows(query, self.request.bus.bus_id)]

    async def runs(self) -> list[WorkflowHandle[Any, Any]]:
        """Return the handles of all runs so far, from the last to the first."""
        found: list[WorkflowHandle[Any, Any]] = []
        run_id = (await self.handle.describe()).run_id
        while run_id:
            found.append(self.depot.client.get_workflow_handle(self.handle.id, run_id=run_id))
            started = (await found[-1].fetch_history()).events[0].workflow_execution_started_event_attributes
            run_id = started.continued_execution_run_id
        return found

    async def histories(self) -> list[WorkflowHistory]:
        """Return the histories of all runs so far, from the last to the first."""
        return [await run.fetch_history() for run in await self.runs()]

    async def recordings(self) -> int:
        """Return how many times a booking was recorded, over all runs."""
        return sum(scheduled(history).count(ADD_TO_MANIFEST) for history in await self.histories())


@asynccontextmanager
async def open_depot(client: Client, directory: Path, task_queue: str | None = None) -> AsyncIterator[Depot]:
    """Run a depot inside the context; its books are in *directory*."""
    async with running_services(directory) as services:
        depot = Depot(client, services, task_queue) if task_queue else Depot(client, services)
        async with serving(depot):
            yield depot


@asynccontextmanager
async def serving(depot: Depot) -> AsyncIterator[None]:
    """Run a fleet worker of a depot inside the context."""
    async with (
        ServiceClient(depot.services.url) as services,
        fleet_worker(depot.client, services, task_queue=depot.task_queue),
    ):
        yield


def worker_process(temporal: Temporal, depot: Depot, directory: Path) -> Child:
    """Run `temporal-slo worker fleet` as a child process."""
    connection = ["--temporal-address", temporal.address, "--temporal-namespace", depot.client.namespace]
    command = [sys.executable, "-m", "temporal_slo", "worker", "fleet", *connection, "--services", depot.services.url]
    return Child("worker", command, directory / "worker.log", dict(os.environ))


def failure(error: WorkflowUpdateFailedError) -> ApplicationError:
    """Return the failure of an update."""
    assert isinstance(error.cause, ApplicationError)
    return error.cause


def scheduled(history: WorkflowHistory) -> list[str]:
    """Return the activities of a history, in their order."""
    return [
        event.activity_task_scheduled_event_attributes.activity_type.name
        for event in history.events
        if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED
    ]
