"""Messages of the wallet top-up: input, result, signals, update and query, and what its activities take and return."""

from dataclasses import dataclass, field
from typing import Final, Literal

from temporal_slo.reference.workflows.timings import ActivityTimings

TASK_QUEUE: Final = "payment-tasks"

INITIATE_PAYSTACK_PAYMENT: Final = "initiatePaystackPayment"
CANCEL_PAYSTACK_PAYMENT: Final = "cancelPaystackPayment"
REFUND_PAYSTACK_PAYMENT: Final = "refundPaystackPayment"
CREDIT_WALLET: Final = "creditWallet"
GENERATE_INVOICE: Final = "generateInvoice"
SEND_RECEIPT_EMAIL: Final = "sendReceiptEmail"
REQUEST_APPROVAL: Final = "requestApproval"
REMIND_APPROVER: Final = "remindApprover"
CLOSE_APPROVAL: Final = "closeApproval"

PAYSTACK_WEBHOOK_RECEIVED: Final = "paystackWebhookReceived"
TOP_UP_DECISION: Final = "topUpDecision"
DECIDE_TOP_UP: Final = "decideTopUp"
TOP_UP_STATE: Final = "topUpState"

NO_OPEN_APPROVAL: Final = "NoOpenApproval"
"""Failure type of a decision on a top-up that waits for none."""
ALREADY_DECIDED: Final = "AlreadyDecided"
"""Failure type of a decision that contradicts an earlier one."""

Status = Literal["CREDITED", "FAILED", "EXPIRED", "DECLINED", "REJECTED", "REFUNDED"]
Stage = Literal["INITIATING", "WAITING_FOR_PAYMENT", "WAITING_FOR_APPROVAL", "CREDITING", "CLOSING"]
Approval = Literal["approved", "rejected", "expired"]

TIMINGS: Final = ActivityTimings(start_to_close=120.0, retry_initial=2.0, retry_maximum=60.0, max_attempts=3)
"""Default timeouts and retries of the activities."""


@dataclass(frozen=True)
class WalletTopUpRequest:
    """Input of the workflow. Amounts are in minor units, such as kobo.

    Attributes:
        user_id: Owner of the wallet.
        amount: Amount asked for.
        request_id: The caller's ID of this top-up; the reference at the payment provider is derived from it.
        payment_timeout: Seconds to wait for the payment.
        approval_reminder: Seconds between reminders of the approver.
        approval_deadline: Seconds until an approval that nobody decided expires.
        timings: Timeouts and retries of the activities.
    """

    user_id: str
    amount: int
    request_id: str
    payment_timeout: float = 600.0
    approval_reminder: float = 3600.0
    approval_deadline: float = 86400.0
    timings: ActivityTimings = field(default=TIMINGS)

    @property
    def reference(self) -> str:
        """Reference of the payment at the provider, and ID of the workflow."""
        return f"topup-{self.request_id}"


@dataclass(frozen=True)
class TopUpResult:
    """Result of the workflow.

    Attributes:
        status: How the top-up ended. `REFUNDED` if a payment arrived after the top-up was cancelled at the provider.
        transaction_id: Transaction that was credited or refunded; empty if nothing was paid.
        error: Reason why the wallet was not credited; None if it was.
    """

    status: Status
    transaction_id: str = ""
    error: str | None = None


@dataclass(frozen=True)
class PaymentWebhookEvent:
    """Signal `paystackWebhookReceived`: a payment of the customer succeeded or failed."""

    success: bool
    amount: int
    transaction_id: str


@dataclass(frozen=True)
class Decision:
    """Update `decideTopUp` and signal `topUpDecision`: an approver's decision on a payment of another amount."""

    approved: bool
    approver: str
    reason: str


@dataclass(frozen=True)
class TopUpState:
    """Answer of the query `topUpState`.

    Attributes:
        stage: What the top-up is doing.
        reference: Reference at the payment provider.
        asked: Amount asked for.
        paid: Amount paid; 0 if no payment is known.
        transaction_id: Transaction of the payment; empty if none is known.
        decision: Decision of an approver; None if there is none.
    """

    stage: Stage
    reference: str
    asked: int
    paid: int = 0
    transaction_id: str = ""
    decision: Decision | None = None


@dataclass(frozen=True)
class PaymentIntent:
    """Input of `initiatePaystackPayment`; idempotent by reference. `cancelPaystackPayment` takes only the reference."""

    reference: str
    user_id: str
    amount: int


@dataclass(frozen=True)
class PaystackTransaction:
    """State of a payment at the provider, returned by `initiatePaystackPayment` and `cancelPaystackPayment`.

    Attributes:
        state: `pending`, `paid` or `cancelled`.
        paid_amount: Amount paid; 0 unless paid.
        transaction_id: Empty unless paid.
    """

    state: str
    paid_amount: int = 0
    transaction_id: str = ""

    @property
    def paid(self) -> bool:
        """Whether the customer has paid."""
        return self.state == "paid"


@dataclass(frozen=True)
class Refund:
    """Input of `refundPaystackPayment`; idempotent by transaction."""

    reference: str
    transaction_id: str


@dataclass(frozen=True)
class Credit:
    """Input of `creditWallet`; idempotent by transaction."""

    user_id: str
    amount: int
    transaction_id: str
    reference: str


@dataclass(frozen=True)
class Document:
    """Input of `generateInvoice` and `sendReceiptEmail`."""

    user_id: str
    transaction_id: str


@dataclass(frozen=True)
class ApprovalRequest:
    """Input of `requestApproval`; `remindApprover` takes only the workflow ID."""

    workflow_id: str
    user_id: str
    asked: int
    paid: int
    reference: str


@dataclass(frozen=True)
class ApprovalState:
    """Result of `requestApproval`.

    Attributes:
        decision: Decision of an earlier run of the top-up; None if the approval is open.
        approver: Who decided; empty if nobody did.
        reason: Reason of the decision.
    """

    decision: Approval | None = None
    approver: str = ""
    reason: str = ""


@dataclass(frozen=True)
class ApprovalClosure:
    """Input of `closeApproval`."""

    workflow_id: str
    decision: Approval
    approver: str
    reason: str
