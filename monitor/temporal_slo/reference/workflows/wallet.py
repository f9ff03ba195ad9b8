"""The wallet top-up: initiate a payment, wait for its webhook, have another amount approved, credit; or refund."""

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from datetime import timedelta
from typing import Any, Final, TypeVar

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError, is_cancelled_exception

from temporal_slo.reference.workflows import wallet_messages as names
from temporal_slo.reference.workflows.failures import compensation_failed, reason
from temporal_slo.reference.workflows.wallet_messages import (
    Approval,
    ApprovalClosure,
    ApprovalRequest,
    ApprovalState,
    Credit,
    Decision,
    Document,
    PaymentIntent,
    PaymentWebhookEvent,
    PaystackTransaction,
    Refund,
    Stage,
    Status,
    TopUpResult,
    TopUpState,
    WalletTopUpRequest,
)

T = TypeVar("T")

_NO_DECISION: Final = Decision(approved=False, approver="", reason="no approver decided in time")


class _NotCreditedError(Exception):
    """The top-up ended without a credit, and no activity before the credit failed."""

    def __init__(self, status: Status, reason: str) -> None:
        super().__init__(reason)
        self.status = status


@workflow.defn(name="WalletTopUpWorkflow")
class WalletTopUpWorkflow:
    """Tops up a wallet with what the customer paid, or gives every payment back.

    Before the run closes, each transaction that a webhook or the provider reported is credited or refunded, and at most
    one is credited. A top-up that ends without a credit completes with that *result*. The run is Canceled if its
    cancellation was requested in Temporal, and Failed only if a compensation failed.

    The credit is the point of no return: a cancellation that arrives during it or later neither interrupts nor undoes
    it. Before it, the compensation also covers steps that failed or timed out, because they may have taken effect.
    """

    @workflow.init
    def __init__(self, request: WalletTopUpRequest) -> None:
        self._request = request
        self._stage: Stage = "INITIATING"
        # State of the payment at the provider, as far as it is known; empty before the first step.
        self._payment_state = ""
        # Successful transactions with their amounts: the first is the payment of this top-up, others are refunded.
        self._paid: dict[str, int] = {}
        self._declined = False
        # Transactions that were credited, or whose refund was requested.
        self._settled: set[str] = set()
        self._approval_open = False
        self._decision: Decision | None = None
        self._failed: dict[str, ActivityError] = {}

    @workflow.signal(name=names.PAYSTACK_WEBHOOK_RECEIVED)
    def paystack_webhook_received(self, event: PaymentWebhookEvent) -> None:
        """Store a payment's event, which may arrive in any workflow task, before the first step, and repeatedly."""
        if event.success:
            self._paid.setdefault(event.transaction_id, event.amount)
        else:
            self._declined = True

    @workflow.update(name=names.DECIDE_TOP_UP)
    async def decide_top_up(self, decision: Decision) -> Decision:
        """Decide on a payment of another amount; returns once approvers no longer see the approval as open."""
        self._decision = decision
        await workflow.wait_condition(lambda: not self._approval_open)
        return self._decision

    @decide_top_up.validator
    def _validate_decision(self, decision: Decision) -> None:
        if self._decision == decision:
            return
        if self._decision is not None:
            raise ApplicationError(f"already decided: {self._decision.reason}", type=names.ALREADY_DECIDED)
        if not self._approval_open:
            raise ApplicationError("no approval is open", type=names.NO_OPEN_APPROVAL)

    @workflow.signal(name=names.TOP_UP_DECISION)
    def top_up_decision(self, decision: Decision) -> None:
        """Decide like the update, but without a response; a decision that the update would reject has no effect."""
        if self._approval_open and self._decision is None:
            self._decision = decision
        else:
            workflow.logger.warning("decision of %s ignored: no approval is open, or it is decided", decision.approver)

    @workflow.query(name=names.TOP_UP_STATE)
    def top_up_state(self) -> TopUpState:
        """Return what the top-up is doing."""
        transaction_id, paid = next(iter(self._paid.items()), ("", 0))
        request = self._request
        return TopUpState(self._stage, request.reference, request.amount, paid, transaction_id, self._decision)

    @workflow.run
    async def run(self, request: WalletTopUpRequest) -> TopUpResult:
        """Top up the wallet.

        Args:
            request: Amount to top up, with deadlines, timeouts and retries.
        """
        try:
            transaction_id = await self._top_up(request)
        except (ActivityError, _NotCreditedError, asyncio.CancelledError) as error:
            workflow.logger.info("wallet not credited: %s", reason(error))
            await _uninterrupted(self._settle())
            if is_cancelled_exception(error):
                # Cancellation requested in Temporal: re-raised, so that the run is Canceled.
                raise
            return self._not_credited(error)
        await _uninterrupted(self._settle())
        return TopUpResult("CREDITED", transaction_id)

    async def _top_up(self, request: WalletTopUpRequest) -> str:
        # Step 1: initiate the Paystack payment.
        self._payment_state = "pending"
        intent = PaymentIntent(request.reference, request.user_id, request.amount)
        self._learn(await self._call(names.INITIATE_PAYSTACK_PAYMENT, intent, PaystackTransaction))
        # Step 2: wait for the webhook; a person decides if another amount was paid.
        transaction_id, paid = await self._wait_for_payment()
        if paid != request.amount:
            await self._approve(paid)
        # Step 3: credit the wallet. Steps 4 and 5: generate the invoice, send the receipt.
        failure = await _uninterrupted(self._credit(Credit(request.user_id, paid, transaction_id, request.reference)))
        if failure:
            raise _NotCreditedError("FAILED", failure)
        return transaction_id

    async def _wait_for_payment(self) -> tuple[str, int]:
        """Return the payment's transaction and amount. A payment that fails or does not arrive is cancelled."""
        self._stage = "WAITING_FOR_PAYMENT"
        with suppress(TimeoutError):
            await workflow.wait_condition(
                lambda: bool(self._paid) or self._declined or self._payment_state != "pending",
                timeout=timedelta(seconds=self._request.payment_timeout),
            )
        await _uninterrupted(self._cancel_payment())
        # A payment that was cancelled, perhaps by an earlier run, is refunded even if its webhook arrives now.
        if self._paid and self._payment_state != "cancelled":
            return next(iter(self._paid.items()))
        if self._declined:
            raise _NotCreditedError("DECLINED", "Payment failed")
        raise _NotCreditedError("EXPIRED", "Payment confirmation timeout")

    async def _cancel_payment(self) -> None:
        """Cancel a pending payment, once. The provider may respond that the customer has paid meanwhile."""
        if self._paid or self._payment_state != "pending":
            return
        self._payment_state = "unknown"
        try:
            self._learn(await self._call(names.CANCEL_PAYSTACK_PAYMENT, self._request.reference, PaystackTransaction))
        except ActivityError as error:
            self._failed[names.CANCEL_PAYSTACK_PAYMENT] = error

    def _learn(self, transaction: PaystackTransaction) -> None:
        self._payment_state = transaction.state
        if transaction.state == "paid":
            # Before the transactions of webhooks: it may be the one that an earlier run credited.
            self._paid = {transaction.transaction_id: transaction.paid_amount} | self._paid

    async def _approve(self, paid: int) -> None:
        """Have a person decide on an amount that differs from the one asked for."""
        self._stage = "WAITING_FOR_APPROVAL"
        # Open from here on: an approver may decide before the response to the request arrives.
        self._approval_open = True
        await self._request_approval(paid)
        decision = await self._wait_for_decision()
        await self._close_approval()
        if not decision.approved:
            raise _NotCreditedError("REJECTED", f"Paid {paid} instead of {self._request.amount}: {decision.reason}")

    async def _request_approval(self, paid: int) -> None:
        request, workflow_id = self._request, workflow.info().workflow_id
        approval = ApprovalRequest(workflow_id, request.user_id, request.amount, paid, request.reference)
        try:
            state = await self._call(names.REQUEST_APPROVAL, approval, ApprovalState)
        except ActivityError as error:
            # It may have taken effect, and then a decision counts.
            if is_cancelled_exception(error) or self._decision is None:
                raise
        else:
            if state.decision:
                # Of an earlier run, which a late webhook repeats: what was decided must not be undone.
                self._decision = Decision(state.decision == "approved", state.approver, state.reason)
                self._approval_open = False

    async def _wait_for_decision(self) -> Decision:
        deadline = workflow.now() + timedelta(seconds=self._request.approval_deadline)
        reminder = timedelta(seconds=self._request.approval_reminder)
        while self._decision is None and (left := deadline - workflow.now()) > timedelta():
            try:
                await workflow.wait_condition(lambda: self._decision is not None, timeout=min(reminder, left))
            except TimeoutError:
                if reminder < left:
                    await self._attempt(names.REMIND_APPROVER, workflow.info().workflow_id)
        return self._decision or _NO_DECISION

    async def _close_approval(self) -> None:
        if not self._approval_open:
            return
        # Stored, so that from here on no other decision is accepted.
        self._decision = decision = self._decision or _NO_DECISION
        kind: Approval = "expired" if decision is _NO_DECISION else "approved" if decision.approved else "rejected"
        workflow_id = workflow.info().workflow_id
        closure = ApprovalClosure(workflow_id, kind, decision.approver, decision.reason)
        await self._attempt(names.CLOSE_APPROVAL, closure)
        self._approval_open = False

    async def _credit(self, credit: Credit) -> str | None:
        """Credit the wallet, and document it; return why the wallet could not be credited, None if it was."""
        self._stage = "CREDITING"
        try:
            await self._call(names.CREDIT_WALLET, credit, type(None))
        except ActivityError as error:
            return reason(error)
        self._settled.add(credit.transaction_id)
        document = Document(credit.user_id, credit.transaction_id)
        await self._attempt(names.GENERATE_INVOICE, document)
        await self._attempt(names.SEND_RECEIPT_EMAIL, document)
        return None

    async def _settle(self) -> None:
        """Leave nothing open: no payment, no approval, and no transaction that is neither credited nor refunded."""
        self._stage = "CLOSING"
        await self._cancel_payment()
        await self._close_approval()
        await workflow.wait_condition(workflow.all_handlers_finished)
        # Last, and until nothing is left: webhooks may report further transactions meanwhile. The server rejects the
        # completion of a run that has received a signal since, so no webhook is missed after this check either.
        while unsettled := [transaction_id for transaction_id in self._paid if transaction_id not in self._settled]:
            await self._refund(unsettled[0])
        if self._paid:
            # A payment that is known needs no cancellation.
            self._failed.pop(names.CANCEL_PAYSTACK_PAYMENT, None)
        if self._failed:
            raise compensation_failed(f"Top-up {self._request.reference}", self._failed)

    async def _refund(self, transaction_id: str) -> None:
        # Covers a credit whose response was lost: the refund takes it back.
        self._settled.add(transaction_id)
        try:
            refund = Refund(self._request.reference, transaction_id)
            await self._call(names.REFUND_PAYSTACK_PAYMENT, refund, type(None))
        except ActivityError as error:
            self._failed[f"{names.REFUND_PAYSTACK_PAYMENT} {transaction_id}"] = error

    def _not_credited(self, error: BaseException) -> TopUpResult:
        transaction_id = next(iter(self._paid), "")
        status: Status = error.status if isinstance(error, _NotCreditedError) else "FAILED"
        if transaction_id and status in {"EXPIRED", "DECLINED"}:
            return TopUpResult("REFUNDED", transaction_id, "Paid after the payment was cancelled")
        return TopUpResult(status, transaction_id, reason(error))

    async def _attempt(self, activity: str, argument: object) -> None:
        """Execute an activity whose failure changes nothing."""
        try:
            await self._call(activity, argument, type(None))
        except ActivityError as error:
            if is_cancelled_exception(error):
                raise
            workflow.logger.warning("%s failed, continuing without it: %s", activity, reason(error))

    async def _call(self, activity: str, argument: object, result_type: type[T]) -> T:
        timings = self._request.timings
        result: T = await workflow.execute_activity(
            activity,
            argument,
            result_type=result_type,
            start_to_close_timeout=timedelta(seconds=timings.start_to_close),
            retry_policy=timings.retry_policy(),
        )
        return result


async def _uninterrupted(work: Coroutine[Any, Any, T]) -> T:
    """Run *work* to its end, even if the run is cancelled in Temporal meanwhile; then raise the cancellation."""
    task = asyncio.create_task(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        # Temporal cancels a run only once, so this second wait is not interrupted.
        await task
        raise
