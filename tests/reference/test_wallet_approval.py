import asyncio
from dataclasses import replace
from typing import Any

import pytest
from temporalio import exceptions
from temporalio.client import WorkflowUpdateFailedError, WorkflowUpdateStage

from temporal_slo.reference.workflows.wallet import WalletTopUpWorkflow
from temporal_slo.reference.workflows.wallet_messages import (
    ALREADY_DECIDED,
    CLOSE_APPROVAL,
    CREDIT_WALLET,
    DECIDE_TOP_UP,
    GENERATE_INVOICE,
    INITIATE_PAYSTACK_PAYMENT,
    NO_OPEN_APPROVAL,
    REFUND_PAYSTACK_PAYMENT,
    REMIND_APPROVER,
    REQUEST_APPROVAL,
    SEND_RECEIPT_EMAIL,
    Decision,
    TopUpResult,
    TopUpState,
)

from .recorded import Recorder
from .till import ASK, ASKED, CLOSE, CREDIT, INITIATE, REMIND, Books, Handle, Till, TopUp, cancel, ending

PAID = 1500
YES = Decision(approved=True, approver="ada", reason="fees of the bank")
NO = Decision(approved=False, approver="ada", reason="too little")
CREDITED = Books(paid=PAID, credited=PAID, refunded=0, unsettled=[], documents=(1, 1))
REFUNDED = Books(paid=PAID, credited=0, refunded=PAID, unsettled=[], documents=(0, 0))


async def other_amount(top_up: TopUp) -> Handle:
    """Start a top-up and pay another amount than it asks for."""
    handle = await top_up.start()
    await top_up.paid(PAID)
    return handle


async def decide(top_up: TopUp, decision: Decision) -> Decision:
    """Send the update to the newest run."""
    answer: Decision = await top_up.handle.execute_update(DECIDE_TOP_UP, decision, result_type=Decision)
    return answer


async def refusal(top_up: TopUp, decision: Decision) -> str | None:
    """Send an update that is refused, and return its failure type."""
    with pytest.raises(WorkflowUpdateFailedError) as raised:
        await decide(top_up, decision)
    assert isinstance(raised.value.cause, exceptions.ApplicationError)
    return raised.value.cause.type


def approval(top_up: TopUp) -> dict[str, Any]:
    """Return the approval that the services have on record."""
    query = "SELECT user_id, asked, paid, decision, approver, reason, reminders FROM approvals WHERE workflow_id = ?"
    (row,) = top_up.till.services.rows(query, top_up.request.reference)
    assert (row.pop("user_id"), row.pop("asked"), row.pop("paid")) == (top_up.request.user_id, ASKED, PAID)
    return row


async def test_approved(till: Till, recorded: Recorder) -> None:
    """Another amount is credited after an approver has approved it by an update, which returns the decision."""
    top_up = till.top_up()
    handle = await other_amount(top_up)
    await top_up.happened(ASK)
    assert await decide(top_up, YES) == YES
    # The update has returned: no approver sees the approval as open any more.
    assert approval(top_up) == {"decision": "approved", "approver": "ada", "reason": YES.reason, "reminders": 0}
    assert (await handle.result()).status == "CREDITED"
    assert top_up.books() == CREDITED
    decision = [REQUEST_APPROVAL, CLOSE_APPROVAL]
    assert await top_up.activities() == [
        INITIATE_PAYSTACK_PAYMENT, *decision, CREDIT_WALLET, GENERATE_INVOICE, SEND_RECEIPT_EMAIL,
    ]  # fmt: skip
    await recorded("wallet/approved", top_up.handle)


async def test_rejected(till: Till, recorded: Recorder) -> None:
    """A rejected amount is refunded."""
    top_up = till.top_up()
    handle = await other_amount(top_up)
    await top_up.happened(ASK)
    await decide(top_up, NO)
    result = await handle.result()
    assert (result.status, result.error) == ("REJECTED", "Paid 1500 instead of 1700: too little")
    assert top_up.books() == REFUNDED
    assert approval(top_up)["decision"] == "rejected"
    await recorded("wallet/rejected", top_up.handle)


@pytest.mark.parametrize(("decision", "books"), [(YES, CREDITED), (NO, REFUNDED)])
async def test_decided_by_signal(till: Till, decision: Decision, books: Books) -> None:
    """A signal decides like the update; a second one that contradicts it has no effect."""
    top_up = till.top_up()
    async with top_up.held(CLOSE):
        handle = await other_amount(top_up)
        await top_up.happened(ASK)
        await handle.signal(WalletTopUpWorkflow.top_up_decision, decision)
        await top_up.happened(CLOSE)
        await handle.signal(WalletTopUpWorkflow.top_up_decision, replace(decision, approved=not decision.approved))
        assert (await handle.query(WalletTopUpWorkflow.top_up_state)).decision == decision
    assert await top_up.settled() == books
    assert approval(top_up)["approver"] == "ada"


async def test_reminded_and_expired(till: Till, recorded: Recorder) -> None:
    """An approval is reminded of at the interval, and expires at the deadline: the payment is refunded."""
    top_up = till.top_up(approval_reminder=0.5, approval_deadline=2)
    result = await (await other_amount(top_up)).result()
    assert (result.status, result.error) == ("REJECTED", "Paid 1500 instead of 1700: no approver decided in time")
    assert top_up.books() == REFUNDED
    activities = await top_up.activities()
    # On a slow machine fewer fit before the deadline.
    reminders = activities.count(REMIND_APPROVER)
    steps = [INITIATE_PAYSTACK_PAYMENT, REQUEST_APPROVAL, *[REMIND_APPROVER] * reminders, CLOSE_APPROVAL]
    assert activities == [*steps, REFUND_PAYSTACK_PAYMENT]
    assert reminders in {1, 2, 3}
    assert (approval(top_up)["decision"], approval(top_up)["reminders"]) == ("expired", reminders)
    await recorded("wallet/reminded-and-expired", top_up.handle)


async def test_reminder_fails(till: Till) -> None:
    """A reminder that fails changes nothing: the approver can still decide."""
    top_up = till.top_up(approval_reminder=0.2)
    await top_up.fail(REMIND, "reject")
    await other_amount(top_up)
    await top_up.happened(REMIND)
    await decide(top_up, YES)
    assert await top_up.settled() == CREDITED


async def test_decision_without_approval(till: Till, recorded: Recorder) -> None:
    """A decision is refused while no approval is open, and as a signal it has no effect then."""
    top_up = till.top_up()
    handle = await top_up.start()
    await top_up.happened(INITIATE)
    assert await refusal(top_up, YES) == NO_OPEN_APPROVAL
    await handle.signal(WalletTopUpWorkflow.top_up_decision, YES)
    await top_up.paid(PAID)
    await top_up.happened(ASK)
    state = await handle.query(WalletTopUpWorkflow.top_up_state)
    assert (state.stage, state.decision) == ("WAITING_FOR_APPROVAL", None)
    await decide(top_up, NO)
    assert await top_up.settled() == REFUNDED
    await recorded("wallet/decision-without-approval", top_up.handle)


async def test_decision_after_the_deadline(till: Till) -> None:
    """A decision after the deadline is refused, even while the approval is being closed."""
    top_up = till.top_up(approval_deadline=0.2)
    async with top_up.held(CLOSE):
        await other_amount(top_up)
        await top_up.happened(CLOSE)
        assert await refusal(top_up, YES) == ALREADY_DECIDED
    assert await top_up.settled() == REFUNDED


async def test_decision_repeated(till: Till) -> None:
    """The same decision again gets the same answer; another one is refused."""
    top_up = till.top_up()
    async with top_up.held(CREDIT):
        await other_amount(top_up)
        await top_up.happened(ASK)
        assert list(await asyncio.gather(decide(top_up, YES), decide(top_up, YES))) == [YES, YES]
        await top_up.happened(CREDIT)
        assert await decide(top_up, YES) == YES
        assert await refusal(top_up, NO) == ALREADY_DECIDED
    assert await top_up.settled() == CREDITED


async def test_decided_before_the_response(till: Till) -> None:
    """A decision counts even if the request for it fails: an approver may have seen it all the same."""
    top_up = till.top_up()
    await top_up.fail(ASK, "reject")
    async with top_up.held(ASK):
        handle = await other_amount(top_up)
        await top_up.happened(ASK)
        await handle.start_update(DECIDE_TOP_UP, YES, wait_for_stage=WorkflowUpdateStage.ACCEPTED)
    assert await top_up.settled() == CREDITED


async def test_request_fails(till: Till, recorded: Recorder) -> None:
    """A payment of another amount that no approver can be asked about is refunded."""
    top_up = till.top_up()
    await top_up.fail(ASK, "reject")
    result = await (await other_amount(top_up)).result()
    assert (result.status, result.error) == ("FAILED", "approvals refused the call")
    assert top_up.books() == REFUNDED
    await recorded("wallet/approval-not-requested", top_up.handle)


async def test_closing_fails(till: Till) -> None:
    """A decision takes effect even if it cannot be recorded."""
    top_up = till.top_up()
    await top_up.fail(CLOSE, "outage")
    await other_amount(top_up)
    await top_up.happened(ASK)
    assert await decide(top_up, YES) == YES
    assert await top_up.settled() == CREDITED


@pytest.mark.parametrize("endpoint", [ASK, REMIND, CLOSE])
async def test_canceled_by_temporal(till: Till, endpoint: str) -> None:
    """A cancellation by Temporal at any time of the approval refunds the payment and closes the approval."""
    top_up = till.top_up(approval_reminder=0.2, approval_deadline=0.1 if endpoint == CLOSE else 600)
    async with top_up.held(endpoint):
        handle = await other_amount(top_up)
        await top_up.happened(endpoint)
        await cancel(handle)
    status, failure = await ending(handle)
    assert (status, type(failure)) == ("canceled", exceptions.CancelledError)
    assert top_up.books() == REFUNDED
    # If it was closed before its request took effect, the request is refused, and only the decision is on record.
    query = "SELECT decision FROM approvals WHERE workflow_id = ?"
    assert till.services.rows(query, top_up.request.reference) == [{"decision": "expired"}]


async def test_canceled_while_an_update_waits(till: Till, recorded: Recorder) -> None:
    """An update that waits for the approval to be closed is answered before a run that is cancelled closes."""
    top_up = till.top_up()
    async with top_up.held(CLOSE):
        handle = await other_amount(top_up)
        await top_up.happened(ASK)
        update = asyncio.create_task(decide(top_up, YES))
        await top_up.happened(CLOSE)
        await cancel(handle)
    assert await update == YES
    assert (await ending(handle))[0] == "canceled"
    assert top_up.books() == REFUNDED
    await recorded("wallet/canceled-with-update", top_up.handle)


async def test_decision_after_a_cancellation(till: Till) -> None:
    """A decision is refused once the run is being cancelled, though the approval is still listed as open."""
    top_up = till.top_up()
    handle = await other_amount(top_up)
    await top_up.happened(ASK)
    async with top_up.held(CLOSE):
        await cancel(handle)
        await top_up.happened(CLOSE)
        assert await refusal(top_up, YES) == ALREADY_DECIDED
    assert await top_up.settled() == REFUNDED


async def test_state(till: Till) -> None:
    """The query returns what the top-up is doing, also after the run has closed."""
    top_up = till.top_up()
    reference = top_up.request.reference
    handle = await top_up.start()
    await top_up.happened(INITIATE)
    state = await handle.query(WalletTopUpWorkflow.top_up_state)
    assert state in [TopUpState(stage, reference, ASKED) for stage in ("INITIATING", "WAITING_FOR_PAYMENT")]
    event = await top_up.paid(PAID)
    await top_up.happened(ASK)
    await decide(top_up, YES)
    assert await handle.result() == TopUpResult("CREDITED", event.transaction_id)
    closed = TopUpState("CLOSING", reference, ASKED, PAID, event.transaction_id, YES)
    assert await handle.query(WalletTopUpWorkflow.top_up_state) == closed
