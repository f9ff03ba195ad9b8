from dataclasses import replace
from datetime import timedelta

import pytest
from temporalio import exceptions
from temporalio.api.enums.v1 import EventType

from temporal_slo.reference.workflows.failures import COMPENSATION_FAILED
from temporal_slo.reference.workflows.wallet_messages import (
    CANCEL_PAYSTACK_PAYMENT,
    CREDIT_WALLET,
    GENERATE_INVOICE,
    INITIATE_PAYSTACK_PAYMENT,
    SEND_RECEIPT_EMAIL,
    TASK_QUEUE,
    TopUpResult,
    WalletTopUpRequest,
)

from .recorded import Recorder
from .till import (
    ASKED,
    CANCEL,
    CREDIT,
    INITIATE,
    INVOICE,
    QUICK,
    RECEIPT,
    REFUND,
    Books,
    Handle,
    Till,
    cancel,
    ending,
)

STEPS = [INITIATE_PAYSTACK_PAYMENT, CREDIT_WALLET, GENERATE_INVOICE, SEND_RECEIPT_EMAIL]
CREDITED = Books(paid=ASKED, credited=ASKED, refunded=0, unsettled=[], documents=(1, 1))
REFUNDED = Books(paid=ASKED, credited=0, refunded=ASKED, unsettled=[], documents=(0, 0))
NOTHING = Books(paid=0, credited=0, refunded=0, unsettled=[], documents=(0, 0))


async def canceled(handle: Handle) -> bool:
    """Wait until a run has closed, and return whether it is Canceled."""
    status, failure = await ending(handle)
    return status == "canceled" and type(failure) is exceptions.CancelledError


async def test_credited(till: Till, recorded: Recorder) -> None:
    """A payment whose webhook arrives is credited once, with an invoice and a receipt, in the steps of the guide."""
    top_up = till.top_up()
    handle = await top_up.start()
    event = await top_up.paid()
    assert await handle.result() == TopUpResult("CREDITED", event.transaction_id)
    assert top_up.books() == CREDITED
    assert await top_up.activities() == STEPS
    assert STEPS == ["initiatePaystackPayment", "creditWallet", "generateInvoice", "sendReceiptEmail"]
    await recorded("wallet/credited", top_up.handle)


async def test_expired(till: Till, recorded: Recorder) -> None:
    """A payment that does not arrive in time is cancelled at the provider, exactly once."""
    top_up = till.top_up(payment_timeout=0.2)
    assert await (await top_up.start()).result() == TopUpResult("EXPIRED", error="Payment confirmation timeout")
    assert await top_up.activities() == [INITIATE_PAYSTACK_PAYMENT, CANCEL_PAYSTACK_PAYMENT]
    assert (await top_up.calls(CANCEL), top_up.books()) == (1, NOTHING)
    await recorded("wallet/expired", top_up.handle)


async def test_webhook_ends_the_wait(till: Till) -> None:
    """The webhook ends the wait at once: the timer of 10 minutes is cancelled, not waited for."""
    top_up = till.top_up()
    handle = await top_up.start()
    await top_up.paid()
    await handle.result()
    history = await handle.fetch_history()
    started, canceled = EventType.EVENT_TYPE_TIMER_STARTED, EventType.EVENT_TYPE_TIMER_CANCELED
    timers = [event for event in history.events if event.event_type in {started, canceled}]
    assert [event.event_type for event in timers] == [started, canceled]
    timeout = timers[0].timer_started_event_attributes.start_to_fire_timeout
    assert timeout.ToTimedelta() == timedelta(minutes=10)


async def test_paid_when_asked_to_cancel(till: Till, recorded: Recorder) -> None:
    """If the provider responds to the cancellation that the customer has paid, that payment is credited."""
    top_up = till.top_up(payment_timeout=0.2)
    async with top_up.held(CANCEL):
        handle = await top_up.start()
        await top_up.happened(CANCEL)
        event = await top_up.pay()
    assert await handle.result() == TopUpResult("CREDITED", event.transaction_id)
    assert top_up.books() == CREDITED
    assert await top_up.activities() == [STEPS[0], CANCEL_PAYSTACK_PAYMENT, *STEPS[1:]]
    await recorded("wallet/paid-when-cancelled", top_up.handle)


async def test_declined(till: Till, recorded: Recorder) -> None:
    """A payment that failed ends the top-up at once as DECLINED, and is cancelled at the provider exactly once."""
    top_up = till.top_up()
    handle = await top_up.start()
    await top_up.paid(success=False)
    assert await handle.result() == TopUpResult("DECLINED", error="Payment failed")
    assert await top_up.activities() == [INITIATE_PAYSTACK_PAYMENT, CANCEL_PAYSTACK_PAYMENT]
    assert top_up.books() == NOTHING
    await recorded("wallet/declined", top_up.handle)


async def test_declined_then_paid(till: Till) -> None:
    """A customer whose second attempt succeeds before the first one's failure is handled is credited."""
    top_up = till.top_up()
    async with top_up.held(CANCEL):
        handle = await top_up.start()
        await top_up.paid(success=False)
        await top_up.happened(CANCEL)
        await top_up.pay()
    assert (await handle.result()).status == "CREDITED"
    assert top_up.books() == CREDITED


async def test_initiation_refused(till: Till, recorded: Recorder) -> None:
    """If the payment cannot be initiated, it is cancelled, so that nobody can pay for a failed top-up."""
    top_up = till.top_up()
    await top_up.fail(INITIATE, "reject")
    assert await (await top_up.start()).result() == TopUpResult(
        "FAILED", error="paystack/transactions refused the call"
    )
    assert await top_up.activities() == [INITIATE_PAYSTACK_PAYMENT, CANCEL_PAYSTACK_PAYMENT]
    await recorded("wallet/initiation-refused", top_up.handle)


async def test_initiation_without_response(till: Till) -> None:
    """A payment that was initiated without a response, and paid, is refunded when the top-up fails."""
    top_up = till.top_up(timings=replace(QUICK, max_attempts=1))
    await top_up.fail(INITIATE, "no_response", seconds=30)
    async with top_up.held(CANCEL):
        handle = await top_up.start()
        await top_up.happened(INITIATE)
        await top_up.pay()
    assert (await handle.result()).status == "FAILED"
    assert top_up.books() == REFUNDED


async def test_credit_refused(till: Till, recorded: Recorder) -> None:
    """A payment that cannot be credited is refunded."""
    top_up = till.top_up()
    await top_up.fail(CREDIT, "reject")
    handle = await top_up.start()
    event = await top_up.paid()
    assert await handle.result() == TopUpResult("FAILED", event.transaction_id, "wallets/credit refused the call")
    assert top_up.books() == REFUNDED
    await recorded("wallet/credit-refused", top_up.handle)


async def test_credit_retried(till: Till) -> None:
    """A credit that fails once and succeeds when retried credits once."""
    top_up = till.top_up()
    await top_up.fail(CREDIT, "error", count=1)
    await top_up.start()
    await top_up.paid()
    assert await top_up.settled() == CREDITED
    assert await top_up.calls(CREDIT) == 2


async def test_credit_without_response(till: Till) -> None:
    """A credit that took effect without a response is taken back by the refund: never both."""
    top_up = till.top_up(timings=replace(QUICK, max_attempts=1))
    await top_up.fail(CREDIT, "no_response", seconds=30)
    handle = await top_up.start()
    await top_up.paid()
    assert (await handle.result()).status == "FAILED"
    assert top_up.books() == REFUNDED


async def test_refund_refused(till: Till, recorded: Recorder) -> None:
    """A top-up whose refund fails ends as Failed with CompensationFailed."""
    top_up = till.top_up()
    await top_up.fail(CREDIT, "reject")
    await top_up.fail(REFUND, "reject")
    handle = await top_up.start()
    event = await top_up.paid()
    status, failure = await ending(handle)
    assert status == "failed"
    assert isinstance(failure, exceptions.ApplicationError)
    assert (failure.type, failure.non_retryable) == (COMPENSATION_FAILED, True)
    assert failure.message.endswith(
        f"compensated only in part: refundPaystackPayment {event.transaction_id}: "
        "paystack/transactions/refund refused the call"
    )
    assert top_up.books().unsettled == [event.transaction_id]
    await recorded("wallet/refund-refused", top_up.handle)


async def test_cancellation_refused(till: Till, recorded: Recorder) -> None:
    """A payment that cannot be cancelled, so that it may still be paid, fails the run with CompensationFailed."""
    top_up = till.top_up(payment_timeout=0.2)
    await top_up.fail(CANCEL, "reject")
    status, failure = await ending(await top_up.start())
    assert (status, getattr(failure, "type", None)) == ("failed", COMPENSATION_FAILED)
    assert await top_up.activities() == [INITIATE_PAYSTACK_PAYMENT, CANCEL_PAYSTACK_PAYMENT]
    await recorded("wallet/cancellation-refused", top_up.handle)


async def test_paid_while_cancellation_fails(till: Till) -> None:
    """A webhook that arrives while the cancellation fails is as good as one in time: credited, no failure."""
    top_up = till.top_up(payment_timeout=0.2)
    await top_up.fail(CANCEL, "reject")
    async with top_up.held(CANCEL):
        handle = await top_up.start()
        await top_up.happened(CANCEL)
        await top_up.paid()
    assert (await handle.result()).status == "CREDITED"
    assert top_up.books() == CREDITED


@pytest.mark.parametrize(("endpoint", "documents"), [(INVOICE, (0, 1)), (RECEIPT, (1, 0))])
async def test_document_fails(till: Till, endpoint: str, documents: tuple[int, int]) -> None:
    """An invoice or a receipt that fails at every attempt does not undo the credit."""
    top_up = till.top_up()
    await top_up.fail(endpoint, "outage")
    handle = await top_up.start()
    await top_up.paid()
    assert (await handle.result()).status == "CREDITED"
    assert top_up.books() == replace(CREDITED, documents=documents)
    assert await top_up.calls(endpoint) == QUICK.max_attempts


@pytest.mark.parametrize("endpoint", [INITIATE, CANCEL, CREDIT, INVOICE, RECEIPT])
async def test_canceled_by_temporal(till: Till, endpoint: str) -> None:
    """A cancellation by Temporal during any step: the run is Canceled, and the payment is refunded or credited whole.

    The credit is the point of no return: once it has begun, it is completed, with its documents.
    """
    top_up = till.top_up(payment_timeout=0.5 if endpoint == CANCEL else 600)
    async with top_up.held(endpoint):
        handle = await top_up.start()
        if endpoint in {CREDIT, INVOICE, RECEIPT}:
            await top_up.paid()
        await top_up.happened(endpoint)
        await cancel(handle)
    assert await canceled(handle)
    assert top_up.books() == (CREDITED if endpoint in {CREDIT, INVOICE, RECEIPT} else NOTHING)
    assert await top_up.calls(CANCEL) == (1 if endpoint in {INITIATE, CANCEL} else 0)


async def test_canceled_while_waiting(till: Till) -> None:
    """A cancellation by Temporal during the wait cancels the payment; one that the customer has paid is refunded."""
    unpaid, paid = till.top_up(), till.top_up()
    for top_up in (unpaid, paid):
        handle = await top_up.start()
        await top_up.happened(INITIATE)
        if top_up is paid:
            await top_up.pay()
        await cancel(handle)
        assert await canceled(handle)
        assert await top_up.calls(CANCEL) == 1
    assert (unpaid.books(), paid.books()) == (NOTHING, REFUNDED)


async def test_canceled_before_the_first_task(till: Till, recorded: Recorder) -> None:
    """A run that is cancelled before its first task refunds the payment that its start reports."""
    elsewhere = replace(till, task_queue="no-worker-yet")
    top_up = elsewhere.top_up()
    await till.services.post("paystack/transactions", top_up.transaction, key=top_up.request.reference)
    handle = await top_up.start(await top_up.pay())
    await handle.cancel()
    async with elsewhere.worker():
        assert await canceled(handle)
    assert top_up.books() == REFUNDED
    await recorded("wallet/canceled-before-first-task", top_up.handle)


async def test_canceled_and_not_credited(till: Till, recorded: Recorder) -> None:
    """A credit that fails after the cancellation by Temporal is refunded, and the run is still Canceled."""
    top_up = till.top_up()
    await top_up.fail(CREDIT, "reject")
    async with top_up.held(CREDIT):
        handle = await top_up.start()
        await top_up.paid()
        await top_up.happened(CREDIT)
        await cancel(handle)
    assert await canceled(handle)
    assert top_up.books() == REFUNDED
    await recorded("wallet/canceled-not-credited", top_up.handle)


async def test_canceled_during_compensation(till: Till, recorded: Recorder) -> None:
    """A cancellation by Temporal does not interrupt a refund."""
    top_up = till.top_up()
    await top_up.fail(CREDIT, "reject")
    async with top_up.held(REFUND):
        handle = await top_up.start()
        await top_up.paid()
        await top_up.happened(REFUND)
        await cancel(handle)
    assert await canceled(handle)
    assert top_up.books() == REFUNDED
    await recorded("wallet/canceled-during-compensation", top_up.handle)


async def test_worker_restart(till: Till) -> None:
    """A webhook or a deadline that falls in a time without a worker takes effect when the next worker starts."""
    elsewhere = replace(till, task_queue=f"{till.task_queue}-restarted")
    paid, unpaid = elsewhere.top_up(), elsewhere.top_up(payment_timeout=0.5)
    async with elsewhere.worker():
        for top_up in (paid, unpaid):
            await top_up.start()
            await top_up.happened(INITIATE)
    await paid.notify(await paid.pay())
    async with elsewhere.worker():
        assert [(await top_up.handle.result()).status for top_up in (paid, unpaid)] == ["CREDITED", "EXPIRED"]
    assert (paid.books(), unpaid.books()) == (CREDITED, NOTHING)


async def test_defaults(till: Till) -> None:
    """Default timings are those of the guide: a wait of 10 minutes, 3 attempts of 2 minutes, intervals of 2 to 60 s."""
    top_up = till.top_up()
    request = {"user_id": top_up.request.user_id, "amount": ASKED, "request_id": top_up.request.request_id}
    handle = await till.client.start_workflow(
        "WalletTopUpWorkflow", request, id=top_up.request.reference, task_queue=till.task_queue
    )
    await top_up.paid()
    assert (await handle.result())["status"] == "CREDITED"
    events = (await handle.fetch_history()).events
    activity, timer = EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED, EventType.EVENT_TYPE_TIMER_STARTED
    for scheduled in [
        event.activity_task_scheduled_event_attributes for event in events if event.event_type == activity
    ]:
        policy = scheduled.retry_policy
        assert scheduled.start_to_close_timeout.ToTimedelta() == timedelta(minutes=2)
        assert policy.initial_interval.ToTimedelta() == timedelta(seconds=2)
        assert policy.maximum_interval.ToTimedelta() == timedelta(minutes=1)
        assert (policy.backoff_coefficient, policy.maximum_attempts) == (2, 3)
    (wait,) = [event.timer_started_event_attributes for event in events if event.event_type == timer]
    assert wait.start_to_fire_timeout.ToTimedelta() == timedelta(minutes=10)
    defaults = WalletTopUpRequest("", 0, "")
    assert (defaults.approval_reminder, defaults.approval_deadline) == (60 * 60, 24 * 60 * 60)
    assert TASK_QUEUE == "payment-tasks"
