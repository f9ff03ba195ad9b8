import asyncio
import random
from pathlib import Path

import pytest
from temporalio.client import Client

from temporal_slo.reference.workflows.timings import ActivityTimings
from temporal_slo.reference.workflows.wallet_messages import DECIDE_TOP_UP, Decision
from temporal_slo.servers.process import until

from .services_process import running_services
from .till import ASK, ASKED, CANCEL, CREDIT, INITIATE, INVOICE, RECEIPT, REFUND, Till, TopUp, ending

ENDPOINTS = [INITIATE, CANCEL, REFUND, CREDIT, INVOICE, RECEIPT, ASK]
STUBBORN = ActivityTimings(start_to_close=20, retry_initial=0.05, retry_maximum=0.1, max_attempts=0)
CUSTOMERS = ["pays", "pays twice", "pays another amount", "is declined", "does not pay", "cancels"] * 4


@pytest.mark.parametrize("seed", [11, 47])
async def test_books_balance(client: Client, tmp_path: Path, seed: int) -> None:
    """While a fifth of all calls fail, whatever customers pay is credited or refunded, to the last kobo."""
    dice = random.Random(seed)  # noqa: S311 no secret
    async with running_services(tmp_path) as services:
        till = Till(client, services)
        for number, endpoint in enumerate(ENDPOINTS):
            await services.put_fault(f"fault-{number}", endpoint=endpoint, kind="error", rate=0.2, seed=seed + number)
        async with till.worker():
            plays = [play(till, customer, dice.random() < 0.5, dice.randrange(1, 500)) for customer in CUSTOMERS]
            await asyncio.gather(*plays)
        totals = await services.totals()
        assert totals["paystack"]["paid"] == totals["wallets"]["credited"] + totals["paystack"]["refunded"]
        assert totals["paystack"]["payments"] == totals["wallets"]["credits"] + totals["paystack"]["refunds"]
        assert totals["wallets"]["credits"] == totals["wallets"]["invoices"] == totals["wallets"]["receipts"]
        assert totals["approvals"]["open"] == 0
        assert totals["paystack"]["payments"] > 0 < totals["paystack"]["refunds"]


async def play(till: Till, customer: str, agrees: bool, difference: int) -> None:  # noqa: FBT001
    """Be one customer and, if need be, the approver."""
    patience = 0.5 if customer == "does not pay" else 600
    top_up = till.top_up(timings=STUBBORN, payment_timeout=patience)
    handle = await top_up.start()
    await until(lambda: can_pay(top_up), deadline=30, what="the transaction")
    if customer.startswith("pays"):
        event = await top_up.pay(ASKED - difference if customer == "pays another amount" else ASKED)
        second = await top_up.pay() if customer == "pays twice" else event
        await asyncio.gather(top_up.start(event), top_up.start(second))
    if customer == "pays another amount":
        await top_up.happened(ASK)
        await handle.execute_update(DECIDE_TOP_UP, Decision(agrees, "ada", "as the dice say"))
    if customer == "is declined":
        await top_up.start(await top_up.pay(success=False))
    if customer == "cancels":
        await handle.cancel()
    status, failure = await ending(handle)
    assert (status, failure is None) == (("canceled", False) if customer == "cancels" else ("completed", True))
    assert top_up.books().unsettled == []


async def can_pay(top_up: TopUp) -> bool:
    """Return whether the provider knows the transaction."""
    query = "SELECT 1 FROM transactions WHERE reference = ?"
    return bool(top_up.till.services.rows(query, top_up.request.reference))
