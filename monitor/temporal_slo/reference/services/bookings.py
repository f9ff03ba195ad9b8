"""Seats, bookings and notifications of riders."""

import json
from datetime import datetime, timedelta
from typing import Annotated, Final

from pydantic import Field

from temporal_slo.reference.services.books import Db
from temporal_slo.reference.services.refusals import refuse, refuse_unless_same
from temporal_slo.reference.web.wire import Empty, Id, Request, Text, Wire, rfc3339

HOLD: Final = timedelta(minutes=30)
"""How long a seat is held for its reservation: as long as a booking may take."""


class SeatRequest(Request):
    """Request to reserve a seat under a reservation ID that the caller generated."""

    reservation_id: Id
    user_id: Id
    bus_id: Id
    segment: Annotated[Text, Field(min_length=1, max_length=200)]


class Seat(Wire):
    """A reserved seat; it must be confirmed before it expires."""

    reservation_id: str
    seat_number: str
    expires_at: str


class Reservation(Request):
    """The reservation to release or to refund."""

    reservation_id: Id


class ConfirmRequest(Request):
    """Request to confirm the booking of a reservation."""

    reservation_id: Id
    payment_id: Id


class Booking(Wire):
    """A confirmed booking."""

    booking_id: str


class Notification(Request):
    """A message to a user."""

    user_id: Id
    type: Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[A-Z][A-Z0-9_]*$")]
    data: Annotated[dict[Annotated[str, Field(max_length=100)], Text], Field(default_factory=dict, max_length=20)]


def reserve(db: Db, request: SeatRequest, now: datetime) -> Seat:
    """Reserve a seat: no two reservations of a bus and segment ever get the same one."""
    known = db.execute("SELECT * FROM reservations WHERE reservation_id = ?", (request.reservation_id,)).fetchone()
    if known:
        refuse(known["released"], "the reservation was released")
        refuse_unless_same(known, user_id=request.user_id, bus_id=request.bus_id, segment=request.segment)
        return Seat(**{field: known[field] for field in Seat.model_fields})
    seat = Seat(
        reservation_id=request.reservation_id,
        seat_number=_next_seat(db, request.bus_id, request.segment),
        expires_at=rfc3339(now + HOLD),
    )
    db.execute(
        "INSERT INTO reservations (reservation_id, user_id, bus_id, segment, seat_number, expires_at)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        (seat.reservation_id, request.user_id, request.bus_id, request.segment, seat.seat_number, seat.expires_at),
    )
    return seat


def release(db: Db, request: Reservation) -> Empty:
    """Release the seat, its booking and its place on the manifest, and block later ones."""
    booking_id = _booking_id(request.reservation_id)
    db.execute(
        "INSERT INTO reservations (reservation_id, released) VALUES (?, 1) ON CONFLICT DO UPDATE SET released = 1",
        (request.reservation_id,),
    )
    db.execute(
        "INSERT INTO bookings VALUES (?, ?, NULL, 0) ON CONFLICT DO UPDATE SET confirmed = 0",
        (booking_id, request.reservation_id),
    )
    db.execute("DELETE FROM manifest_bookings WHERE booking_id = ?", (booking_id,))
    return Empty()


def confirm(db: Db, request: ConfirmRequest, now: datetime) -> Booking:
    """Confirm the booking of a seat that is still held, and paid."""
    booking_id = _booking_id(request.reservation_id)
    seat = db.execute("SELECT * FROM reservations WHERE reservation_id = ?", (request.reservation_id,)).fetchone()
    refuse(seat is None, "no seat is reserved")
    refuse(seat["released"], "the reservation was released")
    known = db.execute("SELECT * FROM bookings WHERE booking_id = ?", (booking_id,)).fetchone()
    if known:
        refuse_unless_same(known, payment_id=request.payment_id)
        return Booking(booking_id=booking_id)
    refuse(seat["expires_at"] < rfc3339(now), "the reservation expired")
    paid = db.execute(
        "SELECT 1 FROM charges WHERE reservation_id = ? AND transaction_id = ? AND NOT blocked",
        (request.reservation_id, request.payment_id),
    ).fetchone()
    refuse(not paid, "no such payment for this reservation")
    db.execute("INSERT INTO bookings VALUES (?, ?, ?, 1)", (booking_id, request.reservation_id, request.payment_id))
    db.execute(
        "INSERT OR IGNORE INTO owners SELECT ?, user_id FROM owners WHERE subject = ?",
        (booking_id, request.reservation_id),
    )
    return Booking(booking_id=booking_id)


def notify(db: Db, request: Notification, now: datetime) -> Empty:
    """Send a message to a user; the same one is sent once."""
    data = json.dumps(request.data, sort_keys=True)
    db.execute(
        "INSERT OR IGNORE INTO notifications VALUES (?, ?, ?, ?)", (request.user_id, request.type, data, rfc3339(now))
    )
    return Empty()


def _next_seat(db: Db, bus_id: str, segment: str) -> str:
    row = db.execute(
        "INSERT INTO seats_sold VALUES (?, ?, 1) ON CONFLICT DO UPDATE SET last = last + 1 RETURNING last",
        (bus_id, segment),
    ).fetchone()
    return f"S{row['last']:02}"


def _booking_id(reservation_id: str) -> str:
    return f"{reservation_id}-booking"
