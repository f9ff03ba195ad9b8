from dataclasses import replace
from datetime import timedelta

import pytest
from temporalio import exceptions
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client
from temporalio.worker import Replayer

from temporal_slo.reference.services.simulated import Behaviour
from temporal_slo.reference.workers.simulated import simulated_worker
from temporal_slo.reference.workflows.booking import (
    CANCEL_BOOKING,
    EXECUTION_TIMEOUT,
    TASK_QUEUE,
    TEMPORAL_NAMESPACE,
    BookingResult,
    BookRideWorkflow,
)
from temporal_slo.reference.workflows.booking_steps import (
    ASSIGN_TO_MANIFEST,
    CONFIRM_BOOKING,
    PROCESS_PAYMENT,
    REFUND_PAYMENT,
    RELEASE_SEAT,
    RESERVE_SEAT,
    SEND_BOOKING_CONFIRMATION,
)
from temporal_slo.reference.workflows.failures import COMPENSATION_FAILED

from .shop import FARE, QUICK, Shop, ending, gated_shop, open_shop

STEPS = [RESERVE_SEAT, PROCESS_PAYMENT, CONFIRM_BOOKING, ASSIGN_TO_MANIFEST, SEND_BOOKING_CONFIRMATION]
CANCELLED = BookingResult("", "CANCELLED", "Booking cancelled by user: changed plans")


async def test_confirmed(shop: Shop) -> None:
    """A booking without failures is charged, confirmed, added to the manifest and notified, each exactly once."""
    result = await shop.book("ok-plain")
    record = shop.record("ok-plain")
    assert (result.status, result.error) == ("CONFIRMED", None)
    assert result.booking_id.startswith("ok-plain-")
    assert (record.held, record.confirmed, record.on_manifest, record.notifications) == (True, True, True, 1)
    assert record.balance == FARE
    assert record.calls == dict.fromkeys(STEPS, 1)


async def test_declined(shop: Shop) -> None:
    """A declined payment is a result: it is not retried, the seat is released, and no refund is requested."""
    assert await shop.book("declined-card") == BookingResult("", "FAILED", "card declined")
    assert shop.nothing_left("declined-card")
    assert shop.record("declined-card").calls == {RESERVE_SEAT: 1, PROCESS_PAYMENT: 1, RELEASE_SEAT: 1}


async def test_sold_out(shop: Shop) -> None:
    """A refused reservation fails the booking before any payment."""
    assert await shop.book("soldout-bus") == BookingResult("", "FAILED", "reserveSeat refused")
    assert shop.record("soldout-bus").calls == {RESERVE_SEAT: 1, RELEASE_SEAT: 1}


async def test_unreachable_payment(shop: Shop) -> None:
    """Payment is retried while its service is unreachable; after the last attempt a refund is requested."""
    assert await shop.book("unreachable-bank") == BookingResult("", "FAILED", "processPayment is unreachable")
    assert shop.nothing_left("unreachable-bank")
    calls = shop.record("unreachable-bank").calls
    assert (calls[PROCESS_PAYMENT], calls[REFUND_PAYMENT]) == (QUICK.max_attempts, 1)


async def test_transport_error_is_retried(client: Client) -> None:
    """A payment call that fails once and succeeds when retried charges once."""
    # With this seed only the second number is below 0.3: the first payment call fails, the next one does not.
    async with open_shop(client, {PROCESS_PAYMENT: Behaviour(failure_rate=0.3)}, seed=37) as shop:
        assert (await shop.book("ok-flaky")).status == "CONFIRMED"
        assert shop.record("ok-flaky").calls[PROCESS_PAYMENT] == 2
        assert shop.record("ok-flaky").balance == FARE


async def test_payment_timed_out(shop: Shop) -> None:
    """A payment attempt that timed out may have charged: the charge is refunded."""
    result = await shop.book("silent-bank", replace(QUICK, start_to_close=1, max_attempts=1))
    record = shop.record("silent-bank")
    assert result == BookingResult("", "FAILED", "activity StartToClose timeout")
    assert (record.charged, record.refunded) == (FARE, FARE)
    assert shop.nothing_left("silent-bank")


async def test_unconfirmed(shop: Shop) -> None:
    """If the confirmation fails, the charge is refunded and the seat released."""
    assert await shop.book("unconfirmed-seat") == BookingResult("", "FAILED", "confirmBooking refused")
    record = shop.record("unconfirmed-seat")
    assert record.charged == FARE
    steps = ["reserveSeat", "processPayment", "confirmBooking", "refundPayment", "releaseSeat"]
    assert record.calls == dict.fromkeys(steps, 1)
    assert shop.nothing_left("unconfirmed-seat")


async def test_manifest_fails(shop: Shop) -> None:
    """A booking that the manifest refuses is compensated, and no notification was sent."""
    assert await shop.book("unlisted-seat") == BookingResult("", "FAILED", "assignToManifest refused")
    assert shop.record("unlisted-seat").charged == FARE
    assert shop.record("unlisted-seat").calls[SEND_BOOKING_CONFIRMATION] == 0
    assert shop.nothing_left("unlisted-seat")


async def test_notification_fails(shop: Shop) -> None:
    """A booking whose notification fails stays confirmed, and completes only after every attempt to send it."""
    assert (await shop.book("unnotified-user")).status == "CONFIRMED"
    record = shop.record("unnotified-user")
    assert (record.calls[SEND_BOOKING_CONFIRMATION], record.notifications) == (QUICK.max_attempts, 0)
    assert (record.balance, record.confirmed) == (FARE, True)


async def test_refund_refused(shop: Shop) -> None:
    """A booking whose refund fails ends as Failed with CompensationFailed; its seat is still released."""
    status, failure = await ending(await shop.start("refundless-user"))
    assert status == "failed"
    assert isinstance(failure, exceptions.ApplicationError)
    assert (failure.type, failure.non_retryable) == (COMPENSATION_FAILED, True)
    assert failure.message.endswith("was compensated only in part: refundPayment: refundPayment refused")
    record = shop.record("refundless-user")
    assert (record.charged, record.refunded, record.released, record.held) == (FARE, 0, True, False)


async def test_cancelled_with_start(shop: Shop) -> None:
    """A cancellation before the first step leaves nothing to compensate."""
    handle = await shop.start("ok-undecided", signal=CANCEL_BOOKING)
    assert await handle.result() == CANCELLED
    assert list(shop.services.of_user("ok-undecided")) == []


@pytest.mark.parametrize("step", STEPS)
async def test_cancelled_by_user(client: Client, step: str) -> None:
    """A cancellation by the user during any step takes effect after it: all is compensated, the run is Completed."""
    async with gated_shop(client, step) as (shop, gate):
        handle = await shop.start("ok-user")
        await shop.called("ok-user", step)
        await handle.signal(CANCEL_BOOKING, "changed plans")
        gate.set()
        assert await handle.result() == CANCELLED
        assert shop.nothing_left("ok-user")
        assert shop.record("ok-user").charged == (0 if step == RESERVE_SEAT else FARE)
        later = STEPS[STEPS.index(step) + 1 :]
        assert not any(shop.record("ok-user").calls[activity] for activity in later)


@pytest.mark.parametrize("step", STEPS)
async def test_canceled_by_temporal(client: Client, step: str) -> None:
    """A cancellation by Temporal during any step compensates all steps, and the run is Canceled."""
    async with gated_shop(client, step) as (shop, _gate):
        handle = await shop.start("ok-user")
        await shop.called("ok-user", step)
        await handle.cancel()
        status, failure = await ending(handle)
        assert (status, type(failure)) == ("canceled", exceptions.CancelledError)
        assert shop.nothing_left("ok-user")
        assert shop.record("ok-user").released
        assert shop.record("ok-user").calls[REFUND_PAYMENT] == (0 if step == RESERVE_SEAT else 1)


async def test_canceled_during_compensation(client: Client) -> None:
    """A cancellation by Temporal does not interrupt the compensation of a failed booking."""
    async with gated_shop(client, REFUND_PAYMENT) as (shop, gate):
        handle = await shop.start("unconfirmed-user")
        await shop.called("unconfirmed-user", REFUND_PAYMENT)
        await handle.cancel()
        gate.set()
        assert (await ending(handle))[0] == "canceled"
        assert shop.record("unconfirmed-user").charged == FARE
        assert shop.nothing_left("unconfirmed-user")


async def test_execution_timeout(client: Client) -> None:
    """A booking that exceeds its execution timeout is TimedOut, and is not compensated."""
    async with gated_shop(client, PROCESS_PAYMENT) as (shop, _gate):
        handle = await shop.start("ok-night", execution_timeout=timedelta(seconds=1))
        status, failure = await ending(handle)
        assert (status, type(failure)) == ("timed_out", exceptions.TimeoutError)
        assert shop.record("ok-night").calls[RELEASE_SEAT] == 0


async def test_worker_restart(client: Client) -> None:
    """A booking whose worker stops during a payment is completed by the next worker: charged once, not compensated."""
    async with gated_shop(client, PROCESS_PAYMENT) as (shop, gate):
        handle = await shop.start("ok-patient", replace(QUICK, max_attempts=0))
        await shop.called("ok-patient", PROCESS_PAYMENT)
    gate.set()
    async with simulated_worker(client, shop.services, task_queue=shop.task_queue):
        assert (await handle.result()).status == "CONFIRMED"
    record = shop.record("ok-patient")
    assert (record.balance, record.calls[REFUND_PAYMENT], record.calls[RELEASE_SEAT]) == (FARE, 0, 0)


async def test_replay(client: Client) -> None:
    """The history of every outcome replays without non-determinism."""
    users = ["ok", "soldout", "declined", "unreachable", "unconfirmed", "unlisted", "unnotified", "refundless"]
    async with gated_shop(client, ASSIGN_TO_MANIFEST) as (shop, gate):
        handles = [await shop.start(f"{user}-replayed") for user in users]
        signalled, canceled = [await shop.start(f"ok-{end}") for end in ("signalled", "canceled")]
        for user in ("ok-signalled", "ok-canceled"):
            await shop.called(user, ASSIGN_TO_MANIFEST)
        await signalled.signal(CANCEL_BOOKING, "changed plans")
        await canceled.cancel()
        gate.set()
        handles += [signalled, canceled]
        endings = [(await ending(handle))[0] for handle in handles]
        assert endings == ["completed"] * 7 + ["failed", "completed", "canceled"]
        replayer = Replayer(workflows=[BookRideWorkflow], namespace=client.namespace)
        for handle in handles:
            await replayer.replay_workflow(await handle.fetch_history())


async def test_defaults(shop: Shop) -> None:
    """Default timings are those of the guide: 1 minute per attempt, 5 attempts, retry intervals of 1 s to 30 s."""
    # The four fields of the guide's application.
    request = {"user_id": "ok-default", "bus_id": "bus-7", "segment": "segment-3", "fare": FARE}
    handle = await shop.client.start_workflow(
        "BookRideWorkflow", request, id=f"booking-{shop.task_queue}", task_queue=shop.task_queue
    )
    assert (await handle.result())["status"] == "CONFIRMED"
    scheduled = [
        event.activity_task_scheduled_event_attributes
        for event in (await handle.fetch_history()).events
        if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED
    ]
    assert [event.activity_type.name for event in scheduled] == [
        "reserveSeat",
        "processPayment",
        "confirmBooking",
        "assignToManifest",
        "sendBookingConfirmation",
    ]
    for event in scheduled:
        policy = event.retry_policy
        assert event.start_to_close_timeout.ToTimedelta() == timedelta(minutes=1)
        assert policy.initial_interval.ToTimedelta() == timedelta(seconds=1)
        assert policy.maximum_interval.ToTimedelta() == timedelta(seconds=30)
        assert (policy.backoff_coefficient, policy.maximum_attempts) == (2, 5)
    assert (TASK_QUEUE, TEMPORAL_NAMESPACE) == ("booking-tasks", "volteryde-dev")
    assert timedelta(minutes=30) == EXECUTION_TIMEOUT
