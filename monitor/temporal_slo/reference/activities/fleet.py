"""Activities of the fleet: manifests, positions of buses, and the start of bus services."""

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import quote

from temporalio import activity
from temporalio.client import Client, WithStartWorkflowOperation
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError

from temporal_slo.reference.activities.service_client import ServiceClient
from temporal_slo.reference.workflows.fleet import (
    ADD_TO_MANIFEST,
    OPEN_MANIFEST,
    SEAL_MANIFEST,
    TASK_QUEUE,
    TRACK_POSITION,
    BookingOnBus,
    BusService,
    BusServiceRequest,
    BusServiceResult,
    BusServiceWorkflow,
    OpenedManifest,
    Position,
    TrackRequest,
    bus_service_id,
)
from temporal_slo.reference.workflows.schedules import LIST_BUSES, START_BUS_SERVICE

REUSE: Final = WorkflowIDReusePolicy.ALLOW_DUPLICATE_FAILED_ONLY
"""A bus that has arrived does not depart again on the same date; one that failed may be started again."""


def start_operation(
    request: BusServiceRequest, task_queue: str = TASK_QUEUE
) -> WithStartWorkflowOperation[BusServiceWorkflow, BusServiceResult]:
    """Return the start of a bus service for an update-with-start: starts it only if it is not running.

    Args:
        request: The bus service; its parameters apply only if this starts it.
        task_queue: Task queue of the fleet worker.
    """
    return WithStartWorkflowOperation(
        BusServiceWorkflow.run,
        request,
        id=bus_service_id(request.bus),
        task_queue=task_queue,
        id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        id_reuse_policy=REUSE,
    )


@dataclass(frozen=True)
class Track:
    """Heartbeat details of `trackPosition`: what the next attempt resumes from.

    Attributes:
        until: When the segment ends, in seconds since the epoch; the attempts share it.
        readings: Positions that were read in this segment, by all attempts.
        progress: Progress that was read last, from 0 to 1.
    """

    until: float
    readings: int = 0
    progress: float = 0.0


class FleetActivities:
    """The activities of the fleet worker.

    Args:
        services: Client of the services.
    """

    def __init__(self, services: ServiceClient) -> None:
        self._services = services

    @activity.defn(name=OPEN_MANIFEST)
    async def open_manifest(self, bus: BusService) -> OpenedManifest:
        """Open the manifest of a bus service."""
        opened = await self._services.post("/api/v1/manifests/open", _body(bus))
        return OpenedManifest(opened["departsAt"], opened["arrivesAt"], opened["sealed"])

    @activity.defn(name=ADD_TO_MANIFEST)
    async def add_to_manifest(self, booking: BookingOnBus) -> None:
        """Add a booking to the manifest."""
        await self._services.post(
            "/api/v1/manifests/add-booking", _body(booking.bus) | {"bookingId": booking.booking_id}
        )

    @activity.defn(name=SEAL_MANIFEST)
    async def seal_manifest(self, bus: BusService) -> list[str]:
        """Seal the manifest, and return the IDs of its bookings."""
        sealed = await self._services.post("/api/v1/manifests/seal", _body(bus))
        return list(sealed["bookings"])

    @activity.defn(name=TRACK_POSITION)
    async def track_position(self, request: TrackRequest) -> Position:
        """Read the position until the bus arrives or the segment ends.

        A segment ends early if the worker stops. If the worker is killed, the next attempt resumes the segment.
        """
        track = _heartbeat_details() or Track(time.time() + request.tracking.segment)
        while True:
            position = await self._position(request.bus)
            track = replace(track, readings=track.readings + 1, progress=position.progress)
            activity.heartbeat(track)
            if position.arrived or time.time() >= track.until or activity.is_worker_shutdown():
                return position
            with suppress(TimeoutError):
                async with asyncio.timeout(request.tracking.interval):
                    await activity.wait_for_worker_shutdown()

    @activity.defn(name=LIST_BUSES)
    async def list_buses(self) -> list[str]:
        """Return the IDs of all buses."""
        return list((await self._services.get("/api/v1/buses"))["buses"])

    @activity.defn(name=START_BUS_SERVICE)
    async def start_bus_service(self, request: BusServiceRequest) -> None:
        """Start a bus service on the task queue of this worker; one that runs or has arrived is left as it is."""
        await start_bus_service(activity.client(), request, activity.info().task_queue)

    async def _position(self, bus: BusService) -> Position:
        path = f"/api/v1/buses/{quote(bus.bus_id, safe='')}/position?serviceDate={quote(bus.service_date, safe='')}"
        position = await self._services.get(path)
        return Position(position["progress"], position["arrived"])


async def start_bus_service(client: Client, request: BusServiceRequest, task_queue: str = TASK_QUEUE) -> None:
    """Start a bus service unless it is running or has arrived.

    Args:
        client: Client of the worker's namespace.
        request: The bus service.
        task_queue: Task queue of the fleet worker.
    """
    try:
        await client.start_workflow(
            BusServiceWorkflow.run,
            request,
            id=bus_service_id(request.bus),
            task_queue=task_queue,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            id_reuse_policy=REUSE,
        )
    except WorkflowAlreadyStartedError:
        activity.logger.info("bus %s has arrived already on %s", request.bus.bus_id, request.bus.service_date)


def _body(bus: BusService) -> dict[str, object]:
    return {"busId": bus.bus_id, "serviceDate": bus.service_date}


def _heartbeat_details() -> Track | None:
    """What the previous attempt reported with its last heartbeat; None in the first."""
    details = activity.info().heartbeat_details
    return Track(**details[0]) if details else None
