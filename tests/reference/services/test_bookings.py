"""Seats, card payments and bookings: business rules and compensations."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.reference.services.steps import DAY, FARE, fare, perform, refused, seat
from tests.reference.services_process import ServicesUnderTest, running_services

CONFIRMATION = {"reservationId": "r1", "paymentId": "r1-payment"}
BOOKED = ("seats/reserve", "payments/charge", "bookings/confirm", "manifests/add-booking")


async def test_seats_are_distinct(services: ServicesUnderTest) -> None:
    """No two reservations of a bus and segment get the same seat, not even after a release."""
    first = await services.post("seats/reserve", seat("r1"), "k1")
    await services.post("seats/release", {"reservationId": "r1"}, "k2")
    second = await services.post("seats/reserve", seat("r2"), "k3")
    elsewhere = await services.post("seats/reserve", {**seat("r3"), "busId": "bus-4"}, "k4")
    assert [s["seatNumber"] for s in (first, second, elsewhere)] == ["S01", "S02", "S01"]


async def test_release(services: ServicesUnderTest) -> None:
    """A release covers seat, booking and manifest, also of a sealed one, and blocks all three."""
    await perform(services, *BOOKED, "manifests/seal", "seats/release")
    totals = await services.totals()
    assert (totals["seats"], totals["bookings"]["confirmed"], totals["manifests"]["bookings"]) == (
        {"held": 0, "released": 1},
        0,
        0,
    )
    assert await refused(services, "seats/reserve", seat(), "k1") == "the reservation was released"
    assert await refused(services, "bookings/confirm", CONFIRMATION, "k2") == "the reservation was released"
    entry = {**DAY, "busId": "bus-4", "bookingId": "r1-booking"}
    assert await refused(services, "manifests/add-booking", entry, "k3") == "the booking was released"


async def test_release_without_seat(services: ServicesUnderTest) -> None:
    """A release without a reservation succeeds, and blocks the reservation and its place on a manifest."""
    assert await services.post("seats/release", {"reservationId": "r1"}, "k1") == {}
    assert await refused(services, "seats/reserve", seat(), "k2") == "the reservation was released"
    entry = {**DAY, "bookingId": "r1-booking"}
    assert await refused(services, "manifests/add-booking", entry, "k3") == "the booking was released"
    assert (await services.totals())["seats"] == {"held": 0, "released": 1}


async def test_refund(services: ServicesUnderTest) -> None:
    """A refund returns what was charged, once, and blocks charge and confirmation."""
    await perform(services, "seats/reserve", "payments/charge")
    assert await services.post("payments/refund", {"reservationId": "r1"}, "k1") == {"refunded": FARE}
    assert await services.post("payments/refund", {"reservationId": "r1"}, "k2") == {"refunded": FARE}
    assert await refused(services, "payments/charge", fare(), "k3") == "the reservation was refunded"
    assert await refused(services, "bookings/confirm", CONFIRMATION, "k4") == "no such payment for this reservation"
    assert (await services.totals())["cards"] == {"charges": 1, "charged": FARE, "refunded": FARE}


async def test_refund_without_charge(services: ServicesUnderTest) -> None:
    """A refund without a charge returns nothing, and blocks the charge."""
    assert await services.post("payments/refund", {"reservationId": "r1"}, "k1") == {"refunded": 0}
    assert await refused(services, "payments/charge", fare(), "k2") == "the reservation was refunded"
    assert (await services.totals())["cards"] == {"charges": 0, "charged": 0, "refunded": 0}


@pytest.mark.parametrize(
    ("done", "reason"),
    [((), "no seat is reserved"), (("seats/reserve",), "no such payment for this reservation")],
)
async def test_confirm_too_early(services: ServicesUnderTest, done: tuple[str, ...], reason: str) -> None:
    """Only a seat that is reserved and paid can be confirmed."""
    await perform(services, *done)
    assert await refused(services, "bookings/confirm", CONFIRMATION, "k") == reason


async def test_confirm_too_late(tmp_path: Path) -> None:
    """A seat that was held for more than 30 minutes cannot be confirmed."""
    now = datetime(2031, 5, 7, 12, tzinfo=UTC)
    async with running_services(tmp_path, clock=lambda: now) as services:
        reserved = await services.post("seats/reserve", seat(), "k1")
        await services.post("payments/charge", fare(), "k2")
        assert reserved["expiresAt"] == "2031-05-07T12:30:00Z"
        now += timedelta(minutes=30, seconds=1)
        assert await refused(services, "bookings/confirm", CONFIRMATION, "k3") == "the reservation expired"


async def test_totals(services: ServicesUnderTest) -> None:
    """A booking that went well is in all totals once."""
    await perform(services, *BOOKED, "notifications/send")
    totals = await services.totals()
    assert totals["seats"] == {"held": 1, "released": 0}
    assert totals["cards"] == {"charges": 1, "charged": FARE, "refunded": 0}
    assert totals["bookings"] == {"confirmed": 1, "onManifest": 1, "notifications": 1}
    assert totals["manifests"] == {"open": 1, "sealed": 0, "bookings": 1}
    assert totals["calls"] == {**dict.fromkeys((*BOOKED, "notifications/send"), 1), "books": 1}
