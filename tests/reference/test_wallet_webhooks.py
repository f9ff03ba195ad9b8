import asyncio
from dataclasses import replace

import pytest

from temporal_slo.reference.workflows.wallet import WalletTopUpWorkflow
from temporal_slo.reference.workflows.wallet_messages import DECIDE_TOP_UP, Decision, PaymentWebhookEvent
from temporal_slo.servers.process import until

from .recorded import Recorder
from .till import ASK, ASKED, CANCEL, CREDIT, INITIATE, INVOICE, QUICK, RECEIPT, REFUND, Books, Till, TopUp

LATE = PaymentWebhookEvent(success=True, amount=ASKED, transaction_id="late-1")
CREDITED = Books(paid=ASKED, credited=ASKED, refunded=0, unsettled=[], documents=(1, 1))


async def test_before_the_first_task(till: Till, recorded: Recorder) -> None:
    """A payment that the start of a run reports is credited once, though the provider reports it too."""
    top_up = till.top_up()
    await till.services.post("paystack/transactions", top_up.transaction, key=top_up.request.reference)
    await top_up.start(await top_up.pay())
    assert await top_up.settled() == CREDITED
    await recorded("wallet/webhook-before-first-task", top_up.handle)


async def test_late_for_a_cancelled_payment(till: Till, recorded: Recorder) -> None:
    """A webhook after the top-up has expired starts a run again, which refunds the payment."""
    top_up = till.top_up(payment_timeout=0.1)
    assert (await (await top_up.start()).result()).status == "EXPIRED"
    result = await (await top_up.start(LATE)).result()
    assert (result.status, result.transaction_id) == ("REFUNDED", "late-1")
    assert [call["userId"] for call in await till.services.calls(REFUND, top_up.request.user_id)]
    assert await till.services.get(f"wallets/{top_up.request.user_id}") == {
        "balance": 0, "userId": top_up.request.user_id,
    }  # fmt: skip
    await recorded("wallet/late-refunded", top_up.handle)


async def test_during_the_cancellation(till: Till, recorded: Recorder) -> None:
    """A webhook that arrives while the provider cancels the payment is refunded in the same run."""
    top_up = till.top_up(payment_timeout=0.1)
    async with top_up.held(CANCEL):
        handle = await top_up.start()
        await top_up.happened(CANCEL)
        await top_up.notify(LATE)
    assert (await handle.result()).status == "REFUNDED"
    assert await top_up.calls(REFUND) == 1
    await recorded("wallet/webhook-during-cancellation", top_up.handle)


async def test_late_and_twice(till: Till) -> None:
    """A webhook that arrives again after the run has closed credits nothing more, in a run of its own."""
    top_up = till.top_up()
    await top_up.start()
    event = await top_up.paid()
    assert await top_up.settled() == CREDITED
    assert (await (await top_up.start(event)).result()).status == "CREDITED"
    assert top_up.books() == CREDITED


async def test_second_payment_late(till: Till, recorded: Recorder) -> None:
    """A second payment after the run has closed is refunded; the first one stays credited."""
    top_up = till.top_up()
    await top_up.start()
    await top_up.paid()
    await top_up.settled()
    assert (await (await top_up.start(await top_up.pay(ASKED + 1))).result()).status == "CREDITED"
    assert top_up.books() == replace(CREDITED, paid=2 * ASKED + 1, refunded=ASKED + 1)
    await recorded("wallet/second-payment-late", top_up.handle)


@pytest.mark.parametrize(("approved", "status"), [(True, "CREDITED"), (False, "REJECTED")])
async def test_late_after_a_decision(till: Till, approved: bool, status: str) -> None:  # noqa: FBT001
    """A webhook that arrives again after an approver has decided asks nobody again, and changes nothing."""
    top_up = till.top_up()
    handle = await top_up.start()
    event = await top_up.paid(ASKED - 1)
    await top_up.happened(ASK)
    await handle.execute_update(DECIDE_TOP_UP, Decision(approved, "ada", "known"))
    books = await top_up.settled()
    assert (await (await top_up.start(event)).result()).status == status
    assert (top_up.books(), books.unsettled) == (books, [])


# What a run is doing when a webhook arrives: held at a call of an endpoint, or waiting for the payment.
WAITING = "waiting"
FIRST = ["start", INITIATE, WAITING, CANCEL]
UNHELD = {"start", WAITING, "closed"}
LATER = [CREDIT, INVOICE, RECEIPT, "closed"]
KINDS = ["same event", "second payment", "failed payment"]
PATIENT = replace(QUICK, max_attempts=5)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("first", FIRST)
async def test_every_order(till: Till, first: str, kind: str) -> None:
    """Whenever a payment's webhook arrives, and whenever another event follows it, each payment is settled once."""
    moments = [first, *([INITIATE] if first == "start" else []), *LATER]
    books = await asyncio.gather(*(two_events(till, first, second, kind) for second in moments))
    other = ASKED + 1 if kind == "second payment" else 0
    expected = replace(CREDITED, paid=ASKED + other, refunded=other)
    assert dict(zip(moments, books, strict=True)) == dict.fromkeys(moments, expected)


async def two_events(till: Till, first: str, second: str, kind: str) -> Books:
    """Run a top-up that gets an event at each of two moments, which may be the same."""
    top_up = till.top_up(timings=PATIENT, payment_timeout=0.5 if first == CANCEL else 600)
    await till.services.post("paystack/transactions", top_up.transaction, key=top_up.request.reference)
    for moment in {first, second} - UNHELD:
        await top_up.hold(moment)
    if first != "start":
        await top_up.start()
    await reach(top_up, first)
    event = await top_up.pay()
    await top_up.start(event)
    if second != first:
        if first not in UNHELD:
            await top_up.release(first)
        await reach(top_up, second)
    await top_up.start(await another(top_up, event, kind))
    if second not in UNHELD:
        await top_up.release(second)
    return await top_up.settled()


async def reach(top_up: TopUp, moment: str) -> None:
    """Wait until a top-up does what *moment* names."""
    if moment == WAITING:
        await until(lambda: waits(top_up), deadline=20, what="the wait")
    elif moment == "closed":
        await top_up.handle.result()
    elif moment == INITIATE:
        # The first call is that of the test.
        await top_up.till.services.called(INITIATE, top_up.request.user_id, times=2)
    elif moment != "start":
        await top_up.happened(moment)


async def waits(top_up: TopUp) -> bool:
    """Return whether a top-up waits for its payment."""
    return (await top_up.handle.query(WalletTopUpWorkflow.top_up_state)).stage == "WAITING_FOR_PAYMENT"


async def another(top_up: TopUp, event: PaymentWebhookEvent, kind: str) -> PaymentWebhookEvent:
    """Return the event that follows the first one."""
    if kind == "same event":
        return event
    return await top_up.pay(ASKED + 1, success=kind == "second payment")
