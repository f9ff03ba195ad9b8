"""Paystack, wallets and approvals: business rules, compensations and races."""

import asyncio

import pytest

from tests.reference.services.steps import approval, credit, perform, refused, top_up
from tests.reference.services_process import ServicesUnderTest

PAID = ("paystack/transactions", "paystack/transactions/t1/pay")
ROUNDS = 15


async def test_transaction(services: ServicesUnderTest) -> None:
    """A transaction is pending until it is paid; the first successful payment is its payment."""
    pending = await services.post("paystack/transactions", top_up(), "k1")
    assert pending == {"reference": "t1", "state": "pending", "amount": 5000}
    failed = await services.pay("t1", 5000, success=False)
    data = {"id": "t1-trx-1", "reference": "t1", "amount": 5000, "status": "failed"}
    assert failed == {"event": "charge.failed", "data": data}
    assert (await services.get("paystack/transactions/t1"))["state"] == "pending"
    await services.pay("t1", 4000)
    await services.pay("t1", 5000)
    paid = {**pending, "state": "paid", "paidAmount": 4000, "transactionId": "t1-trx-2"}
    assert await services.post("paystack/transactions/t1/cancel", {}, "k2") == paid
    assert await services.get("paystack/transactions/t1") == {**paid, "userId": "bob-1", "settled": []}


async def test_cancelled(services: ServicesUnderTest) -> None:
    """A cancelled transaction cannot be paid, and stays cancelled when it is initiated again."""
    await services.post("paystack/transactions", top_up(), "k1")
    cancelled = {"reference": "t1", "state": "cancelled", "amount": 5000}
    assert await services.post("paystack/transactions/t1/cancel", {}, "k2") == cancelled
    assert await refused(services, "paystack/transactions/t1/pay", {"amount": 5000}, "k3")
    assert await services.post("paystack/transactions", top_up(), "k4") == cancelled


async def test_cancelled_first(services: ServicesUnderTest) -> None:
    """A cancellation that overtakes its initiation blocks the payment."""
    await services.post("paystack/transactions/t1/cancel", {}, "k1")
    assert (await services.post("paystack/transactions", top_up(), "k2"))["state"] == "cancelled"
    assert await services.get("paystack/transactions/t1") == {
        "reference": "t1",
        "state": "cancelled",
        "amount": 5000,
        "userId": "bob-1",
        "settled": [],
    }
    assert await refused(services, "paystack/transactions/t1/pay", {"amount": 5000}, "k3")


async def test_unknown_reference(services: ServicesUnderTest) -> None:
    """A reference that nobody initiated is neither found nor paid."""
    for response in (
        await services.http.get("/api/v1/paystack/transactions/t9"),
        await services.send("paystack/transactions/t9/pay", {"amount": 1}),
    ):
        assert (response.status_code, response.json()["detail"]) == (404, "no transaction has this reference")


async def test_refund_blocks_credit(services: ServicesUnderTest) -> None:
    """A refunded payment cannot be credited, whether Paystack knows it or not."""
    await perform(services, *PAID, "paystack/transactions/t1/refund")
    await services.post("paystack/transactions/t1/refund", {"transactionId": "forged-1"}, "k1")
    for transaction in ("t1-trx-1", "forged-1"):
        detail = await refused(services, "wallets/credit", credit(transaction), f"credit-{transaction}")
        assert detail == "the transaction was refunded"
    assert (await services.totals())["paystack"]["refunded"] == 5000


async def test_refund_takes_credit_back(services: ServicesUnderTest) -> None:
    """A refund after a credit takes the credit back: a user never has both."""
    await perform(services, *PAID, "wallets/credit")
    assert await services.get("wallets/bob-1") == {"userId": "bob-1", "balance": 5000}
    await perform(services, "paystack/transactions/t1/refund")
    assert await services.get("wallets/bob-1") == {"userId": "bob-1", "balance": 0}
    assert (await services.totals())["wallets"] == {
        "credits": 0,
        "credited": 0,
        "reversed": 5000,
        "invoices": 0,
        "receipts": 0,
    }


async def test_wrong_refund(services: ServicesUnderTest) -> None:
    """Neither a failed payment nor one of another reference can be refunded."""
    await services.post("paystack/transactions", top_up(), "k1")
    await services.pay("t1", 5000, success=False)
    await services.pay("t1", 5000)
    for reference, transaction in (("t1", "t1-trx-1"), ("t2", "t1-trx-2")):
        path = f"paystack/transactions/{reference}/refund"
        assert await refused(services, path, {"transactionId": transaction}, f"k-{reference}")


@pytest.mark.parametrize(
    "wrong", [{"amount": 5001}, {"reference": "t2"}, {"transactionId": "t1-trx-2"}], ids=lambda wrong: next(iter(wrong))
)
async def test_wrong_credit(services: ServicesUnderTest, wrong: dict[str, object]) -> None:
    """Only what was paid, successfully and for this reference, can be credited."""
    await perform(services, *PAID)
    await services.pay("t1", 5000, success=False)
    assert await refused(services, "wallets/credit", {**credit(), **wrong}, "k1")
    assert (await services.get("wallets/bob-1"))["balance"] == 0


async def test_balance(services: ServicesUnderTest) -> None:
    """A balance is the sum of the credits of one user."""
    for number, amount in enumerate((300, 70), 1):
        await services.post("wallets/credit", credit(f"other-{number}", amount=amount), f"k{number}")
    await services.post("wallets/credit", credit("other-3", user="cy-1", amount=1), "k3")
    assert (await services.get("wallets/bob-1"))["balance"] == 370


async def test_approvals(services: ServicesUnderTest) -> None:
    """Approvals are listed page by page, by state, with reminders and decision."""
    for number in range(5):
        await services.post("approvals", approval(f"w{number}"), f"open-{number}")
    await services.post("approvals/remind", {"workflowId": "w1"}, "k1")
    closure = {"workflowId": "w2", "decision": "approved", "approver": "Cy", "reason": "called"}
    await services.post("approvals/close", closure, "k2")
    first = await services.get("approvals?state=open&limit=3")
    rest = await services.get(f"approvals?state=open&limit=3&cursor={first['nextCursor']}")
    assert [a["workflowId"] for a in first["approvals"]] == ["w0", "w1", "w3"]
    assert ([a["workflowId"] for a in rest["approvals"]], "nextCursor" in rest) == (["w4"], False)
    assert [a["reminders"] for a in first["approvals"]] == [0, 1, 0]
    (closed,) = (await services.get("approvals?state=closed"))["approvals"]
    del closed["openedAt"]
    assert closed == {**approval("w2"), **closure, "state": "closed", "reminders": 0}


async def test_closed_approval(services: ServicesUnderTest) -> None:
    """A closed approval is not opened again: who asks for it again gets the decision. Nobody is reminded of it."""
    await services.post("approvals", approval(), "k1")
    closure = {"decision": "approved", "approver": "Cy", "reason": "called"}
    await services.post("approvals/close", {**closure, "workflowId": "t1"}, "k2")
    assert await services.post("approvals", approval(), "k3") == closure
    assert await refused(services, "approvals/remind", {"workflowId": "t1"}, "k4") == "the approval was closed"
    assert (await services.totals())["approvals"] == {"open": 0, "closed": 1}


async def test_approval_closed_first(services: ServicesUnderTest) -> None:
    """A closure that overtakes its request blocks it; an approval that nobody asked for has no reminders."""
    await services.post("approvals/close", {"workflowId": "t1", "decision": "expired"}, "k1")
    detail = await refused(services, "approvals", approval(), "k2")
    assert detail == "the approval was closed before it was requested"
    assert await refused(services, "approvals/remind", {"workflowId": "t2"}, "k3", 404)


async def test_pay_or_cancel(services: ServicesUnderTest) -> None:
    """Of a payment and a cancellation at the same time exactly one wins, and both callers see which."""
    for number in range(ROUNDS):
        reference = f"race-{number}"
        await services.post("paystack/transactions", top_up(reference), f"open-{number}")
        calls = [
            services.send(f"paystack/transactions/{reference}/pay", {"amount": 5000}),
            services.send(f"paystack/transactions/{reference}/cancel", {}, f"cancel-{number}"),
        ]
        order = (0, 1) if number % 2 else (1, 0)
        responses = await asyncio.gather(*(calls[index] for index in order))
        paid, cancelled = (responses[index] for index in order)
        state = (await services.get(f"paystack/transactions/{reference}"))["state"]
        assert (paid.is_success, cancelled.json()["state"]) == (state == "paid", state)


async def test_credit_and_refund_at_once(services: ServicesUnderTest) -> None:
    """Whatever the order of credits and refunds that arrive at once, nobody keeps both the money and the credit."""
    for number in range(ROUNDS):
        reference = f"r{number}"
        await services.post("paystack/transactions", top_up(reference), f"open-{number}")
        transaction = (await services.pay(reference, 5000))["data"]["id"]
        body = {**credit(transaction), "reference": reference}
        calls = [services.send("wallets/credit", body, f"credit-{number}-{attempt}") for attempt in range(3)]
        refund = {"transactionId": transaction}
        calls.insert(number % 4, services.send(f"paystack/transactions/{reference}/refund", refund, f"back-{number}"))
        await asyncio.gather(*calls)
    totals = await services.totals()
    assert (totals["paystack"]["refunded"], totals["wallets"]["credited"]) == (ROUNDS * 5000, 0)


async def test_credits_at_once(services: ServicesUnderTest) -> None:
    """A transaction that is credited many times at once is credited once."""
    await perform(services, *PAID)
    balances = await asyncio.gather(*(services.post("wallets/credit", credit(), f"k{n}") for n in range(20)))
    assert balances == [{"balance": 5000}] * 20
    assert (await services.totals())["wallets"]["credits"] == 1
