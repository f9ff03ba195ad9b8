"""The bus service, one workflow per bus and date: take bookings, seal the manifest, track the bus until it arrives."""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final, Literal, NoReturn, TypeVar

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError, is_cancelled_exception

from temporal_slo.reference.workflows.failures import reason
from temporal_slo.reference.workflows.timings import ActivityTimings

TASK_QUEUE: Final = "fleet-tasks"

OPEN_MANIFEST: Final = "openManifest"
ADD_TO_MANIFEST: Final = "addToManifest"
SEAL_MANIFEST: Final = "sealManifest"
TRACK_POSITION: Final = "trackPosition"
ADD_BOOKING: Final = "addBooking"
MANIFEST: Final = "manifest"

MANIFEST_SEALED: Final = "ManifestSealed"
"""Failure type of a booking that comes after the manifest was sealed: final."""
MANIFEST_BUSY: Final = "ManifestBusy"
"""Failure type of a booking that comes while a long history waits to be continued as new: retry it."""

MAX_EVENTS: Final = 2000

T = TypeVar("T")


@dataclass(frozen=True)
class BusService:
    """A bus on a service date.

    Attributes:
        bus_id: The bus.
        service_date: Its date in UTC, as `YYYY-MM-DD`.
    """

    bus_id: str
    service_date: str


@dataclass(frozen=True)
class Tracking:
    """How a bus is tracked.

    Attributes:
        segment: Seconds after which `trackPosition` returns, even if the bus has not arrived. A short segment makes the
            history longer, and with it continue-as-new more frequent.
        interval: Seconds between two readings of the position.
        heartbeat_timeout: Seconds without a heartbeat after which another attempt continues.
    """

    segment: float = 3600.0
    interval: float = 10.0
    heartbeat_timeout: float = 30.0


@dataclass(frozen=True)
class Timetable:
    """Departure and arrival of a bus service.

    As RFC 3339 strings: inside the workflow sandbox, the payload converter does not recognise `datetime`.
    """

    departs_at: str
    arrives_at: str


@dataclass
class Manifest:
    """The state of a bus service: answers the query, and is carried along by continue-as-new.

    Attributes:
        timetable: None until the manifest is opened.
        sealed: Whether the bus takes no more bookings.
        bookings: IDs of the bookings; once sealed, exactly those that the fleet service has sealed.
        progress: Travelled part of the route, from 0 to 1.
    """

    timetable: Timetable | None = None
    sealed: bool = False
    bookings: list[str] = field(default_factory=list)
    progress: float = 0.0


@dataclass(frozen=True)
class BusServiceRequest:
    """Input of the workflow of a bus service.

    Attributes:
        bus: Bus and service date.
        timings: Timeouts and retries of the activities. Only the recording of a booking has a limit of attempts.
        tracking: How the bus is tracked.
        max_events: Maximum length of a run's history, in events. The server allows ten concurrent updates, which
            need up to 100 events to finish: allow at least 400.
        manifest: State of the previous run, if this one continues it.
    """

    bus: BusService
    timings: ActivityTimings = field(default_factory=ActivityTimings)
    tracking: Tracking = field(default_factory=Tracking)
    max_events: int = MAX_EVENTS
    manifest: Manifest = field(default_factory=Manifest)


@dataclass(frozen=True)
class BusServiceResult:
    """Result of a bus service; a bus that has not arrived has none."""

    status: Literal["ARRIVED"]
    passengers: int


@dataclass(frozen=True)
class Boarding:
    """Answer to `addBooking`: the same however often the booking is added."""

    booking_id: str
    departs_at: str


@dataclass(frozen=True)
class OpenedManifest:
    """Result of `openManifest`."""

    departs_at: str
    arrives_at: str
    sealed: bool


@dataclass(frozen=True)
class BookingOnBus:
    """Input of `addToManifest`."""

    bus: BusService
    booking_id: str


@dataclass(frozen=True)
class TrackRequest:
    """Input of `trackPosition`."""

    bus: BusService
    tracking: Tracking


@dataclass(frozen=True)
class Position:
    """Result of `trackPosition`."""

    progress: float
    arrived: bool


def bus_service_id(bus: BusService) -> str:
    """Return the workflow ID of a bus service."""
    return f"bus-{bus.bus_id}-{bus.service_date}"


@workflow.defn(name="BusServiceWorkflow")
class BusServiceWorkflow:
    """A bus service: opens the manifest, takes bookings until departure, seals the manifest, tracks the bus to arrival.

    A booking is either on the sealed manifest or refused: after departure no booking is accepted, and the manifest is
    sealed only when all accepted ones have been recorded.

    A bus that does not arrive has an open run, however long it takes: that is how it becomes overdue.
    """

    @workflow.init
    def __init__(self, request: BusServiceRequest) -> None:
        # Here and not in `run`, because an update may be validated before `run` starts.
        self._request = request
        # A copy, because `run` looks at what the previous run has carried over.
        self._manifest = replace(request.manifest, bookings=list(request.manifest.bookings))
        self._recording: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    @workflow.run
    async def run(self, request: BusServiceRequest) -> BusServiceResult:
        """Run the bus service.

        Args:
            request: Bus and service date, with timeouts and retries.
        """
        timetable = request.manifest.timetable or await self._open()
        if not request.manifest.sealed:
            await self._take_bookings(timetable.departs_at)
            await self._seal()
        await self._track()
        await workflow.wait_condition(workflow.all_handlers_finished)
        return BusServiceResult("ARRIVED", len(self._manifest.bookings))

    @workflow.query(name=MANIFEST)
    def manifest(self) -> Manifest:
        """Return the state of the bus service."""
        return self._manifest

    @workflow.update(name=ADD_BOOKING)
    async def add_booking(self, booking_id: str) -> Boarding:
        """Put a booking on the manifest; adding it again has no effect, also under another update ID.

        Args:
            booking_id: The booking.

        Raises:
            ApplicationError: `ManifestSealed` if the bus takes no more bookings; `ManifestBusy` if the booking should
                be retried; else the failure type of `addToManifest`.
        """
        await workflow.wait_condition(lambda: self._manifest.timetable is not None)
        # One at a time per booking, so that it is recorded once.
        async with self._recording[booking_id]:
            if booking_id not in self._manifest.bookings:
                await self._record(booking_id)
        assert self._manifest.timetable  # noqa: S101 waited for above
        return Boarding(booking_id, self._manifest.timetable.departs_at)

    @add_booking.validator
    def validate_booking(self, booking_id: str) -> None:
        """Refuse a new booking if the manifest is sealed or about to be continued as new."""
        if booking_id in self._manifest.bookings:
            return
        self._check_sealed(booking_id)
        # The last quarter of the history is left to the bookings that are being recorded.
        if workflow.info().get_current_history_length() >= self._request.max_events * 3 // 4:
            raise ApplicationError(f"{self._name} is being continued as new: retry {booking_id}", type=MANIFEST_BUSY)

    @property
    def _name(self) -> str:
        return f"bus {self._request.bus.bus_id} of {self._request.bus.service_date}"

    def _check_sealed(self, booking_id: str) -> None:
        if self._manifest.sealed:
            raise ApplicationError(
                f"the manifest of {self._name} is sealed: {booking_id} is refused",
                type=MANIFEST_SEALED,
                non_retryable=True,
            )

    async def _record(self, booking_id: str) -> None:
        # Again, because the bus may have departed while this update was waiting.
        self._check_sealed(booking_id)
        try:
            booking = BookingOnBus(self._request.bus, booking_id)
            await call(ADD_TO_MANIFEST, [booking], type(None), self._request.timings)
        except ActivityError as error:
            if is_cancelled_exception(error):
                raise
            raise ApplicationError(reason(error), type=_failure_type(error), non_retryable=True) from error
        self._manifest.bookings.append(booking_id)

    async def _open(self) -> Timetable:
        opened = await call(OPEN_MANIFEST, [self._request.bus], OpenedManifest, self._patient)
        self._manifest.timetable = Timetable(opened.departs_at, opened.arrives_at)
        self._manifest.sealed = opened.sealed
        return self._manifest.timetable

    async def _take_bookings(self, departs_at: str) -> None:
        left = datetime.fromisoformat(departs_at) - workflow.now()
        if self._manifest.sealed or left <= timedelta():
            return
        try:
            await workflow.wait_condition(self._should_continue_as_new, timeout=left)
        except TimeoutError:
            return
        self._continue_as_new()

    async def _seal(self) -> None:
        self._manifest.sealed = True
        await workflow.wait_condition(workflow.all_handlers_finished)
        self._manifest.bookings = await call(SEAL_MANIFEST, [self._request.bus], list[str], self._patient)

    async def _track(self) -> None:
        tracking = self._request.tracking
        request = TrackRequest(self._request.bus, tracking)
        timings = replace(self._patient, start_to_close=tracking.segment + self._patient.start_to_close)
        while True:
            position = await call(TRACK_POSITION, [request], Position, timings, tracking.heartbeat_timeout)
            self._manifest.progress = position.progress
            if position.arrived:
                return
            if self._should_continue_as_new():
                self._continue_as_new()

    def _should_continue_as_new(self) -> bool:
        """Return whether the history is long, and no update is in progress that continue-as-new would abort."""
        info = workflow.info()
        long = info.get_current_history_length() >= self._request.max_events // 2
        return (long or info.is_continue_as_new_suggested()) and workflow.all_handlers_finished()

    def _continue_as_new(self) -> NoReturn:
        workflow.continue_as_new(replace(self._request, manifest=self._manifest))

    @property
    def _patient(self) -> ActivityTimings:
        """Timings of the steps of the bus itself, which nothing can compensate: retried until they succeed."""
        return replace(self._request.timings, max_attempts=0)


async def call(
    activity: str,
    arguments: Sequence[object],
    result_type: type[T],
    timings: ActivityTimings,
    heartbeat_timeout: float | None = None,
) -> T:
    """Execute an activity and return its result.

    Args:
        activity: Name of the activity.
        arguments: Its arguments.
        result_type: Type of its result.
        timings: Timeouts and retries.
        heartbeat_timeout: Heartbeat timeout in seconds; None for an activity without heartbeats.
    """
    result: T = await workflow.execute_activity(
        activity,
        args=arguments,
        result_type=result_type,
        start_to_close_timeout=timedelta(seconds=timings.start_to_close),
        heartbeat_timeout=None if heartbeat_timeout is None else timedelta(seconds=heartbeat_timeout),
        retry_policy=timings.retry_policy(),
    )
    return result


def _failure_type(error: ActivityError) -> str | None:
    return error.cause.type if isinstance(error.cause, ApplicationError) else None
