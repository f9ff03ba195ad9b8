"""The activities of the booking workflow: one call of a service each."""

import asyncio
from contextlib import suppress
from http import HTTPStatus
from typing import Any, Final

from temporalio import activity
from temporalio.client import (
    Client,
    WithStartWorkflowOperation,
    WorkflowUpdateFailedError,
    WorkflowUpdateRPCTimeoutOrCancelledError,
)
from temporalio.exceptions import ApplicationError, WorkflowAlreadyStartedError
from temporalio.service import RPCError

from temporal_slo.reference.activities.fleet import start_operation
from temporal_slo.reference.activities.service_client import RefusedError, ServiceClient
from temporal_slo.reference.workflows import fleet
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

CHARGE_TIMEOUT: Final = 30.0
"""Seconds; card issuers are slow."""


class BookingActivities:
    """The activities of the booking workflow.

    Every service performs a call once per activity, however often it is attempted, and refuses a step after its
    compensation: an attempt that timed out in its workflow may still be running.

    Args:
        services: Client of the services.
        temporal: Client of the namespace of the bus workflows.
        fleet_queue: Task queue of the bus workflows.
    """

    def __init__(self, services: ServiceClient, temporal: Client, fleet_queue: str = fleet.TASK_QUEUE) -> None:
        self._services = services
        self._temporal = temporal
        self._fleet_queue = fleet_queue

    @activity.defn(name=RESERVE_SEAT)
    async def reserve_seat(self, request: SeatRequest) -> Seat:
        """Reserve a seat under the reservation ID that the workflow generated."""
        seat = await self._services.post(
            "/api/v1/seats/reserve",
            {
                "reservationId": request.reservation_id,
                "userId": request.user_id,
                "busId": request.bus_id,
                "segment": request.segment,
            },
        )
        return Seat(seat["reservationId"], seat["seatNumber"], seat["expiresAt"])

    @activity.defn(name=RELEASE_SEAT)
    async def release_seat(self, reservation_id: str) -> None:
        """Release the seat, its booking and its place on the manifest; no reservation is no error."""
        await self._services.post("/api/v1/seats/release", {"reservationId": reservation_id})

    @activity.defn(name=PROCESS_PAYMENT)
    async def process_payment(self, request: PaymentRequest) -> Payment:
        """Charge the fare once per reservation. A declined card is a result without success, not an error."""
        try:
            charge = await self._services.post(
                "/api/v1/payments/charge",
                {"reservationId": request.reservation_id, "userId": request.user_id, "amount": request.amount},
                within=CHARGE_TIMEOUT,
            )
        except RefusedError as error:
            if error.status != HTTPStatus.PAYMENT_REQUIRED:
                raise
            return Payment(success=False, error=error.message)
        return Payment(success=True, transaction_id=charge["transactionId"])

    @activity.defn(name=REFUND_PAYMENT)
    async def refund_payment(self, reservation_id: str) -> None:
        """Refund what the reservation was charged, and block later charges; no charge is no error."""
        await self._services.post("/api/v1/payments/refund", {"reservationId": reservation_id})

    @activity.defn(name=CONFIRM_BOOKING)
    async def confirm_booking(self, request: ConfirmRequest) -> Booking:
        """Confirm the booking of a reservation."""
        booking = await self._services.post(
            "/api/v1/bookings/confirm",
            {"reservationId": request.reservation_id, "paymentId": request.payment_id},
        )
        return Booking(booking["bookingId"])

    @activity.defn(name=ASSIGN_TO_MANIFEST)
    async def assign_to_manifest(self, entry: ManifestEntry) -> None:
        """Add the booking to the manifest, which belongs to the workflow of the bus; start it if it does not run."""
        bus = fleet.BusService(entry.bus_id, entry.service_date)
        start = start_operation(fleet.BusServiceRequest(bus), self._fleet_queue)
        try:
            # The update ID makes another attempt wait for the same update. (The SDK's types do not see the await.)
            _ = await self._temporal.execute_update_with_start_workflow(
                fleet.BusServiceWorkflow.add_booking,
                entry.booking_id,
                start_workflow_operation=start,
                id=entry.booking_id,
            )
        except WorkflowUpdateFailedError as error:
            raise _same(error.cause) from error
        except WorkflowAlreadyStartedError as error:
            await _retrieve_failure(start)
            reason = f"bus {entry.bus_id} of {entry.service_date} has arrived"
            raise ApplicationError(reason, type=fleet.MANIFEST_SEALED, non_retryable=True) from error
        except (RPCError, WorkflowUpdateRPCTimeoutOrCancelledError):
            await _retrieve_failure(start)
            raise

    @activity.defn(name=SEND_BOOKING_CONFIRMATION)
    async def send_booking_confirmation(self, notification: Notification) -> None:
        """Notify the user that the booking is confirmed."""
        await self._services.post(
            "/api/v1/notifications/send",
            {
                "userId": notification.user_id,
                "type": "BOOKING_CONFIRMED",
                "data": {"bookingId": notification.booking_id},
            },
        )


def _same(failure: BaseException) -> ApplicationError:
    """Return a failure as a new exception: another attempt helps if it could help before."""
    # Not raised itself: it is the cause of the error that it would be raised from.
    if isinstance(failure, ApplicationError):
        return ApplicationError(failure.message, type=failure.type, non_retryable=failure.non_retryable)
    return ApplicationError(str(failure), type=type(failure).__name__)


async def _retrieve_failure(start: WithStartWorkflowOperation[Any, Any]) -> None:
    """Retrieve the failure of a start, which asyncio would otherwise log as never retrieved."""
    # A start that was cancelled with its attempt holds the cancellation.
    with suppress(RPCError, WorkflowAlreadyStartedError, asyncio.CancelledError):
        await start.workflow_handle()
