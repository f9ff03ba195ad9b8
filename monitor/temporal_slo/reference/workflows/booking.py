"""The booking workflow, a saga: reserve a seat, charge, confirm, add to the manifest, notify; or compensate."""

import asyncio
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final, Literal, TypeVar

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError, is_cancelled_exception

from temporal_slo.reference.workflows.booking_steps import (
    ASSIGN_TO_MANIFEST,
    CONFIRM_BOOKING,
    PROCESS_PAYMENT,
    REFUND_PAYMENT,
    RELEASE_SEAT,
    RESERVE_SEAT,
    SEND_BOOKING_CONFIRMATION,
    Booking,
    ConfirmRequest,
    ManifestEntry,
    Notification,
    Payment,
    PaymentRequest,
    Seat,
    SeatRequest,
)
from temporal_slo.reference.workflows.failures import COMPENSATION_FAILED, reason
from temporal_slo.reference.workflows.timings import ActivityTimings

TASK_QUEUE: Final = "booking-tasks"
TEMPORAL_NAMESPACE: Final = "volteryde-dev"
EXECUTION_TIMEOUT: Final = timedelta(minutes=30)
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
        fare: Price of the ride, in kobo.
        timings: Timeouts and retries. A field, because the SDK decodes an optional second argument only if it is given.
        service_date: Day on which the bus departs, as `YYYY-MM-DD`; empty for the day after the booking.
    """

    user_id: str
    bus_id: str
    segment: str
    fare: int
    timings: ActivityTimings = field(default_factory=ActivityTimings)
    service_date: str = ""


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
        service_date = request.service_date or _tomorrow()
        try:
            self._check_cancellation()
            await self._reserve_seat(request)
            payment = await self._process_payment(request)
            booking = await self._confirm_booking(payment)
            await self._assign_to_manifest(ManifestEntry(request.bus_id, service_date, booking.booking_id))
            # Last, so that no booking is announced and then compensated because the manifest failed.
            await self._send_confirmation(Notification(request.user_id, booking.booking_id))
        except (ActivityError, _NotBookedError, asyncio.CancelledError) as error:
            workflow.logger.info("compensating the booking: %s", reason(error))
            await self._compensate()
            if is_cancelled_exception(error):
                # Cancellation requested in Temporal: re-raised, so that the run is Canceled.
                raise
            return BookingResult("", _status(error), reason(error))
        return BookingResult(booking.booking_id, "CONFIRMED")

    async def _reserve_seat(self, request: BookingRequest) -> None:
        self._compensations.append(RELEASE_SEAT)
        seat = SeatRequest(self._reservation_id, request.user_id, request.bus_id, request.segment)
        await self._step(RESERVE_SEAT, seat, Seat)

    async def _process_payment(self, request: BookingRequest) -> Payment:
        self._compensations.append(REFUND_PAYMENT)
        charge = PaymentRequest(self._reservation_id, request.user_id, request.fare)
        payment = await self._step(PROCESS_PAYMENT, charge, Payment)
        if not payment.success:
            # A decline is final: nothing was charged.
            self._compensations.remove(REFUND_PAYMENT)
            raise _NotBookedError("FAILED", payment.error or "Payment failed")
        return payment

    async def _confirm_booking(self, payment: Payment) -> Booking:
        return await self._step(CONFIRM_BOOKING, ConfirmRequest(self._reservation_id, payment.transaction_id), Booking)

    async def _assign_to_manifest(self, entry: ManifestEntry) -> None:
        # Without a compensation of its own: releasing the seat removes the booking from the manifest.
        await self._step(ASSIGN_TO_MANIFEST, entry, type(None))

    async def _send_confirmation(self, notification: Notification) -> None:
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


def _tomorrow() -> str:
    return (workflow.now() + timedelta(days=1)).date().isoformat()


def _status(error: BaseException) -> Status:
    return error.status if isinstance(error, _NotBookedError) else "FAILED"
