"""Simulated services behind the activities: in-memory records, optional delays and failures, and test users."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final

from temporalio import activity
from temporalio.exceptions import ApplicationError

from temporal_slo.reference.services.faults import ActiveFaults, Fault, no_faults
from temporal_slo.reference.workflows import booking_steps as booking
from temporal_slo.reference.workflows.booking_steps import (
    Booking,
    ConfirmRequest,
    ManifestEntry,
    Notification,
    Payment,
    PaymentRequest,
    Seat,
    SeatRequest,
)

REFUSED: Final = "Refused"
"""Failure type of a refusal: final, never retried."""
UNAVAILABLE: Final = "Unavailable"
"""Failure type of an unreachable service: retried."""

MAX_RECORDS: Final = 100_000
_BOOKING = "-booking"


class FailureMode(Enum):
    """How a service call fails."""

    REFUSES = "refuses the call: no effect, not retryable"
    UNREACHABLE = "unreachable: no effect at any attempt"
    NO_RESPONSE = "takes effect but never responds: the attempt times out"


TEST_USER_FAULTS: Final[Mapping[str, Mapping[str, FailureMode]]] = {
    "ok": {},
    "soldout": {booking.RESERVE_SEAT: FailureMode.REFUSES},
    "declined": {},
    "unreachable": {booking.PROCESS_PAYMENT: FailureMode.UNREACHABLE},
    "silent": {booking.PROCESS_PAYMENT: FailureMode.NO_RESPONSE},
    "unconfirmed": {booking.CONFIRM_BOOKING: FailureMode.REFUSES},
    "unlisted": {booking.ASSIGN_TO_MANIFEST: FailureMode.REFUSES},
    "unnotified": {booking.SEND_BOOKING_CONFIRMATION: FailureMode.UNREACHABLE},
    "refundless": {booking.CONFIRM_BOOKING: FailureMode.REFUSES, booking.REFUND_PAYMENT: FailureMode.REFUSES},
}
"""Failure modes of test users by activity, like the test cards of payment providers.

The key is the user ID up to its first `-`; any other user is `ok`. The payment of `declined` returns a result without
success, which is not a failure of the call.
"""

OUTAGES: Final[Mapping[Fault, Mapping[str, FailureMode]]] = {
    Fault.PAYMENTS_DOWN: {booking.PROCESS_PAYMENT: FailureMode.REFUSES},
}
"""Failure modes of every user's activities while a fault is active."""


@dataclass(frozen=True)
class Behaviour:
    """How a service responds to the calls of one activity.

    Attributes:
        delay: Seconds before a call takes effect.
        failure_rate: Share of calls, from 0 to 1, that fail without effect; the failure is retryable.
        gate: Calls wait until it is set; None for no wait.
    """

    delay: float = 0.0
    failure_rate: float = 0.0
    gate: asyncio.Event | None = None


@dataclass
class Record:
    """State of one reservation in the services.

    Attributes:
        held: The seat is reserved.
        released: The seat was released; later reservations and confirmations are refused.
        charged: Amount charged.
        refunded: Amount refunded.
        charges_blocked: A refund was requested; later charges are refused.
        confirmed: The booking is confirmed.
        on_manifest: The passenger is on the manifest.
        notifications: Number of confirmations sent.
        calls: Number of calls by activity, including failed ones.
    """

    held: bool = False
    released: bool = False
    charged: int = 0
    refunded: int = 0
    charges_blocked: bool = False
    confirmed: bool = False
    on_manifest: bool = False
    notifications: int = 0
    calls: Counter[str] = field(default_factory=Counter)

    @property
    def balance(self) -> int:
        """Amount charged and not refunded."""
        return self.charged - self.refunded


class Services:
    """The booking, payment, notification and fleet services, and the activities that call them.

    Every activity is idempotent, and none takes effect after its compensation: a call that timed out in its workflow
    may still be running. Records are in memory and lost on restart. A call is refused only if its compensation is on
    record, so bookings in flight continue after a restart.

    Args:
        behaviours: By activity; default: respond immediately, never fail.
        seed: The same seed makes the same calls fail, if they arrive in the same order.
        max_records: Maximum number of reservations kept; the oldest are dropped.
        faults: Called at each service call; returns the faults that affect every user.
    """

    def __init__(
        self,
        behaviours: Mapping[str, Behaviour] | None = None,
        *,
        seed: int = 0,
        max_records: int = MAX_RECORDS,
        faults: ActiveFaults = no_faults,
    ) -> None:
        self.records: dict[str, Record] = {}
        self._behaviours = behaviours or {}
        self._rng = random.Random(seed)  # noqa: S311 - simulated failures, no secret
        self._max_records = max_records
        self._faults = faults

    @property
    def activities(self) -> Sequence[Callable[..., Any]]:
        """The activities to register with a worker."""
        return [
            self.reserve_seat,
            self.release_seat,
            self.process_payment,
            self.refund_payment,
            self.confirm_booking,
            self.assign_to_manifest,
            self.send_booking_confirmation,
        ]

    def of_user(self, user_id: str) -> Iterator[Record]:
        """Yield the records of a user's reservations, oldest first."""
        return (record for key, record in self.records.items() if key.startswith(f"{user_id}-"))

    @activity.defn(name=booking.RESERVE_SEAT)
    async def reserve_seat(self, request: SeatRequest) -> Seat:
        """Reserve a seat under the reservation ID that the workflow generated."""
        async with self._call(booking.RESERVE_SEAT, request.reservation_id) as record:
            if record.released:
                raise _refused("the reservation was released")
            record.held = True
        return Seat(request.reservation_id, seat_number=_seat_number(request.reservation_id), expires_at="")

    @activity.defn(name=booking.RELEASE_SEAT)
    async def release_seat(self, reservation_id: str) -> None:
        """Release the seat, its booking and its place on the manifest; idempotent."""
        async with self._call(booking.RELEASE_SEAT, reservation_id) as record:
            record.released = True
            record.held = record.confirmed = record.on_manifest = False

    @activity.defn(name=booking.PROCESS_PAYMENT)
    async def process_payment(self, request: PaymentRequest) -> Payment:
        """Charge the fare once per reservation. A declined card is a result without success, not an error."""
        async with self._call(booking.PROCESS_PAYMENT, request.reservation_id) as record:
            if record.charges_blocked:
                return Payment(success=False, error="the reservation was refunded")
            if _kind(request.reservation_id) == "declined":
                return Payment(success=False, error="card declined")
            record.charged = request.amount
        return Payment(success=True, transaction_id=f"{request.reservation_id}-payment")

    @activity.defn(name=booking.REFUND_PAYMENT)
    async def refund_payment(self, reservation_id: str) -> None:
        """Refund what the reservation was charged, and block later charges; no charge is no error."""
        async with self._call(booking.REFUND_PAYMENT, reservation_id) as record:
            record.charges_blocked = True
            record.refunded = record.charged

    @activity.defn(name=booking.CONFIRM_BOOKING)
    async def confirm_booking(self, request: ConfirmRequest) -> Booking:
        """Confirm the booking of a reservation."""
        async with self._call(booking.CONFIRM_BOOKING, request.reservation_id) as record:
            if record.released:
                raise _refused("the reservation was released")
            record.confirmed = True
        return Booking(f"{request.reservation_id}{_BOOKING}")

    @activity.defn(name=booking.ASSIGN_TO_MANIFEST)
    async def assign_to_manifest(self, entry: ManifestEntry) -> None:
        """Add the passenger to the driver's manifest."""
        async with self._call(booking.ASSIGN_TO_MANIFEST, entry.booking_id.removesuffix(_BOOKING)) as record:
            if record.released:
                raise _refused("the booking was released")
            record.on_manifest = True

    @activity.defn(name=booking.SEND_BOOKING_CONFIRMATION)
    async def send_booking_confirmation(self, notification: Notification) -> None:
        """Notify the user that the booking is confirmed."""
        key = notification.booking_id.removesuffix(_BOOKING)
        async with self._call(booking.SEND_BOOKING_CONFIRMATION, key) as record:
            record.notifications += 1

    @asynccontextmanager
    async def _call(self, name: str, reservation_id: str) -> AsyncIterator[Record]:
        """Simulate one call: the body is the effect of the call, its failures are raised around it."""
        record = self._record(reservation_id)
        record.calls[name] += 1
        await self._behave(name)
        failure = self._failure_mode(name, reservation_id)
        if failure is FailureMode.REFUSES:
            raise _refused(f"{name} refused")
        if failure is FailureMode.UNREACHABLE:
            raise ApplicationError(f"{name} is unreachable", type=UNAVAILABLE)
        yield record
        if failure is FailureMode.NO_RESPONSE:
            await asyncio.Event().wait()

    def _failure_mode(self, name: str, reservation_id: str) -> FailureMode | None:
        outages = (OUTAGES[fault].get(name) for fault in self._faults())
        return next(filter(None, outages), None) or TEST_USER_FAULTS.get(_kind(reservation_id), {}).get(name)

    async def _behave(self, name: str) -> None:
        behaviour = self._behaviours.get(name, Behaviour())
        await asyncio.sleep(behaviour.delay)
        if behaviour.gate:
            await behaviour.gate.wait()
        if self._rng.random() < behaviour.failure_rate:
            raise ApplicationError(f"{name} is temporarily unreachable", type=UNAVAILABLE)

    def _record(self, reservation_id: str) -> Record:
        record = self.records.setdefault(reservation_id, Record())
        if len(self.records) > self._max_records:
            del self.records[next(iter(self.records))]
        return record


def _kind(reservation_id: str) -> str:
    return reservation_id.partition("-")[0]


def _seat_number(reservation_id: str) -> str:
    # From the ID, not a counter: a retried call gets the same result, also after a restart.
    return f"S{sum(reservation_id.encode()) % 60 + 1:02}"


def _refused(reason: str) -> ApplicationError:
    return ApplicationError(reason, type=REFUSED, non_retryable=True)
