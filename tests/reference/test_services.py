from collections.abc import Awaitable, Callable, Mapping

import pytest
from temporalio.exceptions import ApplicationError

from temporal_slo.reference.services.simulated import REFUSED, TEST_USER_FAULTS, UNAVAILABLE, Behaviour, Services
from temporal_slo.reference.workflows.booking_steps import (
    ASSIGN_TO_MANIFEST,
    CONFIRM_BOOKING,
    PROCESS_PAYMENT,
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

FARE = 2350


def _seat(reservation_id: str) -> SeatRequest:
    return SeatRequest(reservation_id, "user", "bus-7", "segment-3")


def _payment(reservation_id: str) -> PaymentRequest:
    return PaymentRequest(reservation_id, "user", FARE)


async def _first_failure(services: Services, reservation_id: str) -> str:
    """Make every call of a booking; return the first failed one with its error, or an empty string."""
    booking_id = f"{reservation_id}-booking"
    calls: Mapping[str, Callable[[], Awaitable[object]]] = {
        RESERVE_SEAT: lambda: services.reserve_seat(_seat(reservation_id)),
        PROCESS_PAYMENT: lambda: services.process_payment(_payment(reservation_id)),
        CONFIRM_BOOKING: lambda: services.confirm_booking(ConfirmRequest(reservation_id, "payment")),
        ASSIGN_TO_MANIFEST: lambda: services.assign_to_manifest(ManifestEntry("bus-7", "2026-09-01", booking_id)),
        SEND_BOOKING_CONFIRMATION: lambda: services.send_booking_confirmation(Notification("user", booking_id)),
    }
    for name, call in calls.items():
        try:
            answer = await call()
        except ApplicationError as error:
            return f"{name} {error.type} {'final' if error.non_retryable else 'retryable'}"
        if isinstance(answer, Payment) and not answer.success:
            return f"{name} {answer.error}"
    return ""


FAILURES = {
    "ok": "",
    "soldout": "reserveSeat Refused final",
    "declined": "processPayment card declined",
    "unreachable": "processPayment Unavailable retryable",
    "unconfirmed": "confirmBooking Refused final",
    "unlisted": "assignToManifest Refused final",
    "unnotified": "sendBookingConfirmation Unavailable retryable",
    "refundless": "confirmBooking Refused final",
    "somebody": "",
}


@pytest.mark.parametrize(("kind", "failure"), FAILURES.items())
async def test_test_users(kind: str, failure: str) -> None:
    """Calls of a test user fail as its kind defines at every attempt; calls of an unknown user succeed."""
    services = Services()
    assert await _first_failure(services, f"{kind}-1-x") == failure
    assert await _first_failure(services, f"{kind}-1-x") == failure


def test_every_test_user_is_tested() -> None:
    """Every kind of test user has a case above, except the one whose payment never responds."""
    assert set(FAILURES) == {*TEST_USER_FAULTS, "somebody"} - {"silent"}


async def test_refund_refused() -> None:
    """The refund of a `refundless` user is refused, and is not retryable."""
    with pytest.raises(ApplicationError, match="refundPayment refused") as refused:
        await Services().refund_payment("refundless-1-x")
    assert (refused.value.type, refused.value.non_retryable) == (REFUSED, True)


async def test_idempotent_results() -> None:
    """Every activity returns the same result when it is retried, also after the services lost their records."""
    kept = Services()
    for services in (kept, kept, Services()):
        assert await services.reserve_seat(_seat("ok-1-x")) == Seat("ok-1-x", "S58", expires_at="")
        assert await services.process_payment(_payment("ok-1-x")) == Payment(
            success=True, transaction_id="ok-1-x-payment"
        )
        assert await services.confirm_booking(ConfirmRequest("ok-1-x", "payment")) == Booking("ok-1-x-booking")
        assert services.records["ok-1-x"].balance == FARE


async def test_compensation_without_step() -> None:
    """A release or refund without its step, or a repeated one, is no error and refunds nothing."""
    services = Services()
    for _ in range(2):
        await services.refund_payment("ok-1-x")
        await services.release_seat("ok-1-x")
    record = services.records["ok-1-x"]
    assert (record.charged, record.refunded, record.held) == (0, 0, False)


async def test_refund_is_once() -> None:
    """A repeated refund refunds once."""
    services = Services()
    await services.process_payment(_payment("ok-1-x"))
    for _ in range(2):
        await services.refund_payment("ok-1-x")
    assert (services.records["ok-1-x"].refunded, services.records["ok-1-x"].balance) == (FARE, 0)


async def test_late_calls() -> None:
    """A call after its compensation has no effect, because a timed-out call may still be running."""
    services = Services()
    await services.refund_payment("ok-1-x")
    await services.release_seat("ok-1-x")
    assert await services.process_payment(_payment("ok-1-x")) == Payment(
        success=False, error="the reservation was refunded"
    )
    for call in (
        services.reserve_seat(_seat("ok-1-x")),
        services.confirm_booking(ConfirmRequest("ok-1-x", "payment")),
        services.assign_to_manifest(ManifestEntry("bus-7", "2026-09-01", "ok-1-x-booking")),
    ):
        with pytest.raises(ApplicationError, match=r"was released"):
            await call
    record = services.records["ok-1-x"]
    assert (record.charged, record.held, record.confirmed, record.on_manifest) == (0, False, False, False)


async def _failures(seed: int) -> list[bool]:
    services = Services({RESERVE_SEAT: Behaviour(failure_rate=0.4)}, seed=seed)
    failures = []
    for number in range(200):
        try:
            await services.reserve_seat(_seat(f"ok-{number}-x"))
        except ApplicationError as error:
            failures.append(error.type == UNAVAILABLE and not error.non_retryable)
        else:
            failures.append(False)
    return failures


async def test_failure_rate() -> None:
    """Calls fail at the given rate with retryable errors, and the same calls fail with the same seed."""
    assert 60 < sum(await _failures(5)) < 100
    assert await _failures(5) == await _failures(5) != await _failures(6)


async def test_records_are_bounded() -> None:
    """The oldest records are dropped, so that memory is bounded."""
    services = Services(max_records=3)
    for number in range(7):
        await services.reserve_seat(_seat(f"ok-{number}-x"))
    assert list(services.records) == ["ok-4-x", "ok-5-x", "ok-6-x"]
