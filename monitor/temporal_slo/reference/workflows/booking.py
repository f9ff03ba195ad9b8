"""The booking workflow, a saga: reserve a seat, charge, confirm, add to the manifest, notify; or compensate."""

import asyncio
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final, Literal, TypeVar

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError, is_cancelled_exception

from temporal_slo.reference.workflows.failures import COMPENSATION_FAILED, reason
from temporal_slo.reference.workflows.timings import ActivityTimings

TASK_QUEUE: Final = "booking-tasks"
TEMPORAL_NAMESPACE: Final = "volteryde-dev"
EXECUTION_TIMEOUT: Final = timedelta(minutes=30)

RESERVE_SEAT: Final = "reserveSeat"
RELEASE_SEAT: Final = "releaseSeat"
PROCESS_PAYMENT: Final = "processPayment"
REFUND_PAYMENT: Final = "refundPayment"
CONFIRM_BOOKING: Final = "confirmBooking"
ASSIGN_TO_MANIFEST: Final = "assignToManifest"
SEND_BOOKING_CONFIRMATION: Final = "sendBookingConfirmation"
CANCEL_BOOKING: Final = "cancelBooking"

Status = Literal["CONFIRMED", "FAILED", "CANCELLED"]

T = TypeVar("T")


@dataclass(frozen=True)
class BookingRequest:
    """Input of the workflow.

    Attributes:
        user_id: User who books.
        bus_id: Bus to book.
        segment: Segment of the route.
        fare: Price of the ride.
        timings: Timeouts and retries. A field, because the SDK decodes an optional second argument only if it is given.
    """

    user_id: str
    bus_id: str
    segment: str
    fare: float
    timings: ActivityTimings = field(default_factory=ActivityTimings)


@dataclass(frozen=True)
class BookingResult:
    """Result of the workflow.

    Attributes:
        booking_id: Empty unless the booking is confirmed.
        status: `CANCELLED` if the user cancelled it, which is not a failure.
        error: Reason why it is not confirmed; None if it is.
    """

    booking_id: str
    status: Status
    error: str | None = None


@dataclass(frozen=True)
class SeatRequest:
    """Input of `reserveSeat`; `releaseSeat` and `refundPayment` take only the reservation ID."""

    reservation_id: str
    user_id: str
    bus_id: str
    segment: str


@dataclass(frozen=True)
class Seat:
    """A reserved seat."""

    reservation_id: str
    seat_number: str


@dataclass(frozen=True)
class PaymentRequest:
    """Input of `processPayment`; idempotent by reservation."""

    reservation_id: str
    user_id: str
    amount: float


@dataclass(frozen=True)
class Payment:
    """Result of `processPayment`: a charge or a decline. A failed call is an activity error instead."""

    success: bool
    transaction_id: str = ""
    error: str | None = None


@dataclass(frozen=True)
class ConfirmRequest:
    """Input of `confirmBooking`."""

    reservation_id: str
    payment_id: str


@dataclass(frozen=True)
class Booking:
    """A confirmed booking."""

    booking_id: str


@dataclass(frozen=True)
class ManifestEntry:
    """Input of `assignToManifest`."""

    bus_id: str
    booking_id: str


@dataclass(frozen=True)
class Notification:
    """Input of `sendBookingConfirmation`."""

    user_id: str
    booking_id: str


class _NotBookedError(Exception):
    """The booking was declined or cancelled; no activity failed."""

    def __init__(self, status: Status, reason: str) -> None:
        super().__init__(reason)
        self.status = status


@workflow.defn(name="BookRideWorkflow")
class BookRideWorkflow:
    """Books a ride, or compensates every step.

    A booking that fails or is cancelled by its user completes with that *result*, so the run is Completed in Temporal.
    The run is Canceled if its cancellation was requested in Temporal, and Failed only if a compensation failed.

    Each compensation is registered before its step, because a step that failed or timed out may have taken effect. The
    workflow therefore generates the reservation ID, and the services accept a compensation without its step, and
    refuse a step after its compensation.
    """

    def __init__(self) -> None:
        self._timings = ActivityTimings()
        self._cancel_reason: str | None = None
        self._compensations: list[str] = []
        self._reservation_id = ""

    @workflow.signal(name=CANCEL_BOOKING)
    def cancel_booking(self, reason: str) -> None:
        """Request cancellation: checked before the first step and after each step.

        Args:
            reason: Reason for the log and the result.
        """
        # Only stored: a signal may arrive in any workflow task, before the first step or during compensation.
        self._cancel_reason = reason

    @workflow.run
    async def run(self, request: BookingRequest) -> BookingResult:
        """Book the ride.

        Args:
            request: Ride to book, with timeouts and retries.
        """
        self._timings = request.timings
        self._reservation_id = f"{request.user_id}-{workflow.uuid4()}"
        try:
            return BookingResult(await self._book(request), "CONFIRMED")
        except (ActivityError, _NotBookedError, asyncio.CancelledError) as error:
            workflow.logger.info("compensating the booking: %s", reason(error))
            await self._compensate()
            if is_cancelled_exception(error):
                # Cancellation requested in Temporal: re-raised, so that the run is Canceled.
                raise
            return BookingResult("", _status(error), reason(error))

    async def _book(self, request: BookingRequest) -> str:
        self._check_cancellation()
        reservation_id = self._reservation_id
        self._compensations.append(RELEASE_SEAT)
        await self._step(
            RESERVE_SEAT, SeatRequest(reservation_id, request.user_id, request.bus_id, request.segment), Seat
        )
        payment = await self._pay(PaymentRequest(reservation_id, request.user_id, request.fare))
        confirmation = ConfirmRequest(reservation_id, payment.transaction_id)
        booking = await self._step(CONFIRM_BOOKING, confirmation, Booking)
        await self._step(ASSIGN_TO_MANIFEST, ManifestEntry(request.bus_id, booking.booking_id), type(None))
        # Last, so that no booking is announced and then compensated because the manifest failed.
        await self._notify(Notification(request.user_id, booking.booking_id))
        return booking.booking_id

    async def _pay(self, request: PaymentRequest) -> Payment:
        self._compensations.append(REFUND_PAYMENT)
        payment = await self._step(PROCESS_PAYMENT, request, Payment)
        if not payment.success:
            # A decline is final: nothing was charged.
            self._compensations.remove(REFUND_PAYMENT)
            raise _NotBookedError("FAILED", payment.error or "Payment failed")
        return payment

    async def _notify(self, notification: Notification) -> None:
        # Awaited, because completion of the run would drop it. A failed notification does not fail the booking.
        try:
            await self._call(SEND_BOOKING_CONFIRMATION, notification, type(None))
        except ActivityError as error:
            if is_cancelled_exception(error):
                raise
            workflow.logger.warning("booking confirmed, but the notification failed: %s", reason(error))
        self._check_cancellation()

    async def _step(self, activity: str, argument: object, result_type: type[T]) -> T:
        result = await self._call(activity, argument, result_type)
        self._check_cancellation()
        return result

    def _check_cancellation(self) -> None:
        if self._cancel_reason is not None:
            raise _NotBookedError("CANCELLED", f"Booking cancelled by user: {self._cancel_reason}")

    async def _compensate(self) -> None:
        """Run all compensations, even if the run is cancelled in Temporal meanwhile."""
        compensations = asyncio.create_task(self._run_compensations())
        try:
            await asyncio.shield(compensations)
        except asyncio.CancelledError:
            # Temporal cancels a run only once, so this second wait is not interrupted.
            await compensations
            raise

    async def _run_compensations(self) -> None:
        failed: dict[str, ActivityError] = {}
        for activity in reversed(self._compensations):
            try:
                await self._call(activity, self._reservation_id, type(None))
            except ActivityError as error:
                failed[activity] = error
        if failed:
            errors = "; ".join(f"{activity}: {reason(error)}" for activity, error in failed.items())
            raise ApplicationError(
                f"Reservation {self._reservation_id} was compensated only in part: {errors}",
                type=COMPENSATION_FAILED,
                non_retryable=True,
            ) from next(iter(failed.values()))

    async def _call(self, activity: str, argument: object, result_type: type[T]) -> T:
        result: T = await workflow.execute_activity(
            activity,
            argument,
            result_type=result_type,
            start_to_close_timeout=timedelta(seconds=self._timings.start_to_close),
            retry_policy=self._timings.retry_policy(),
        )
        return result


def _status(error: BaseException) -> Status:
    return error.status if isinstance(error, _NotBookedError) else "FAILED"
