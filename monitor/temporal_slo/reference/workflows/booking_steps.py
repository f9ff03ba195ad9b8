"""The steps of a booking: names of the activities, with their inputs and outputs."""

from dataclasses import dataclass
from typing import Final

RESERVE_SEAT: Final = "reserveSeat"
RELEASE_SEAT: Final = "releaseSeat"
PROCESS_PAYMENT: Final = "processPayment"
REFUND_PAYMENT: Final = "refundPayment"
CONFIRM_BOOKING: Final = "confirmBooking"
ASSIGN_TO_MANIFEST: Final = "assignToManifest"
SEND_BOOKING_CONFIRMATION: Final = "sendBookingConfirmation"


@dataclass(frozen=True)
class SeatRequest:
    """Input of `reserveSeat`; `releaseSeat` and `refundPayment` take only the reservation ID."""

    reservation_id: str
    user_id: str
    bus_id: str
    segment: str


@dataclass(frozen=True)
class Seat:
    """A reserved seat.

    Attributes:
        expires_at: End of the reservation, RFC 3339 in UTC.
    """

    reservation_id: str
    seat_number: str
    expires_at: str


@dataclass(frozen=True)
class PaymentRequest:
    """Input of `processPayment`; idempotent by reservation.

    Attributes:
        amount: In kobo.
    """

    reservation_id: str
    user_id: str
    amount: int


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
    """Input of `assignToManifest`.

    Attributes:
        service_date: Day on which the bus departs, as `YYYY-MM-DD`.
    """

    bus_id: str
    service_date: str
    booking_id: str


@dataclass(frozen=True)
class Notification:
    """Input of `sendBookingConfirmation`."""

    user_id: str
    booking_id: str
