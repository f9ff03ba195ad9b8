"""Activities of the wallet top-up: the payment provider, wallets, invoices, receipts and approvals."""

from typing import Any, Final
from urllib.parse import quote

from temporalio import activity

from temporal_slo.reference.activities.service_client import ServiceClient
from temporal_slo.reference.workflows import wallet_messages as names
from temporal_slo.reference.workflows.wallet_messages import (
    ApprovalClosure,
    ApprovalRequest,
    ApprovalState,
    Credit,
    Document,
    PaymentIntent,
    PaystackTransaction,
    Refund,
)

_TRANSACTIONS: Final = "/api/v1/paystack/transactions"


class PaymentActivities:
    """The activities, each one request.

    Args:
        services: Client of the services.
    """

    def __init__(self, services: ServiceClient) -> None:
        self._services = services

    @activity.defn(name=names.INITIATE_PAYSTACK_PAYMENT)
    async def initiate_paystack_payment(self, intent: PaymentIntent) -> PaystackTransaction:
        """Create the payment at the provider, or return the existing one of this reference."""
        body = {"reference": intent.reference, "userId": intent.user_id, "amount": intent.amount}
        return _transaction(await self._services.post(_TRANSACTIONS, body))

    @activity.defn(name=names.CANCEL_PAYSTACK_PAYMENT)
    async def cancel_paystack_payment(self, reference: str) -> PaystackTransaction:
        """Cancel the payment unless the customer has paid; return which of the two is true."""
        return _transaction(await self._services.post(f"{_transaction_path(reference)}/cancel", {}))

    @activity.defn(name=names.REFUND_PAYSTACK_PAYMENT)
    async def refund_paystack_payment(self, refund: Refund) -> None:
        """Refund a transaction, and block its credit."""
        path = f"{_transaction_path(refund.reference)}/refund"
        await self._services.post(path, {"transactionId": refund.transaction_id})

    @activity.defn(name=names.CREDIT_WALLET)
    async def credit_wallet(self, credit: Credit) -> None:
        """Credit the wallet, once per transaction."""
        body = {
            "userId": credit.user_id,
            "amount": credit.amount,
            "transactionId": credit.transaction_id,
            "reference": credit.reference,
        }
        await self._services.post("/api/v1/wallets/credit", body)

    @activity.defn(name=names.GENERATE_INVOICE)
    async def generate_invoice(self, document: Document) -> None:
        """Generate the invoice of a transaction."""
        await self._services.post("/api/v1/invoices", _document(document))

    @activity.defn(name=names.SEND_RECEIPT_EMAIL)
    async def send_receipt_email(self, document: Document) -> None:
        """Send the receipt of a transaction."""
        await self._services.post("/api/v1/receipts", _document(document))

    @activity.defn(name=names.REQUEST_APPROVAL)
    async def request_approval(self, request: ApprovalRequest) -> ApprovalState:
        """Open an approval for the approvers to decide, or return the decision if it has been closed before."""
        body = {
            "workflowId": request.workflow_id,
            "userId": request.user_id,
            "asked": request.asked,
            "paid": request.paid,
            "reference": request.reference,
        }
        state = await self._services.post("/api/v1/approvals", body)
        return ApprovalState(state.get("decision"), state.get("approver") or "", state.get("reason") or "")

    @activity.defn(name=names.REMIND_APPROVER)
    async def remind_approver(self, workflow_id: str) -> None:
        """Remind the approvers of an open approval."""
        await self._services.post("/api/v1/approvals/remind", {"workflowId": workflow_id})

    @activity.defn(name=names.CLOSE_APPROVAL)
    async def close_approval(self, closure: ApprovalClosure) -> None:
        """Record the decision, so that the approval is no longer listed as open."""
        body = {
            "workflowId": closure.workflow_id,
            "decision": closure.decision,
            "approver": closure.approver,
            "reason": closure.reason,
        }
        await self._services.post("/api/v1/approvals/close", body)


def _transaction_path(reference: str) -> str:
    return f"{_TRANSACTIONS}/{quote(reference, safe='')}"


def _transaction(body: dict[str, Any]) -> PaystackTransaction:
    # Only a paid transaction has an amount paid and an ID; both may be absent or null otherwise.
    return PaystackTransaction(body["state"], body.get("paidAmount") or 0, body.get("transactionId") or "")


def _document(document: Document) -> dict[str, object]:
    return {"userId": document.user_id, "transactionId": document.transaction_id}
