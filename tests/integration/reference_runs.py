"""Bookings and top-ups that stop at one of their steps, so that a process can be killed just then."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

from temporalio.client import Client, WorkflowFailureError, WorkflowUpdateStage
from temporalio.exceptions import CancelledError
from temporalio.service import RPCError, RPCStatusCode

from temporal_slo.reference.workflows import booking, wallet_messages
from temporal_slo.reference.workflows.booking import BookingRequest, BookRideWorkflow
from temporal_slo.reference.workflows.booking_steps import (
    ASSIGN_TO_MANIFEST,
    CONFIRM_BOOKING,
    PROCESS_PAYMENT,
    REFUND_PAYMENT,
    RELEASE_SEAT,
    RESERVE_SEAT,
    SEND_BOOKING_CONFIRMATION,
)
from temporal_slo.reference.workflows.timings import ActivityTimings
from temporal_slo.reference.workflows.wallet import WalletTopUpWorkflow
from temporal_slo.reference.workflows.wallet_messages import (
    CANCEL_PAYSTACK_PAYMENT,
    CLOSE_APPROVAL,
    CREDIT_WALLET,
    GENERATE_INVOICE,
    INITIATE_PAYSTACK_PAYMENT,
    REFUND_PAYSTACK_PAYMENT,
    REMIND_APPROVER,
    REQUEST_APPROVAL,
    SEND_RECEIPT_EMAIL,
    Decision,
    PaymentWebhookEvent,
    WalletTopUpRequest,
)
from temporal_slo.servers.process import until
from tests.reference.services_process import ServicesUnderTest

ENDPOINTS: Final[Mapping[str, str]] = {
    RESERVE_SEAT: "seats/reserve",
    RELEASE_SEAT: "seats/release",
    PROCESS_PAYMENT: "payments/charge",
    REFUND_PAYMENT: "payments/refund",
    CONFIRM_BOOKING: "bookings/confirm",
    # Called by the workflow of the bus, which the step updates.
    ASSIGN_TO_MANIFEST: "manifests/add-booking",
    SEND_BOOKING_CONFIRMATION: "notifications/send",
    INITIATE_PAYSTACK_PAYMENT: "paystack/transactions",
    CANCEL_PAYSTACK_PAYMENT: "paystack/transactions/cancel",
    REFUND_PAYSTACK_PAYMENT: "paystack/transactions/refund",
    CREDIT_WALLET: "wallets/credit",
    GENERATE_INVOICE: "invoices",
    SEND_RECEIPT_EMAIL: "receipts",
    REQUEST_APPROVAL: "approvals",
    REMIND_APPROVER: "approvals/remind",
    CLOSE_APPROVAL: "approvals/close",
}
"""The endpoint that each step of a booking or a top-up calls."""

BEFORE, AFTER = "latency", "no_response"
"""Where a step stops: before its effect, or after its effect and before the response. These are kinds of faults."""
HOLD: Final = 600.0
DEADLINE: Final = 120.0
TASK_TIMEOUT: Final = timedelta(seconds=2)
# An attempt that a kill ended is repeated after its timeout; without a limit, so that every failure is intended.
TIMINGS: Final = ActivityTimings(
    start_to_close=3, retry_initial=0.05, retry_maximum=0.5, retry_backoff=2, max_attempts=0
)
# With a limit, which neither one kill of a worker nor a slow machine reaches, but perhaps a restart of the services.
IMPATIENT: Final = ActivityTimings(start_to_close=6, retry_initial=0.5, retry_backoff=1, max_attempts=3)
SERVICE_DATE: Final = "2031-05-06"
FARE: Final = 1750
CANCELED: Final = "canceled in Temporal"

Act = Callable[[Any], Awaitable[None]]
"""What the customer or the approver of a run does."""


@dataclass(frozen=True)
class Story:
    """A course of a booking or of a top-up.

    Attributes:
        name: Its name.
        ends: Status of the result, or CANCELED.
        steps: Steps at which it can stop.
        stops: BEFORE, AFTER or both.
        acts: What happens on the way: each after its step has taken effect, and while the run goes on.
        at_stop: What happens after the stop was reached, just before the kill.
        faults: Kinds of faults by step.
        gate: Step before whose effect the run waits for an act that opens the gate.
        lasts: Whether the stop lasts until the run has closed.
        stops_late: Whether an act sets the stop.
        keeps: Whether money and seat, or the credit, are kept at the end.
        timings: Timeouts and retries of the activities.
        payment_timeout: As in the request of a top-up.
        approval_deadline: As in the request of a top-up.
    """

    name: str
    ends: str
    steps: Sequence[str]
    stops: Sequence[str] = (BEFORE, AFTER)
    acts: Sequence[tuple[str, Act]] = ()
    at_stop: Act | None = None
    faults: Mapping[str, str] = field(default_factory=dict)
    gate: str | None = None
    lasts: bool = False
    stops_late: bool = False
    keeps: bool = False
    timings: ActivityTimings = TIMINGS
    payment_timeout: float = 600.0
    approval_deadline: float = 600.0


@dataclass(frozen=True)
class Stop:
    """A story, the step at which it stops, and where: BEFORE or AFTER."""

    story: Story
    step: str
    where: str


@dataclass
class Run:
    """A workflow that follows a story.

    Attributes:
        user: User of the services that no other run has; not a prefix of another one.
        number: Makes amounts differ.
        ending: How it ended, as `Story.ends`; empty while it runs.
        result: Result of the workflow; None if it has none.
    """

    client: Client
    services: ServicesUnderTest
    stop: Stop
    user: str
    number: int
    ending: str = ""
    result: Any = None

    async def reach(self) -> None:
        """Start, and go on to the stop; what must wait for the step of the stop is left for `finish`."""
        story = self.stop.story
        for step, kind in story.faults.items():
            await self._put("fault", ENDPOINTS[step], kind)
        if story.gate:
            await self._put("gate", ENDPOINTS[story.gate], BEFORE)
        if not story.stops_late:
            await self.set_stop()
        await self.start()
        for _, act in self._acts(later=False):
            await act(self)
        await self.reached("stop")

    async def at_stop(self) -> None:
        """Do what happens just before the kill."""
        if self.stop.story.at_stop:
            await self.stop.story.at_stop(self)

    async def finish(self) -> None:
        """Go on from the stop to the end."""
        if self.stop.story.lasts:
            self.ending = await self.end()
            await self.delete("stop")
            return
        await self.delete("stop")
        for _, act in self._acts(later=True):
            await act(self)
        self.ending = await self.end()

    def _acts(self, *, later: bool) -> Sequence[tuple[str, Act]]:
        story = self.stop.story
        steps = [step for step, _ in story.acts]
        # What happens after the step of the stop, happens after the stop.
        cut = steps.index(self.stop.step) if self.stop.step in steps and not story.stops_late else len(steps)
        return story.acts[cut:] if later else story.acts[:cut]

    async def set_stop(self) -> None:
        """Stop at the next call of the step's endpoint."""
        await self._put("stop", ENDPOINTS[self.stop.step], self.stop.where)

    async def reached(self, name: str) -> None:
        """Wait until a stop or a gate holds a call back."""
        await self.recorded("SELECT 1 FROM faults WHERE injected AND name = ?", f"{self.user}-{name}")

    async def recorded(self, query: str, value: str) -> None:
        """Wait until a query of the books finds something."""

        async def found() -> bool:
            return bool(self.services.rows(query, value))

        await until(found, deadline=DEADLINE, what=f"{self.user}, {self.stop}: {query}")

    async def delete(self, name: str) -> None:
        """End a stop or open a gate."""
        await self.services.delete_fault(f"{self.user}-{name}")

    async def _put(self, name: str, endpoint: str, kind: str) -> None:
        rule: dict[str, Any] = {"endpoint": endpoint, "userPrefix": self.user, "kind": kind}
        seconds = {"seconds": HOLD} if kind in {BEFORE, AFTER} else {}
        await self.services.put_fault(f"{self.user}-{name}", **rule, **seconds)

    async def end(self) -> str:
        """Wait until the workflow has closed, and return how."""
        try:
            self.result = await self.handle.result()
            return str(self.result.status)
        except WorkflowFailureError as error:
            assert isinstance(error.cause, CancelledError), f"{self.user}, {self.stop}: {error.cause!r}"  # noqa: PT017 of a handle
            return CANCELED

    @property
    def handle(self) -> Any:  # noqa: ANN401 of either workflow
        """The handle of the newest run."""
        raise NotImplementedError

    async def start(self) -> None:
        """Start the workflow."""
        raise NotImplementedError

    async def cancel(self) -> None:
        """Request the cancellation in Temporal."""
        await self.handle.cancel()


@dataclass
class BookingRun(Run):
    """A booking.

    Attributes:
        bus: The bus to book.
    """

    bus: str = ""

    @property
    def handle(self) -> Any:  # noqa: ANN401 of either workflow
        """The handle of the run."""
        return self.client.get_workflow_handle_for(BookRideWorkflow.run, f"booking-{self.user}")

    async def start(self) -> None:
        """Start the workflow."""
        await self.client.start_workflow(
            BookRideWorkflow.run,
            BookingRequest(self.user, self.bus, "segment-3", FARE, self.stop.story.timings, SERVICE_DATE),
            id=f"booking-{self.user}",
            task_queue=booking.TASK_QUEUE,
            task_timeout=TASK_TIMEOUT,
        )

    async def change_mind(self) -> None:
        """Cancel as the customer does."""
        await self.handle.signal(booking.CANCEL_BOOKING, "changed plans")

    async def change_mind_at_gate(self) -> None:
        """Cancel as the customer does, while the run waits at the gate."""
        await self.reached("gate")
        await self.change_mind()
        await self.delete("gate")


@dataclass
class TopUpRun(Run):
    """A top-up.

    Attributes:
        paid: Successful payments of the customer.
    """

    paid: list[PaymentWebhookEvent] = field(default_factory=list)

    @property
    def request(self) -> WalletTopUpRequest:
        """Input of the workflow."""
        story = self.stop.story
        reminder = story.approval_deadline / 4
        deadlines = (story.payment_timeout, reminder, story.approval_deadline)
        return WalletTopUpRequest(self.user, 1000 + self.number, self.user, *deadlines, story.timings)

    @property
    def handle(self) -> Any:  # noqa: ANN401 of either workflow
        """The handle of the newest run."""
        return self.client.get_workflow_handle_for(WalletTopUpWorkflow.run, self.request.reference)

    async def start(self, event: PaymentWebhookEvent | None = None) -> None:
        """Start the workflow; with an event as late webhooks do."""
        await self.client.start_workflow(
            WalletTopUpWorkflow.run,
            self.request,
            id=self.request.reference,
            task_queue=wallet_messages.TASK_QUEUE,
            task_timeout=TASK_TIMEOUT,
            start_signal=wallet_messages.PAYSTACK_WEBHOOK_RECEIVED if event else None,
            start_signal_args=[event] if event else [],
        )

    async def pay(self, difference: int = 0, *, success: bool = True) -> PaymentWebhookEvent:
        """Pay as the customer, once the provider knows the transaction."""
        reference = self.request.reference
        await self.recorded("SELECT 1 FROM transactions WHERE reference = ?", reference)
        data = (await self.services.pay(reference, self.request.amount - difference, success=success))["data"]
        event = PaymentWebhookEvent(success, data["amount"], data["id"])
        self.paid += [event] if success else []
        return event

    async def notify(self, event: PaymentWebhookEvent) -> None:
        """Signal what a webhook received."""
        await self.handle.signal(wallet_messages.PAYSTACK_WEBHOOK_RECEIVED, event)

    async def pay_late(self) -> None:
        """Pay while the payment is being cancelled; no webhook arrives."""
        await self.pay()

    async def pay_and_notify(self) -> None:
        """Pay the amount of the top-up; the webhook arrives twice."""
        event = await self.pay()
        await self.notify(event)
        await self.notify(event)

    async def pay_less(self) -> None:
        """Pay another amount."""
        await self.notify(await self.pay(1 + 7 * self.number % 500))

    async def fail_to_pay(self) -> None:
        """Pay without success."""
        await self.notify(await self.pay(success=False))

    async def pay_again(self) -> None:
        """Pay a second time, while the run waits at the gate."""
        event = await self.pay()
        await self.reached("gate")
        await self.notify(event)
        await self.delete("gate")

    async def start_again(self) -> None:
        """Receive the webhook again after the run has closed, which starts another one."""
        await self.handle.result()
        await self.set_stop()
        await self.start(self.paid[0])

    async def approve(self) -> None:
        """Approve the other amount, by update."""
        await self._approval_requested()
        decision = Decision(approved=True, approver="ada", reason="customer agreed")

        async def accepted() -> bool:
            try:
                await self.handle.start_update(
                    wallet_messages.DECIDE_TOP_UP,
                    decision,
                    id=self.user,
                    wait_for_stage=WorkflowUpdateStage.ACCEPTED,
                )
            except RPCError as error:
                # On a slow machine, workflow tasks time out.
                if error.status is not RPCStatusCode.FAILED_PRECONDITION:
                    raise
                return False
            return True

        await until(accepted, deadline=DEADLINE, what=f"{self.user}: update accepted")

    async def reject(self) -> None:
        """Reject the other amount, by signal."""
        await self._approval_requested()
        await self.handle.signal(wallet_messages.TOP_UP_DECISION, Decision(False, "bob", "not what was asked"))  # noqa: FBT003

    async def _approval_requested(self) -> None:
        await self.recorded("SELECT 1 FROM approvals WHERE workflow_id = ?", self.request.reference)


STEPS: Final = (RESERVE_SEAT, PROCESS_PAYMENT, CONFIRM_BOOKING, ASSIGN_TO_MANIFEST, SEND_BOOKING_CONFIRMATION)
COMPENSATIONS: Final = (RELEASE_SEAT, REFUND_PAYMENT)
DOCUMENTED: Final = (CREDIT_WALLET, GENERATE_INVOICE, SEND_RECEIPT_EMAIL)
PAYS: Final = (INITIATE_PAYSTACK_PAYMENT, TopUpRun.pay_and_notify)
PAYS_LESS: Final = (INITIATE_PAYSTACK_PAYMENT, TopUpRun.pay_less)
AT_GATE: Final = ((SEND_BOOKING_CONFIRMATION, BookingRun.change_mind_at_gate),)
REJECTED: Final = {CONFIRM_BOOKING: "reject"}

BOOKINGS: Final = (
    Story("booked", "CONFIRMED", STEPS, keeps=True),
    Story("card declined", "FAILED", [RELEASE_SEAT], faults={PROCESS_PAYMENT: "decline"}),
    Story("confirmation refused", "FAILED", COMPENSATIONS, faults=REJECTED),
    Story("cancelled when booked", "CANCELLED", COMPENSATIONS, acts=AT_GATE, gate=SEND_BOOKING_CONFIRMATION),
    Story("cancelled in a step", "CANCELLED", STEPS, at_stop=BookingRun.change_mind),
    # In these two, the compensations are done while the calls of the step may still be on their way.
    Story("step given up", "FAILED", STEPS[:-1], timings=IMPATIENT, lasts=True),
    Story("canceled in a step", CANCELED, STEPS, at_stop=Run.cancel, lasts=True),
    Story("canceled in a compensation", CANCELED, COMPENSATIONS, at_stop=Run.cancel, faults=REJECTED),
)

TOP_UPS: Final = (
    Story("paid", "CREDITED", [INITIATE_PAYSTACK_PAYMENT, *DOCUMENTED], acts=[PAYS], keeps=True),
    Story("not paid", "EXPIRED", [CANCEL_PAYSTACK_PAYMENT], payment_timeout=0.3),
    Story(
        "paid during the cancellation",
        "CREDITED",
        [CANCEL_PAYSTACK_PAYMENT],
        stops=[BEFORE],
        at_stop=TopUpRun.pay_late,
        keeps=True,
        payment_timeout=0.3,
    ),
    Story(
        "payment failed",
        "DECLINED",
        [CANCEL_PAYSTACK_PAYMENT],
        acts=[(INITIATE_PAYSTACK_PAYMENT, TopUpRun.fail_to_pay)],
    ),
    Story(
        "other amount approved",
        "CREDITED",
        [REQUEST_APPROVAL, CLOSE_APPROVAL, CREDIT_WALLET],
        acts=[PAYS_LESS, (REQUEST_APPROVAL, TopUpRun.approve)],
        keeps=True,
    ),
    Story(
        "other amount rejected",
        "REJECTED",
        [REQUEST_APPROVAL, CLOSE_APPROVAL, REFUND_PAYSTACK_PAYMENT],
        acts=[PAYS_LESS, (REQUEST_APPROVAL, TopUpRun.reject)],
    ),
    Story(
        "nobody decides",
        "REJECTED",
        [REMIND_APPROVER, CLOSE_APPROVAL, REFUND_PAYSTACK_PAYMENT],
        acts=[PAYS_LESS],
        approval_deadline=1.2,
    ),
    Story("credit refused", "FAILED", [REFUND_PAYSTACK_PAYMENT], acts=[PAYS], faults={CREDIT_WALLET: "reject"}),
    Story("credit given up", "FAILED", [CREDIT_WALLET], acts=[PAYS], timings=IMPATIENT, lasts=True),
    Story(
        "paid twice",
        "CREDITED",
        [REFUND_PAYSTACK_PAYMENT],
        acts=[PAYS, (SEND_RECEIPT_EMAIL, TopUpRun.pay_again)],
        gate=SEND_RECEIPT_EMAIL,
        keeps=True,
    ),
    Story(
        "late webhook",
        "CREDITED",
        [INITIATE_PAYSTACK_PAYMENT, *DOCUMENTED],
        acts=[PAYS, (SEND_RECEIPT_EMAIL, TopUpRun.start_again)],
        stops_late=True,
        keeps=True,
    ),
    Story("canceled at the start", CANCELED, [INITIATE_PAYSTACK_PAYMENT], at_stop=Run.cancel, lasts=True),
    Story("canceled in the approval", CANCELED, [REQUEST_APPROVAL], acts=[PAYS_LESS], at_stop=Run.cancel, lasts=True),
    # The credit is the point of no return.
    Story("canceled too late", CANCELED, DOCUMENTED, acts=[PAYS], at_stop=Run.cancel, keeps=True),
)


def stops(stories: Sequence[Story]) -> list[Stop]:
    """Return every stop of every story."""
    return [Stop(story, step, where) for story in stories for step in story.steps for where in story.stops]
