"""Bookings: start one, report its status, cancel it."""

from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated, Final, Literal

from fastapi import APIRouter, Path, Response
from pydantic import Field

from temporal_slo.reference.api.temporal_service import Run, Start, TemporalService
from temporal_slo.reference.api.wire import LOCATION, REQUEST_ID, RequestId, ShortId, ShortText, digest, errors
from temporal_slo.reference.web.problems import ProblemError
from temporal_slo.reference.web.wire import Amount, Request, ServiceDate, Wire
from temporal_slo.reference.workflows.booking import (
    CANCEL_BOOKING,
    EXECUTION_TIMEOUT,
    TASK_QUEUE,
    BookingRequest,
    BookingResult,
)
from temporal_slo.reference.workflows.timings import ActivityTimings

PREFIX: Final = "/api/v1/bookings"
WORKFLOW: Final = "BookRideWorkflow"
USER_CANCELLED: Final = "User requested cancellation"

UNKNOWN: Final = "no such booking"
CLOSED: Final = "the booking is no longer running"
DEPARTED: Final = "serviceDate is in the past"

WorkflowId = Annotated[str, Path(alias="workflowId", pattern=f"^booking-{REQUEST_ID}$", examples=["booking-2f1c9a"])]
Status = Literal["RUNNING", "CONFIRMED", "FAILED", "CANCELLED", "TIMED_OUT", "TERMINATED"]

_UNSUCCESSFUL: Final[dict[str, Status]] = {
    "CANCELED": "CANCELLED",
    "TIMED_OUT": "TIMED_OUT",
    "TERMINATED": "TERMINATED",
}


class BookingBody(Request):
    """A ride to book."""

    request_id: RequestId
    user_id: Annotated[ShortId, Field(examples=["user-7"])]
    bus_id: Annotated[ShortId, Field(examples=["bus-3"])]
    segment: Annotated[ShortText, Field(max_length=128, examples=["lagos-ibadan"])]
    fare: Annotated[Amount, Field(examples=[250_000])]
    service_date: Annotated[
        ServiceDate | None,
        Field(description="Day of departure in UTC, not in the past (default: tomorrow)", examples=["2030-04-01"]),
    ] = None


class CancelBody(Request):
    """Why a booking is cancelled."""

    reason: Annotated[ShortText, Field(examples=["changed plans"])] = USER_CANCELLED


class BookingLinks(Wire):
    """Where to follow and to cancel the booking."""

    status: Annotated[str, Field(examples=["/api/v1/bookings/booking-2f1c9a/status"])]
    cancel: Annotated[str, Field(examples=["/api/v1/bookings/booking-2f1c9a/cancel"])]


class BookingAccepted(Wire):
    """The booking was started, now or by an earlier request with the same body."""

    workflow_id: Annotated[str, Field(examples=["booking-2f1c9a"])]
    status: Literal["ACCEPTED"] = "ACCEPTED"
    links: BookingLinks


class BookingStatus(Wire):
    """Status of a booking: `RUNNING` until its workflow has closed."""

    workflow_id: Annotated[str, Field(examples=["booking-2f1c9a"])]
    status: Annotated[Status, Field(examples=["CONFIRMED"])]
    booking_id: Annotated[str | None, Field(description="Set if confirmed", examples=["booking-4711"])] = None
    error: Annotated[str | None, Field(description="Why it is not confirmed", examples=["card declined"])] = None


class CancellationAccepted(Wire):
    """The cancellation was requested; the status shows whether it came before the confirmation."""

    workflow_id: Annotated[str, Field(examples=["booking-2f1c9a"])]
    message: Annotated[str, Field(examples=["cancellation requested"])] = "cancellation requested"


class BookingsController:
    """The routes of bookings.

    Args:
        temporal: Sends the requests to Temporal.
        timings: Timeouts and retries of the activities of a booking.
        task_queue: Task queue of the booking workers.
    """

    def __init__(
        self, temporal: TemporalService, timings: ActivityTimings | None = None, task_queue: str = TASK_QUEUE
    ) -> None:
        self._temporal = temporal
        self._timings = timings or ActivityTimings()
        self._task_queue = task_queue

    def routes(self) -> APIRouter:
        """Return the routes."""
        router = APIRouter(prefix=PREFIX, tags=["bookings"])
        router.add_api_route(
            "",
            self.create_booking,
            methods=["POST"],
            status_code=HTTPStatus.ACCEPTED,
            responses={202: LOCATION, **errors(409, 500, 503)},
        )
        router.add_api_route("/{workflowId}/status", self.get_booking_status, responses=errors(404, 500, 503))
        router.add_api_route(
            "/{workflowId}/cancel",
            self.cancel_booking,
            methods=["POST"],
            status_code=HTTPStatus.ACCEPTED,
            responses=errors(404, 409, 500, 503),
        )
        return router

    async def create_booking(self, body: BookingBody, response: Response) -> BookingAccepted:
        """Start a booking. A repeated request with the same body has no further effect."""
        # Refused before it starts: as a failed booking, the caller's mistake would count against the objective.
        if body.service_date and body.service_date < datetime.now(UTC).date().isoformat():
            raise ProblemError(HTTPStatus.CONFLICT, DEPARTED)
        start = self._start(body)
        await self._temporal.start_once(start)
        links = BookingLinks(
            status=f"{PREFIX}/{start.workflow_id}/status", cancel=f"{PREFIX}/{start.workflow_id}/cancel"
        )
        response.headers["Location"] = links.status
        return BookingAccepted(workflow_id=start.workflow_id, links=links)

    async def get_booking_status(self, workflow_id: WorkflowId) -> BookingStatus:
        """Return the status at once, also while the booking is running."""
        return _status(workflow_id, await self._run(workflow_id))

    async def cancel_booking(self, workflow_id: WorkflowId, body: CancelBody | None = None) -> CancellationAccepted:
        """Request the cancellation of a running booking, which then compensates all its steps."""
        reason = (body or CancelBody()).reason
        running = (await self._run(workflow_id)).status == "RUNNING"
        if not (running and await self._temporal.signal(workflow_id, CANCEL_BOOKING, reason)):
            raise ProblemError(HTTPStatus.CONFLICT, CLOSED)
        return CancellationAccepted(workflow_id=workflow_id)

    def _start(self, body: BookingBody) -> Start:
        ride = BookingRequest(
            body.user_id, body.bus_id, body.segment, body.fare, self._timings, body.service_date or ""
        )
        workflow_id = f"booking-{body.request_id}"
        return Start(WORKFLOW, ride, workflow_id, self._task_queue, digest(body), EXECUTION_TIMEOUT)

    async def _run(self, workflow_id: str) -> Run:
        run = await self._temporal.run(WORKFLOW, workflow_id, BookingResult)
        if run is None:
            raise ProblemError(HTTPStatus.NOT_FOUND, UNKNOWN)
        return run


def _status(workflow_id: str, run: Run) -> BookingStatus:
    if run.status == "RUNNING":
        return BookingStatus(workflow_id=workflow_id, status="RUNNING")
    if isinstance(run.result, BookingResult):
        result = run.result
        return BookingStatus(
            workflow_id=workflow_id, status=result.status, booking_id=result.booking_id or None, error=result.error
        )
    return BookingStatus(workflow_id=workflow_id, status=_UNSUCCESSFUL.get(run.status, "FAILED"), error=run.error)
