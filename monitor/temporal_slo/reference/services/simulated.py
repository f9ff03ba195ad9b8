"""The services behind the activities, simulated: they keep books, can be slow or flaky, and know test users."""

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

from temporal_slo.reference.services.faults import Chaos, Reigning, peace
from temporal_slo.reference.workflows import booking
from temporal_slo.reference.workflows.booking import (
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
"""Failure type of a service that could not be reached: retried."""

REMEMBERED: Final = 100_000
_BOOKING = "-booking"


class Trouble(Enum):
    """What goes wrong when a test user's activity runs."""

    REFUSES = "refuses: nothing is done and a retry would not help"
    UNREACHABLE = "cannot be reached: nothing is done, at any attempt"
    SILENT = "does it and never answers: the attempt times out"


FATES: Final[Mapping[str, Mapping[str, Trouble]]] = {
    "ok": {},
    "soldout": {booking.RESERVE_SEAT: Trouble.REFUSES},
    "declined": {},
    "unreachable": {booking.PROCESS_PAYMENT: Trouble.UNREACHABLE},
    "silent": {booking.PROCESS_PAYMENT: Trouble.SILENT},
    "unconfirmed": {booking.CONFIRM_BOOKING: Trouble.REFUSES},
    "unlisted": {booking.ASSIGN_TO_MANIFEST: Trouble.REFUSES},
    "unnotified": {booking.SEND_BOOKING_CONFIRMATION: Trouble.UNREACHABLE},
    "refundless": {booking.CONFIRM_BOOKING: Trouble.REFUSES, booking.REFUND_PAYMENT: Trouble.REFUSES},
}
"""Test users, as payment providers have test cards: what befalls whom, by the user id up to its first `-`.

Any other user is `ok`. The payment of `declined` is answered with a refusal, which is a result and no trouble.
"""

OUTAGES: Final[Mapping[Chaos, Mapping[str, Trouble]]] = {
    Chaos.PAYMENTS_DOWN: {booking.PROCESS_PAYMENT: Trouble.REFUSES},
}
"""What befalls every user's activity while there is chaos."""


@dataclass(frozen=True)
class Behaviour:
    """How a service answers the calls of one activity.

    Attributes:
        delay: Seconds that a call takes before it does anything.
        failure_rate: Share of calls, from 0 to 1, that fail before they do anything and would succeed if retried.
        gate: Calls wait until it is set; None for no wait.
    """

    delay: float = 0.0
    failure_rate: float = 0.0
    gate: asyncio.Event | None = None


@dataclass
class Record:
    """What the services know of one reservation.

    Attributes:
        held: The seat is taken.
        released: The seat was given back, or barred before it was taken.
        charged: Money taken.
        refunded: Money given back.
        barred: A refund was asked for: nothing is charged any more.
        confirmed: The booking stands.
        on_manifest: The driver expects the passenger.
        notifications: Confirmations sent.
        calls: Calls by activity, failed ones too.
    """

    held: bool = False
    released: bool = False
    charged: float = 0.0
    refunded: float = 0.0
    barred: bool = False
    confirmed: bool = False
    on_manifest: bool = False
    notifications: int = 0
    calls: Counter[str] = field(default_factory=Counter)

    @property
    def balance(self) -> float:
        """Money kept."""
        return self.charged - self.refunded


class Services:
    """The booking, payment, notification and fleet services, and the activities that call them.

    Every activity is idempotent, and none takes effect after its undo: a call that its workflow has given up may
    still be under way. The books are in memory, so after a restart they are empty; only what they know to be undone
    is refused, and bookings in flight go on.

    Args:
        behaviours: By activity; none means at once and without fail.
        seed: The same seed makes the same calls fail, if they come in the same order.
        remembered: Reservations kept in the books; beyond, the oldest are forgotten.
        chaos: Asked at each call what goes wrong for everybody.
    """

    def __init__(
        self,
        behaviours: Mapping[str, Behaviour] | None = None,
        *,
        seed: int = 0,
        remembered: int = REMEMBERED,
        chaos: Reigning = peace,
    ) -> None:
        self.books: dict[str, Record] = {}
        self._behaviours = behaviours or {}
        self._rng = random.Random(seed)  # noqa: S311 - simulates faults, guards nothing
        self._remembered = remembered
        self._chaos = chaos

    @property
    def activities(self) -> Sequence[Callable[..., Any]]:
        """What a worker registers."""
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
        return (record for key, record in self.books.items() if key.startswith(f"{user_id}-"))

    @activity.defn(name=booking.RESERVE_SEAT)
    async def reserve_seat(self, request: SeatRequest) -> Seat:
        """Hold a seat under the reservation id that the workflow chose."""
        async with self._call(booking.RESERVE_SEAT, request.reservation_id) as record:
            if record.released:
                raise _refused("the reservation was released")
            record.held = True
        return Seat(request.reservation_id, seat_number=_seat_number(request.reservation_id))

    @activity.defn(name=booking.RELEASE_SEAT)
    async def release_seat(self, reservation_id: str) -> None:
        """Give the seat back and with it the booking and its place on the manifest; done already is done."""
        async with self._call(booking.RELEASE_SEAT, reservation_id) as record:
            record.released = True
            record.held = record.confirmed = record.on_manifest = False

    @activity.defn(name=booking.PROCESS_PAYMENT)
    async def process_payment(self, request: PaymentRequest) -> Payment:
        """Charge the fare, once per reservation. Only a refusal by the bank is a result without success."""
        async with self._call(booking.PROCESS_PAYMENT, request.reservation_id) as record:
            if record.barred:
                return Payment(success=False, error="the reservation was refunded")
            if _kind(request.reservation_id) == "declined":
                return Payment(success=False, error="card declined")
            record.charged = request.amount
        return Payment(success=True, transaction_id=f"{request.reservation_id}-payment")

    @activity.defn(name=booking.REFUND_PAYMENT)
    async def refund_payment(self, reservation_id: str) -> None:
        """Give back whatever the reservation was charged, and bar later charges; nothing charged is no error."""
        async with self._call(booking.REFUND_PAYMENT, reservation_id) as record:
            record.barred = True
            record.refunded = record.charged

    @activity.defn(name=booking.CONFIRM_BOOKING)
    async def confirm_booking(self, request: ConfirmRequest) -> Booking:
        """Turn the reservation into a booking."""
        async with self._call(booking.CONFIRM_BOOKING, request.reservation_id) as record:
            if record.released:
                raise _refused("the reservation was released")
            record.confirmed = True
        return Booking(f"{request.reservation_id}{_BOOKING}")

    @activity.defn(name=booking.ASSIGN_TO_MANIFEST)
    async def assign_to_manifest(self, entry: ManifestEntry) -> None:
        """Put the passenger on the driver's manifest."""
        async with self._call(booking.ASSIGN_TO_MANIFEST, entry.booking_id.removesuffix(_BOOKING)) as record:
            if record.released:
                raise _refused("the booking was undone")
            record.on_manifest = True

    @activity.defn(name=booking.SEND_BOOKING_CONFIRMATION)
    async def send_booking_confirmation(self, notification: Notification) -> None:
        """Tell the user that the booking is confirmed."""
        key = notification.booking_id.removesuffix(_BOOKING)
        async with self._call(booking.SEND_BOOKING_CONFIRMATION, key) as record:
            record.notifications += 1

    @asynccontextmanager
    async def _call(self, name: str, reservation_id: str) -> AsyncIterator[Record]:
        """Answer one call: the body is what the service does, around it what may go wrong."""
        record = self._record(reservation_id)
        record.calls[name] += 1
        await self._behave(name)
        trouble = self._trouble(name, reservation_id)
        if trouble is Trouble.REFUSES:
            raise _refused(f"{name} refused")
        if trouble is Trouble.UNREACHABLE:
            raise ApplicationError(f"{name} cannot be reached", type=UNAVAILABLE)
        yield record
        if trouble is Trouble.SILENT:
            await asyncio.Event().wait()

    def _trouble(self, name: str, reservation_id: str) -> Trouble | None:
        outages = (OUTAGES[kind].get(name) for kind in self._chaos())
        return next(filter(None, outages), None) or FATES.get(_kind(reservation_id), {}).get(name)

    async def _behave(self, name: str) -> None:
        behaviour = self._behaviours.get(name, Behaviour())
        await asyncio.sleep(behaviour.delay)
        if behaviour.gate:
            await behaviour.gate.wait()
        if self._rng.random() < behaviour.failure_rate:
            raise ApplicationError(f"{name} cannot be reached for now", type=UNAVAILABLE)

    def _record(self, reservation_id: str) -> Record:
        record = self.books.setdefault(reservation_id, Record())
        if len(self.books) > self._remembered:
            del self.books[next(iter(self.books))]
        return record


def _kind(reservation_id: str) -> str:
    return reservation_id.partition("-")[0]


def _seat_number(reservation_id: str) -> str:
    # Of the id, not of a counter: a repeated call gets the same answer, after a restart too.
    return f"S{sum(reservation_id.encode()) % 60 + 1:02}"


def _refused(reason: str) -> ApplicationError:
    return ApplicationError(reason, type=REFUSED, non_retryable=True)
