"""The booking workflow: reserve a seat, take the payment, confirm, put it on the manifest, notify; or undo it all."""

import asyncio
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final, Literal, TypeVar

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError, FailureError, is_cancelled_exception

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

COMPENSATION_FAILED: Final = "CompensationFailed"
"""Failure type of a booking that could be undone only in part: somebody has to look."""

Status = Literal["CONFIRMED", "FAILED", "CANCELLED"]

T = TypeVar("T")


@dataclass(frozen=True)
class BookingTimings:
    """How long activities may take and how they are retried.

    Part of the workflow's input, so it stands in the history and a replay finds the same. In seconds, because the
    default payload converter refuses `timedelta`.

    Attributes:
        start_to_close: Seconds that one attempt may take.
        retry_initial: Seconds before the first retry.
        retry_maximum: Seconds between two retries at most.
        retry_backoff: Factor from one interval to the next.
        max_attempts: Attempts in all; 0 for no limit.
    """

    start_to_close: float = 60.0
    retry_initial: float = 1.0
    retry_maximum: float = 30.0
    retry_backoff: float = 2.0
    max_attempts: int = 5

    def retry_policy(self) -> RetryPolicy:
        """Return the retry policy of every activity."""
        return RetryPolicy(
            initial_interval=timedelta(seconds=self.retry_initial),
            maximum_interval=timedelta(seconds=self.retry_maximum),
            backoff_coefficient=self.retry_backoff,
            maximum_attempts=self.max_attempts,
        )


@dataclass(frozen=True)
class BookingRequest:
    """What a user wants to book: the workflow's one argument.

    Attributes:
        user_id: Who books.
        bus_id: The bus.
        segment: The part of its route.
        fare: The price.
        timings: How patiently. A field, as the SDK decodes an optional second argument only if it is given.
    """

    user_id: str
    bus_id: str
    segment: str
    fare: float
    timings: BookingTimings = field(default_factory=BookingTimings)


@dataclass(frozen=True)
class BookingResult:
    """How a booking ended.

    Attributes:
        booking_id: Empty unless it is confirmed.
        status: `CANCELLED` if the user no longer wanted it, which is nobody's failure.
        error: Why it is not confirmed; None if it is.
    """

    booking_id: str
    status: Status
    error: str | None = None


@dataclass(frozen=True)
class SeatRequest:
    """Input of `reserveSeat`; `releaseSeat` and `refundPayment` take the reservation id alone."""

    reservation_id: str
    user_id: str
    bus_id: str
    segment: str


@dataclass(frozen=True)
class Seat:
    """A seat that is held."""

    reservation_id: str
    seat_number: str


@dataclass(frozen=True)
class PaymentRequest:
    """Input of `processPayment`; charged once per reservation, however often it is asked."""

    reservation_id: str
    user_id: str
    amount: float


@dataclass(frozen=True)
class Payment:
    """The payment service's answer: a charge or a refusal. That it did not answer is an error, never this."""

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
    """The booking ends without being confirmed, and no activity failed."""

    def __init__(self, status: Status, reason: str) -> None:
        super().__init__(reason)
        self.status = status


@workflow.defn(name="BookRideWorkflow")
class BookRideWorkflow:
    """Books a ride, or leaves nothing behind.

    A booking that fails or is cancelled by its user is *returned* as such, so Temporal calls the run Completed. The
    run ends as Canceled if Temporal was asked to cancel it, and as Failed only if it could not be undone.

    Each compensation is registered before the step that it undoes, because a step that failed or timed out may have
    taken effect all the same. So the workflow names the reservation itself, and the services take an undo of
    something that never happened as done, and refuse what arrives after its undo.
    """

    def __init__(self) -> None:
        self._timings = BookingTimings()
        self._cancellation: str | None = None
        self._compensations: list[str] = []
        self._reservation_id = ""

    @workflow.signal(name=CANCEL_BOOKING)
    def cancel_booking(self, reason: str) -> None:
        """Ask to cancel: heeded before the first step and after every one, until the run has ended.

        Args:
            reason: Why, for the log and the result.
        """
        # Only a note: a signal may arrive in any workflow task, before the first step or among compensations.
        self._cancellation = reason

    @workflow.run
    async def run(self, request: BookingRequest) -> BookingResult:
        """Book the ride.

        Args:
            request: What to book.
        """
        self._timings = request.timings
        self._reservation_id = f"{request.user_id}-{workflow.uuid4()}"
        try:
            return BookingResult(await self._book(request), "CONFIRMED")
        except (ActivityError, _NotBookedError, asyncio.CancelledError) as error:
            workflow.logger.info("Undoing the booking: %s", _reason(error))
            await self._compensate()
            if is_cancelled_exception(error):
                # Temporal's own cancellation: raised again, it ends the run as Canceled.
                raise
            return BookingResult("", _status(error), _reason(error))

    async def _book(self, request: BookingRequest) -> str:
        self._heed_cancellation()
        reservation_id = self._reservation_id
        self._compensations.append(RELEASE_SEAT)
        await self._step(
            RESERVE_SEAT, SeatRequest(reservation_id, request.user_id, request.bus_id, request.segment), Seat
        )
        payment = await self._pay(PaymentRequest(reservation_id, request.user_id, request.fare))
        confirmation = ConfirmRequest(reservation_id, payment.transaction_id)
        booking = await self._step(CONFIRM_BOOKING, confirmation, Booking)
        await self._step(ASSIGN_TO_MANIFEST, ManifestEntry(request.bus_id, booking.booking_id), type(None))
        # Last, so that no booking is announced that a failing manifest then undoes.
        await self._notify(Notification(request.user_id, booking.booking_id))
        return booking.booking_id

    async def _pay(self, request: PaymentRequest) -> Payment:
        self._compensations.append(REFUND_PAYMENT)
        payment = await self._step(PROCESS_PAYMENT, request, Payment)
        if not payment.success:
            # A refusal is the final answer: nothing was charged.
            self._compensations.remove(REFUND_PAYMENT)
            raise _NotBookedError("FAILED", payment.error or "Payment failed")
        return payment

    async def _notify(self, notification: Notification) -> None:
        # Awaited, else the end of the run would discard it; but a lost message is no reason to lose the booking.
        try:
            await self._call(SEND_BOOKING_CONFIRMATION, notification, type(None))
        except ActivityError as error:
            if is_cancelled_exception(error):
                raise
            workflow.logger.warning("The booking stands, its confirmation could not be sent: %s", _reason(error))
        self._heed_cancellation()

    async def _step(self, activity: str, argument: object, answer: type[T]) -> T:
        result = await self._call(activity, argument, answer)
        self._heed_cancellation()
        return result

    def _heed_cancellation(self) -> None:
        if self._cancellation is not None:
            raise _NotBookedError("CANCELLED", f"Booking cancelled by user: {self._cancellation}")

    async def _compensate(self) -> None:
        """Undo what may have been done, also if Temporal cancels the run meanwhile."""
        undoing = asyncio.create_task(self._undo())
        try:
            await asyncio.shield(undoing)
        except asyncio.CancelledError:
            # Temporal cancels a run only once, so this second wait is not cut short.
            await undoing
            raise

    async def _undo(self) -> None:
        failed: dict[str, ActivityError] = {}
        for activity in reversed(self._compensations):
            try:
                await self._call(activity, self._reservation_id, type(None))
            except ActivityError as error:
                failed[activity] = error
        if failed:
            what = "; ".join(f"{activity}: {_reason(error)}" for activity, error in failed.items())
            raise ApplicationError(
                f"Reservation {self._reservation_id} is undone only in part: {what}",
                type=COMPENSATION_FAILED,
                non_retryable=True,
            ) from next(iter(failed.values()))

    async def _call(self, activity: str, argument: object, answer: type[T]) -> T:
        result: T = await workflow.execute_activity(
            activity,
            argument,
            result_type=answer,
            start_to_close_timeout=timedelta(seconds=self._timings.start_to_close),
            retry_policy=self._timings.retry_policy(),
        )
        return result


def _status(error: BaseException) -> Status:
    return error.status if isinstance(error, _NotBookedError) else "FAILED"


def _reason(error: BaseException) -> str:
    # An ActivityError only says that an activity failed; its cause says why.
    cause = error.cause if isinstance(error, ActivityError) else None
    return cause.message if isinstance(cause, FailureError) else str(error) or type(error).__name__
