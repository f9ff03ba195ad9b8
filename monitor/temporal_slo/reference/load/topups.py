"""Wallet top-ups of the load, and the customers and approvers in them."""

import asyncio
import logging
from collections.abc import Iterable
from dataclasses import replace
from http import HTTPStatus
from typing import Any, Final

from temporalio.client import Client
from temporalio.common import WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from temporal_slo.reference.load.calls import Http, RefusedError, send_update
from temporal_slo.reference.load.model import Load, Start, Step
from temporal_slo.reference.load.outcomes import Outcome
from temporal_slo.reference.workflows.wallet import WalletTopUpWorkflow
from temporal_slo.reference.workflows.wallet_messages import (
    DECIDE_TOP_UP,
    PAYSTACK_WEBHOOK_RECEIVED,
    TASK_QUEUE,
    Decision,
    PaymentWebhookEvent,
    WalletTopUpRequest,
)

_APPROVER: Final = "load"

_log = logging.getLogger(__name__)


class TopUps:
    """Starts top-ups, pays them at the services' simulated Paystack, and decides on differing amounts.

    With an API, the services deliver the events of payments to its webhook. Without one, the load signals them.

    Args:
        client: Client of their namespace.
        load: The load.
        services: The services.
        api: API that starts them and takes decisions; None to start them in Temporal.
    """

    def __init__(self, client: Client, load: Load, services: Http, api: Http | None) -> None:
        self._client = client
        self._load = load
        self._services = services
        self._api = api

    @staticmethod
    def workflow_id(user_id: str) -> str:
        """Return the ID of the top-up of *user_id*, which is also the reference of its payment."""
        return f"topup-{user_id}"

    async def start(self, start: Start) -> None:
        """Start the top-up; one that was started by a call whose response was lost is not started again."""
        expires = start.outcome is Outcome.TOPUP_EXPIRED
        if self._api and not expires:
            body = {"requestId": start.user_id, "amount": _amount(start)}
            await self._api.send("POST", f"/api/v1/wallets/{start.user_id}/topups", body)
            return
        request = WalletTopUpRequest(start.user_id, _amount(start), start.user_id, timings=self._load.timings)
        if expires:
            request = replace(request, payment_timeout=self._load.short_timeout.total_seconds())
        try:
            await self._client.start_workflow(
                WalletTopUpWorkflow.run,
                request,
                id=start.workflow_id,
                task_queue=TASK_QUEUE,
                id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
            )
        except WorkflowAlreadyStartedError:
            _log.debug("%s was already started by a call whose response was lost", start.workflow_id)

    def follow_ups(self, start: Start) -> list[Step]:
        """Return what the customer does, and what the approver decides if the amount differs."""
        payment = _Payment(self, start)
        match start.outcome:
            case Outcome.TOPUP_EXPIRED:
                return []
            case Outcome.TOPUP_DECLINED:
                return [lambda: payment.make(_amount(start), success=False), payment.report]
            case Outcome.TOPUP_PAID_TWICE:
                return [*[lambda: payment.make(_amount(start))] * 2, payment.report]
            case Outcome.TOPUP_APPROVED | Outcome.TOPUP_REJECTED:
                return [lambda: payment.make(_amount(start) // 2), payment.report, lambda: self._decide(start)]
            case _:
                return [lambda: payment.make(_amount(start)), payment.report]

    async def pay(self, start: Start, amount: int, *, success: bool) -> dict[str, Any]:
        """Pay as the customer, and return the event of the payment."""
        path = f"/api/v1/paystack/transactions/{start.workflow_id}/pay"
        body = {"amount": amount, "success": success}
        return await self._services.send("POST", path, body, not_yet={HTTPStatus.NOT_FOUND})

    async def report(self, start: Start, events: Iterable[dict[str, Any]]) -> None:
        """Signal the events of payments, unless the services deliver them to the webhook of the API."""
        if self._api:
            return
        handle = self._client.get_workflow_handle(start.workflow_id)
        # Together, so that the last one does not come after the first one has closed the run.
        signals = [handle.signal(PAYSTACK_WEBHOOK_RECEIVED, _webhook_event(event)) for event in events]
        try:
            await asyncio.gather(*signals)
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
            raise RefusedError("the top-up is closed") from error

    async def _decide(self, start: Start) -> None:
        approved = start.outcome is Outcome.TOPUP_APPROVED
        reason = "the customer agreed" if approved else "the amount is wrong"
        if self._api:
            path = f"/api/v1/approvals/{start.workflow_id}/decision"
            body = {"approved": approved, "approver": _APPROVER, "reason": reason}
            await self._api.send("POST", path, body, not_yet={HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT})
            return
        handle = self._client.get_workflow_handle(start.workflow_id)
        await send_update(handle, DECIDE_TOP_UP, Decision(approved, _APPROVER, reason), "load-decision")


class _Payment:
    """The payments of one top-up; their events are kept, so that a failed report does not pay again."""

    def __init__(self, topups: TopUps, start: Start) -> None:
        self._topups = topups
        self._start = start
        self._events: list[dict[str, Any]] = []

    async def make(self, amount: int, *, success: bool = True) -> None:
        self._events.append(await self._topups.pay(self._start, amount, success=success))

    async def report(self) -> None:
        await self._topups.report(self._start, self._events)


def _webhook_event(event: dict[str, Any]) -> PaymentWebhookEvent:
    data = event["data"]
    return PaymentWebhookEvent(data["status"] == "success", data["amount"], data["id"])


def _amount(start: Start) -> int:
    return 5000 + 1000 * (start.number % 9)
