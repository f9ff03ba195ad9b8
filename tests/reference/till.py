"""A payment worker with its services, and the wallet top-ups of tests."""

import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from temporalio.api.enums.v1 import EventType
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowFailureError, WorkflowHandle
from temporalio.worker import Worker

from temporal_slo.reference.activities.service_client import ServiceClient
from temporal_slo.reference.workers.payment import payment_worker
from temporal_slo.reference.workflows.timings import ActivityTimings
from temporal_slo.reference.workflows.wallet import WalletTopUpWorkflow
from temporal_slo.reference.workflows.wallet_messages import (
    PAYSTACK_WEBHOOK_RECEIVED,
    PaymentWebhookEvent,
    TopUpResult,
    WalletTopUpRequest,
)
from temporal_slo.servers.process import until

from .services_process import ServicesUnderTest

ASKED = 1700
QUICK = ActivityTimings(start_to_close=20, retry_initial=0.05, retry_maximum=0.1, max_attempts=2)

INITIATE = "paystack/transactions"
CANCEL = "paystack/transactions/cancel"
REFUND = "paystack/transactions/refund"
CREDIT = "wallets/credit"
INVOICE = "invoices"
RECEIPT = "receipts"
ASK = "approvals"
REMIND = "approvals/remind"
CLOSE = "approvals/close"

EVENTS = (
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CANCEL_REQUESTED,
    EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED,
)

Handle = WorkflowHandle[WalletTopUpWorkflow, TopUpResult]


@dataclass(frozen=True)
class Books:
    """What the services have on record about a top-up; amounts in kobo.

    Attributes:
        paid: Sum of the successful payments.
        credited: Sum of the credits that were not taken back.
        refunded: Sum of the refunds.
        unsettled: Transactions that are neither credited nor refunded, or both.
        documents: Numbers of invoices and receipts.
    """

    paid: int
    credited: int
    refunded: int
    unsettled: Sequence[str]
    documents: tuple[int, int]


_SETTLEMENTS = """
    SELECT p.transaction_id, p.amount, c.amount AS credited, r.amount AS refunded FROM payments p
    LEFT JOIN credits c ON c.transaction_id = p.transaction_id AND NOT c.reversed
    LEFT JOIN refunds r ON r.transaction_id = p.transaction_id
    WHERE p.reference = ? AND p.success
"""
_DOCUMENTS = """
    SELECT (SELECT COUNT(*) FROM invoices WHERE user_id = ?1), (SELECT COUNT(*) FROM receipts WHERE user_id = ?1)
"""


@dataclass(frozen=True)
class Till:
    """A payment worker on a separate task queue, and its services."""

    client: Client
    services: ServicesUnderTest
    task_queue: str = field(default_factory=lambda: f"till-{uuid.uuid4().hex[:8]}")

    def top_up(self, amount: int = ASKED, timings: ActivityTimings = QUICK, **options: float) -> "TopUp":
        """Return a top-up of a user of its own, not started.

        Args:
            amount: Amount asked for.
            timings: Timeouts and retries of its activities.
            options: Deadlines, as fields of the request.
        """
        name = uuid.uuid4().hex[:12]
        return TopUp(self, WalletTopUpRequest(f"user-{name}", amount, name, timings=timings, **options))

    @asynccontextmanager
    async def worker(self) -> AsyncIterator[Worker]:
        """Run a worker inside the context."""
        async with (
            ServiceClient(self.services.url) as services,
            payment_worker(self.client, services, task_queue=self.task_queue, max_concurrent_activities=50) as worker,
        ):
            yield worker


@dataclass
class TopUp:
    """A top-up, its customer and its approver."""

    till: Till
    request: WalletTopUpRequest

    @property
    def transaction(self) -> dict[str, object]:
        """The request that initiates its payment."""
        request = self.request
        return {"reference": request.reference, "userId": request.user_id, "amount": request.amount}

    @property
    def handle(self) -> Handle:
        """The newest run."""
        return self.till.client.get_workflow_handle_for(WalletTopUpWorkflow.run, self.request.reference)

    async def start(self, event: PaymentWebhookEvent | None = None) -> Handle:
        """Start a run, or with an event signal-with-start, as webhooks do; return the handle of this run."""
        handle = await self.till.client.start_workflow(
            WalletTopUpWorkflow.run,
            self.request,
            id=self.request.reference,
            task_queue=self.till.task_queue,
            start_signal=PAYSTACK_WEBHOOK_RECEIVED if event else None,
            start_signal_args=[event] if event else [],
        )
        return self.till.client.get_workflow_handle_for(
            WalletTopUpWorkflow.run, handle.id, run_id=handle.first_execution_run_id
        )

    async def pay(self, amount: int | None = None, *, success: bool = True) -> PaymentWebhookEvent:
        """Pay as the customer, and return the event that the provider sends to the webhook."""
        paid = await self.till.services.pay(self.request.reference, amount or self.request.amount, success=success)
        data = paid["data"]
        return PaymentWebhookEvent(data["status"] == "success", data["amount"], data["id"])

    async def notify(self, event: PaymentWebhookEvent) -> None:
        """Send an event to the newest run."""
        await self.handle.signal(PAYSTACK_WEBHOOK_RECEIVED, event)

    async def paid(self, amount: int | None = None, *, success: bool = True) -> PaymentWebhookEvent:
        """Wait until the customer can pay, pay, and send the event to the newest run."""
        await self.happened(INITIATE)
        event = await self.pay(amount, success=success)
        await self.notify(event)
        return event

    async def happened(self, endpoint: str) -> None:
        """Wait until a call of an endpoint for this user was answered, or held back."""
        await self.till.services.called(endpoint, self.request.user_id)

    async def calls(self, endpoint: str) -> int:
        """Return the number of calls of an endpoint for this user."""
        return len(await self.till.services.calls(endpoint, self.request.user_id))

    async def fail(self, endpoint: str, kind: str, **options: object) -> None:
        """Make the calls of an endpoint for this user fail."""
        rule = {"endpoint": endpoint, "userPrefix": self.request.user_id, "kind": kind, **options}
        await self.till.services.put_fault(self._fault(endpoint, kind), **rule)

    async def hold(self, endpoint: str) -> None:
        """Make the next call of an endpoint wait before its effect."""
        await self.fail(endpoint, "latency", seconds=60, count=1)

    async def release(self, endpoint: str) -> None:
        """Let the call go on that `hold` made wait."""
        await self.till.services.delete_fault(self._fault(endpoint, "latency"))

    @asynccontextmanager
    async def held(self, endpoint: str) -> AsyncIterator[None]:
        """Hold the next call of an endpoint until the context ends."""
        await self.hold(endpoint)
        yield
        await self.release(endpoint)

    def _fault(self, endpoint: str, kind: str) -> str:
        return f"{kind}-{endpoint.replace('/', '-')}-{self.request.request_id}"

    async def settled(self) -> Books:
        """Wait for the end of the newest run, and return what the services have on record."""
        with suppress(WorkflowFailureError):
            await self.handle.result()
        return self.books()

    def books(self) -> Books:
        """Return what the services have on record."""
        rows = self._rows(_SETTLEMENTS, self.request.reference)
        return Books(
            paid=sum(amount for _, amount, _, _ in rows),
            credited=sum(credited or 0 for _, _, credited, _ in rows),
            refunded=sum(refunded or 0 for _, _, _, refunded in rows),
            unsettled=[id_ for id_, amount, credited, refunded in rows if (credited or 0) + (refunded or 0) != amount],
            documents=self._rows(_DOCUMENTS, self.request.user_id)[0],
        )

    def _rows(self, query: str, value: str) -> list[Any]:
        return [tuple(row.values()) for row in self.till.services.rows(query, value)]

    async def activities(self, handle: Handle | None = None) -> list[str]:
        """Return the activities of a run, by default the newest, in the order in which they were scheduled."""
        history = await (handle or self.handle).fetch_history()
        return [
            event.activity_task_scheduled_event_attributes.activity_type.name
            for event in history.events
            if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED
        ]


async def ending(handle: Handle) -> tuple[str, BaseException | None]:
    """Wait until a run has closed; return its status in Temporal, lower case, and its failure."""
    failure: BaseException | None = None
    try:
        await handle.result()
    except WorkflowFailureError as error:
        failure = error.cause
    status = (await handle.describe()).status or WorkflowExecutionStatus.RUNNING
    return status.name.lower(), failure


async def cancel(handle: Handle) -> None:
    """Request the cancellation of a run in Temporal, and wait until a workflow task has handled it."""
    await handle.cancel()

    async def handled() -> bool:
        types = [event.event_type for event in (await handle.fetch_history()).events]
        requested, completed = EVENTS
        # The server adds the request to the history only after the workflow task that is running.
        return requested in types and completed in types[types.index(requested) :]

    await until(handled, deadline=30, what="a workflow task after the request")
