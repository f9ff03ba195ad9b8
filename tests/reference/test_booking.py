from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from temporalio import exceptions
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client

from temporal_slo.reference.workflows.booking import (
    CANCEL_BOOKING,
    EXECUTION_TIMEOUT,
    TASK_QUEUE,
    TEMPORAL_NAMESPACE,
    BookingResult,
)
from temporal_slo.reference.workflows.failures import COMPENSATION_FAILED
from temporal_slo.reference.workflows.fleet import BusService, BusServiceWorkflow, bus_service_id

from .recorded import Recorder
from .services_process import running_services
from .shop import (
    ADD,
    CHARGE,
    CONFIRM,
    CONFIRMED,
    FARE,
    NOTIFY,
    PATIENT,
    QUICK,
    REFUND,
    RELEASE,
    RESERVE,
    Record,
    Shop,
    ending,
    serving_bookings,
    serving_fleet,
)

STEPS = {
    RESERVE: "reserve-seat",
    CHARGE: "process-payment",
    CONFIRM: "confirm-booking",
    ADD: "assign-to-manifest",
    NOTIFY: "send-confirmation",
}
"""The steps in their order: endpoint, and name of the branch."""
ENDPOINTS = list(STEPS)
CANCELLED = BookingResult("", "CANCELLED", "Booking cancelled by user: changed plans")


def failed(reason: str) -> BookingResult:
    """The result of a booking that failed."""
    return BookingResult("", "FAILED", reason)


async def test_confirmed(shop: Shop, recorded: Recorder) -> None:
    """A booking without failures is charged, confirmed, added to the manifest and notified, each exactly once."""
    rider = shop.rider()
    handle = await rider.start()
    result = await handle.result()
    assert (result.status, result.error) == ("CONFIRMED", None)
    assert result.booking_id.startswith(f"{rider.user_id}-")
    assert rider.record() == CONFIRMED
    assert await rider.calls() == Counter(ENDPOINTS)
    await recorded("booking/confirmed", handle)


async def test_any_workflow_id(shop: Shop) -> None:
    """A workflow ID that no HTTP header could hold is no obstacle."""
    rider = shop.rider()
    handle = await rider.start(workflow_id=f"réservation n° 7\n{'x' * 600} {rider.user_id}")
    assert (await handle.result()).status == "CONFIRMED"
    assert rider.record() == CONFIRMED


@pytest.mark.parametrize("service_date", ["", "2035-03-01"])
async def test_service_date(shop: Shop, service_date: str) -> None:
    """A booking is on the manifest of its bus service; without a date, of the one of the next day."""
    tomorrow = datetime.now(UTC).date() + timedelta(days=1)
    bus = BusService(shop.bus, service_date or tomorrow.isoformat())
    result = await (await shop.rider().start(service_date=service_date)).result()
    service = shop.client.get_workflow_handle(bus_service_id(bus))
    assert result.booking_id in (await service.query(BusServiceWorkflow.manifest)).bookings
    on_manifest = "SELECT service_date FROM manifest_bookings WHERE booking_id = ?"
    assert shop.services.rows(on_manifest, result.booking_id) == [{"service_date": bus.service_date}]


async def test_declined(shop: Shop, recorded: Recorder) -> None:
    """A declined payment is a result: it is not retried, the seat is released, and no refund is requested."""
    rider = shop.rider()
    async with rider.failing(CHARGE, "decline"):
        handle = await rider.start()
        assert await handle.result() == failed("card declined")
    assert rider.record() == Record(released=1)
    assert await rider.calls() == Counter([RESERVE, CHARGE, RELEASE])
    await recorded("booking/declined", handle)


async def test_sold_out(shop: Shop, recorded: Recorder) -> None:
    """A refused reservation fails the booking before any payment."""
    rider = shop.rider()
    async with rider.failing(RESERVE, "reject"):
        handle = await rider.start()
        assert await handle.result() == failed("seats/reserve refused the call")
    assert await rider.calls() == Counter([RESERVE, RELEASE])
    await recorded("booking/sold-out", handle)


async def test_payment_unavailable(shop: Shop, recorded: Recorder) -> None:
    """Payment is retried while its service is down; after the last attempt a refund is requested."""
    rider = shop.rider()
    async with rider.failing(CHARGE, "outage"):
        handle = await rider.start()
        assert await handle.result() == failed("payments/charge is down")
    assert rider.record().nothing_left
    calls = await rider.calls()
    assert (calls[CHARGE], calls[REFUND]) == (QUICK.max_attempts, 1)
    await recorded("booking/payment-unavailable", handle)


async def test_payment_retried(shop: Shop, recorded: Recorder) -> None:
    """A payment call that fails once and succeeds when retried charges once."""
    rider = shop.rider()
    async with rider.failing(CHARGE, "error", count=1):
        handle = await rider.start()
        assert (await handle.result()).status == "CONFIRMED"
    assert (await rider.calls())[CHARGE] == 2
    assert rider.record() == CONFIRMED
    await recorded("booking/payment-retried", handle)


async def test_response_lost(shop: Shop) -> None:
    """A charge whose response was lost is retried, gets the stored response, and is charged once."""
    rider = shop.rider()
    async with rider.failing(CHARGE, "no_response", seconds=600, count=1):
        handle = await rider.start(replace(QUICK, start_to_close=1))
        assert (await handle.result()).status == "CONFIRMED"
    assert [call["attempt"] for call in await shop.services.calls(CHARGE, rider.user_id)] == [1, 2]
    assert rider.record() == CONFIRMED


async def test_payment_timed_out(shop: Shop, recorded: Recorder) -> None:
    """A payment attempt that timed out may have charged: the charge is refunded."""
    rider = shop.rider()
    async with rider.failing(CHARGE, "no_response", seconds=600):
        handle = await rider.start(replace(QUICK, start_to_close=1, max_attempts=1))
        assert await handle.result() == failed("activity StartToClose timeout")
    assert rider.record() == Record(released=1, charged=FARE, refunded=FARE)
    await recorded("booking/payment-timed-out", handle)


async def test_unconfirmed(shop: Shop, recorded: Recorder) -> None:
    """If the confirmation fails, the charge is refunded and the seat released."""
    rider = shop.rider()
    async with rider.failing(CONFIRM, "reject"):
        handle = await rider.start()
        assert await handle.result() == failed("bookings/confirm refused the call")
    assert rider.record() == Record(released=1, charged=FARE, refunded=FARE)
    assert await rider.calls() == Counter([RESERVE, CHARGE, CONFIRM, REFUND, RELEASE])
    await recorded("booking/unconfirmed", handle)


async def test_manifest_refused(shop: Shop, recorded: Recorder) -> None:
    """A booking that the manifest refuses is compensated, and no notification was sent."""
    rider = shop.rider()
    async with rider.failing(ADD, "reject"):
        handle = await rider.start()
        assert await handle.result() == failed("manifests/add-booking refused the call")
    assert rider.record() == Record(released=1, charged=FARE, refunded=FARE)
    assert (await rider.calls())[ADD] == 1
    await recorded("booking/manifest-refused", handle)


@pytest.mark.parametrize(("arrives_in", "reason"), [(-1, "has arrived"), (24, "is sealed")])
async def test_departed(shop: Shop, arrives_in: int, reason: str) -> None:
    """A booking for a bus that has departed, or has arrived, is refused and compensated."""
    bus = BusService(shop.bus, f"2020-01-{arrives_in + 2:02}")
    await shop.set_timetable(bus, departs_in=timedelta(hours=-2), arrives_in=timedelta(hours=arrives_in))
    # The first booking starts the bus service.
    first, second = shop.rider(), shop.rider()
    assert (await (await first.start(service_date=bus.service_date)).result()).status == "FAILED"
    if reason == "has arrived":
        await shop.client.get_workflow_handle(bus_service_id(bus)).result()
    result = await (await second.start(service_date=bus.service_date)).result()
    assert result.status == "FAILED"
    assert reason in (result.error or "")
    for rider in (first, second):
        assert rider.record() == Record(released=1, charged=FARE, refunded=FARE)


async def test_notification_failed(shop: Shop, recorded: Recorder) -> None:
    """A booking whose notification fails stays confirmed, and completes only after every attempt to send it."""
    rider = shop.rider()
    async with rider.failing(NOTIFY, "outage"):
        handle = await rider.start()
        assert (await handle.result()).status == "CONFIRMED"
    assert rider.record() == replace(CONFIRMED, notifications=0)
    assert (await rider.calls())[NOTIFY] == QUICK.max_attempts
    await recorded("booking/notification-failed", handle)


async def test_refund_refused(shop: Shop, recorded: Recorder) -> None:
    """A booking whose refund fails ends as Failed with CompensationFailed; its seat is still released."""
    rider = shop.rider()
    async with rider.failing(CONFIRM, "reject"), rider.failing(REFUND, "reject"):
        handle = await rider.start()
        status, failure = await ending(handle)
    assert status == "failed"
    assert isinstance(failure, exceptions.ApplicationError)
    assert (failure.type, failure.non_retryable) == (COMPENSATION_FAILED, True)
    assert failure.message.endswith("was compensated only in part: refundPayment: payments/refund refused the call")
    assert rider.record() == Record(released=1, charged=FARE)
    await recorded("booking/refund-refused", handle)


async def test_cancelled_with_start(shop: Shop, recorded: Recorder) -> None:
    """A cancellation before the first step leaves nothing to compensate."""
    rider = shop.rider()
    handle = await rider.start(signal=CANCEL_BOOKING)
    assert await handle.result() == CANCELLED
    assert await rider.calls() == Counter()
    await recorded("booking/cancelled-with-start", handle)


@pytest.mark.parametrize("step", STEPS)
async def test_cancelled_by_user(shop: Shop, recorded: Recorder, step: str) -> None:
    """A cancellation by the user during any step takes effect after it: all is compensated, the run is Completed."""
    rider = shop.rider()
    async with rider.held_up(step):
        handle = await rider.start(PATIENT)
        await rider.called(step)
        await handle.signal(CANCEL_BOOKING, "changed plans")
    assert await handle.result() == CANCELLED
    paid = 0 if step == RESERVE else FARE
    notified = int(step == NOTIFY)
    assert rider.record() == Record(released=1, charged=paid, refunded=paid, notifications=notified)
    assert not {*ENDPOINTS[ENDPOINTS.index(step) + 1 :]} & set(await rider.calls())
    await recorded(f"booking/cancelled-by-user-during-{STEPS[step]}", handle)


@pytest.mark.parametrize("step", STEPS)
async def test_canceled_by_temporal(shop: Shop, recorded: Recorder, step: str) -> None:
    """A cancellation by Temporal during any step compensates all steps, even the one that takes effect afterwards."""
    rider = shop.rider()
    async with rider.held_up(step):
        handle = await rider.start(PATIENT)
        await rider.called(step)
        await handle.cancel()
        status, failure = await ending(handle)
    await rider.settled(step)
    assert (status, type(failure)) == ("canceled", exceptions.CancelledError)
    assert rider.record().nothing_left
    assert rider.record().released
    assert (await rider.calls())[REFUND] == (0 if step == RESERVE else 1)
    await recorded(f"booking/canceled-by-temporal-during-{STEPS[step]}", handle)


async def test_canceled_during_compensation(shop: Shop, recorded: Recorder) -> None:
    """A cancellation by Temporal does not interrupt the compensation of a failed booking."""
    rider = shop.rider()
    async with rider.failing(CONFIRM, "reject"):
        async with rider.held_up(REFUND):
            handle = await rider.start(PATIENT)
            await rider.called(REFUND)
            await handle.cancel()
        assert (await ending(handle))[0] == "canceled"
    assert rider.record() == Record(released=1, charged=FARE, refunded=FARE)
    await recorded("booking/canceled-during-compensation", handle)


async def test_execution_timeout(shop: Shop, recorded: Recorder) -> None:
    """A booking that exceeds its execution timeout is TimedOut, and is not compensated."""
    rider = shop.rider()
    async with rider.held_up(CHARGE):
        handle = await rider.start(execution_timeout=timedelta(seconds=2))
        status, failure = await ending(handle)
    assert (status, type(failure)) == ("timed_out", exceptions.TimeoutError)
    assert (await rider.calls())[RELEASE] == 0
    await recorded("booking/execution-timeout", handle)


async def test_worker_restart(client: Client, tmp_path: Path, recorded: Recorder) -> None:
    """A booking whose worker dies during a payment is completed by the next worker: charged once, not compensated."""
    async with running_services(tmp_path) as services:
        shop = Shop(client, services)
        rider = shop.rider()
        async with serving_fleet(shop):
            async with rider.held_up(CHARGE), serving_bookings(shop):
                handle = await rider.start(replace(PATIENT, max_attempts=0))
                await rider.called(CHARGE)
            async with serving_bookings(shop):
                assert (await handle.result()).status == "CONFIRMED"
        assert rider.record() == CONFIRMED
        assert not {REFUND, RELEASE} & set(await rider.calls())
        await recorded("booking/worker-restart", handle)


async def test_defaults(shop: Shop) -> None:
    """Default timings are those of the guide: 1 minute per attempt, 5 attempts, retry intervals of 1 s to 30 s."""
    # The four fields of the guide's application.
    request = {"user_id": "user-default", "bus_id": shop.bus, "segment": "segment-3", "fare": FARE}
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
