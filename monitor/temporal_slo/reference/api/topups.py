"""Wallet top-ups as workflows: how one starts, for requests of users and for late webhooks."""

from dataclasses import dataclass, field
from typing import Annotated, Final

from pydantic import Field

from temporal_slo.reference.api.temporal_service import Start
from temporal_slo.reference.api.wire import RequestId, digest
from temporal_slo.reference.web.wire import Amount, Request
from temporal_slo.reference.workflows.timings import ActivityTimings
from temporal_slo.reference.workflows.wallet_messages import TASK_QUEUE, TIMINGS, WalletTopUpRequest

WORKFLOW: Final = "WalletTopUpWorkflow"
ID_PREFIX: Final = "topup-"


class TopUpBody(Request):
    """A top-up to start."""

    request_id: RequestId
    amount: Annotated[Amount, Field(examples=[500_000])]


@dataclass(frozen=True)
class TopUps:
    """How top-ups start.

    Attributes:
        task_queue: Task queue of the payment workers.
        payment_timeout: Seconds to wait for the payment.
        approval_reminder: Seconds between reminders of the approver.
        approval_deadline: Seconds until an approval expires.
        timings: Timeouts and retries of the activities.
    """

    task_queue: str = TASK_QUEUE
    payment_timeout: float = 600.0
    approval_reminder: float = 3600.0
    approval_deadline: float = 86400.0
    timings: ActivityTimings = field(default=TIMINGS)

    def start(self, user_id: str, body: TopUpBody) -> Start:
        """Return the start of a top-up: the same for the same request, also if a webhook starts it again."""
        request = WalletTopUpRequest(
            user_id,
            body.amount,
            body.request_id,
            self.payment_timeout,
            self.approval_reminder,
            self.approval_deadline,
            self.timings,
        )
        # Without an execution timeout: an approval may take days, and a timeout does not refund.
        return Start(WORKFLOW, request, f"{ID_PREFIX}{body.request_id}", self.task_queue, digest(body, user_id))
