"""Bus services of the load: a timetable of seconds, a few bookings, arrival."""

import asyncio
import logging
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from temporalio.client import Client, WorkflowHandle
from temporalio.common import WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError

from temporal_slo.reference.load.calls import Http, RefusedError, send_update
from temporal_slo.reference.load.model import Load, Start, Step
from temporal_slo.reference.load.outcomes import Outcome
from temporal_slo.reference.workflows.fleet import (
    ADD_BOOKING,
    TASK_QUEUE,
    BusService,
    BusServiceRequest,
    BusServiceWorkflow,
    Tracking,
    bus_service_id,
)

TRIP: Final = timedelta(seconds=2)
NEVER: Final = timedelta(days=1)
"""Duration of the trip of a bus that gets stuck: longer than its execution timeout."""
PASSENGERS: Final = 3
TRACKING: Final = Tracking(segment=3, interval=0.5)
SERVICE_DATE: Final = "2000-01-01"
"""Service date of the buses of the load; each bus is used once, so that the date need not change."""

_log = logging.getLogger(__name__)


class Buses:
    """Starts bus services, and puts bookings on their manifests.

    Args:
        client: Client of their namespace.
        load: The load.
        services: The services.
    """

    def __init__(self, client: Client, load: Load, services: Http) -> None:
        self._client = client
        self._load = load
        self._services = services

    @staticmethod
    def workflow_id(user_id: str) -> str:
        """Return the ID of the bus service."""
        return bus_service_id(_service(user_id))

    async def start(self, start: Start) -> None:
        """Set the timetable and start the bus service, unless an earlier call whose response was lost did."""
        bus = _service(start.user_id)
        departure = datetime.now(UTC) + self._load.boarding
        trip = NEVER if start.outcome is Outcome.BUS_STUCK else TRIP
        times = {"departsAt": _text(departure), "arrivesAt": _text(departure + trip)}
        await self._services.send("PUT", f"/api/v1/timetables/{bus.bus_id}/{bus.service_date}", times)
        try:
            await self._client.start_workflow(
                BusServiceWorkflow.run,
                BusServiceRequest(bus, self._load.timings, TRACKING),
                id=start.workflow_id,
                task_queue=TASK_QUEUE,
                execution_timeout=self._load.execution_timeout,
                id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
            )
        except WorkflowAlreadyStartedError:
            _log.debug("%s was already started by a call whose response was lost", start.workflow_id)

    def follow_ups(self, start: Start) -> list[Step]:
        """Return the bookings that are put on the manifest."""
        return [lambda: self._board(start)]

    async def _board(self, start: Start) -> None:
        handle = self._client.get_workflow_handle(start.workflow_id)
        await asyncio.gather(*(_add(handle, f"{start.user_id}-{number}") for number in range(PASSENGERS)))


async def _add(handle: WorkflowHandle[Any, Any], booking_id: str) -> None:
    try:
        await send_update(handle, ADD_BOOKING, booking_id, booking_id)
    except RefusedError as error:
        # The bus departs in time, with or without its passengers.
        _log.info("%s is left behind: %s", booking_id, error)


def _service(user_id: str) -> BusService:
    return BusService(user_id, SERVICE_DATE)


def _text(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds")
