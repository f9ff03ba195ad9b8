"""Webhooks of Paystack: verified before they are parsed, and delivered to the workflow of the top-up."""

import hmac
import json
import re
from http import HTTPStatus
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Header, Request
from pydantic import BeforeValidator, Field

from temporal_slo.reference.api.service_reader import ServiceReader
from temporal_slo.reference.api.temporal_service import TemporalService
from temporal_slo.reference.api.topups import ID_PREFIX, TopUpBody, TopUps
from temporal_slo.reference.api.wire import REQUEST_ID, Answer, errors
from temporal_slo.reference.web.paystack import SIGNATURE, sign
from temporal_slo.reference.web.problems import ProblemError
from temporal_slo.reference.web.wire import AMOUNT_MAX, Wire, whole
from temporal_slo.reference.workflows.wallet_messages import PAYSTACK_WEBHOOK_RECEIVED, PaymentWebhookEvent

PATH: Final = "/api/v1/webhooks/paystack"
SUCCESS: Final = "charge.success"
FAILED: Final = "charge.failed"

NOT_SIGNED: Final = "the signature is missing or does not match the body"
MALFORMED: Final = "the body is not a Paystack event"
UNKNOWN: Final = "no top-up has this reference"


class PaystackSignature:
    """Verifies that Paystack sent a body. The secret is in no repr, log or error.

    Args:
        secret: Secret key shared with Paystack.
    """

    def __init__(self, secret: str) -> None:
        self._secret = secret

    def of(self, body: bytes) -> str:
        """Return the signature of *body*."""
        return sign(self._secret, body)

    def signs(self, body: bytes, signature: str) -> bool:
        """Return whether *signature* is that of *body*, in a time that does not depend on how much of it is right."""
        # As bytes, because compare_digest raises TypeError for strings that are not ASCII.
        return hmac.compare_digest(self.of(body).encode(), signature.encode(errors="replace"))


class PaystackCharge(Answer):
    """The payment that an event is about."""

    id: (
        Annotated[str, Field(strict=True, pattern=r"^[A-Za-z0-9._:@-]{1,128}$")]
        | Annotated[int, Field(strict=True, ge=0, lt=2**63), BeforeValidator(whole)]
    )
    reference: Annotated[str, Field(max_length=200)]
    amount: Annotated[int, Field(strict=True, ge=0, le=AMOUNT_MAX), BeforeValidator(whole)]
    status: Annotated[str, Field(max_length=64)]


class PaystackEvent(Answer):
    """An event `charge.success` or `charge.failed`; Paystack sends more fields, and events of other kinds."""

    event: Literal["charge.success", "charge.failed"]
    data: PaystackCharge

    def message(self) -> PaymentWebhookEvent:
        """Return the event as the workflow receives it.

        Raises:
            ValueError: The event contradicts the status of the charge.
        """
        success = self.event == SUCCESS
        if success != (self.data.status == "success"):
            raise ValueError("event and status differ")
        return PaymentWebhookEvent(success, self.data.amount, str(self.data.id))


class Transaction(Answer):
    """A transaction in the books, of which only what decides on a late webhook."""

    user_id: str
    amount: int
    settled: tuple[str, ...] = ()
    """Transactions of this reference that were credited or refunded."""


class WebhookReceived(Wire):
    """What became of the event. Each answer is final: Paystack need not deliver it again."""

    status: Annotated[
        Literal["delivered", "settled", "ignored"],
        Field(
            description="`delivered` to the workflow; `settled` before, nothing to do; `ignored`: not of a charge",
            examples=["delivered"],
        ),
    ]


class WebhooksController:
    """The route of webhooks.

    Args:
        temporal: Delivers the events.
        services: Reads transactions.
        topups: How top-ups start.
        signature: Verifies the events.
    """

    def __init__(
        self, temporal: TemporalService, services: ServiceReader, topups: TopUps, signature: PaystackSignature
    ) -> None:
        self._temporal = temporal
        self._services = services
        self._topups = topups
        self._signature = signature

    def routes(self) -> APIRouter:
        """Return the route."""
        router = APIRouter(tags=["webhooks"])
        router.add_api_route(
            PATH,
            self.receive_paystack_webhook,
            methods=["POST"],
            responses=errors(401, 404, 500, 502, 503),
            openapi_extra=_REQUEST_BODY,
        )
        return router

    async def receive_paystack_webhook(
        self,
        request: Request,
        signature: Annotated[
            str, Header(alias=SIGNATURE, description="HMAC-SHA512 of the body with the secret key, in hexadecimal")
        ] = "",
    ) -> WebhookReceived:
        """Receive an event. A repeated event has no further effect."""
        body = await request.body()
        if not self._signature.signs(body, signature):
            raise ProblemError(HTTPStatus.UNAUTHORIZED, NOT_SIGNED)
        try:
            parsed = _json_object(body)
            if not _of_a_charge(parsed):
                return WebhookReceived(status="ignored")
            event = PaystackEvent.model_validate(parsed)
            message = event.message()
        except (ValueError, RecursionError) as error:
            raise ProblemError(HTTPStatus.BAD_REQUEST, MALFORMED) from error
        return WebhookReceived(status=await self._deliver(event.data.reference, message))

    async def _deliver(self, reference: str, message: PaymentWebhookEvent) -> Literal["delivered", "settled"]:
        if not re.fullmatch(f"{ID_PREFIX}{REQUEST_ID}", reference):
            raise ProblemError(HTTPStatus.NOT_FOUND, UNKNOWN)
        if await self._temporal.signal(reference, PAYSTACK_WEBHOOK_RECEIVED, message):
            return "delivered"
        return await self._deliver_late(reference, message)

    async def _deliver_late(self, reference: str, message: PaymentWebhookEvent) -> Literal["delivered", "settled"]:
        """Start the closed workflow again, unless there is nothing left to do: what was paid late must be refunded."""
        transaction = await self._services.read(Transaction, "paystack", "transactions", reference)
        # One that was cancelled before it was initiated has no user.
        if transaction is None or not transaction.user_id:
            raise ProblemError(HTTPStatus.NOT_FOUND, UNKNOWN)
        if not message.success or message.transaction_id in transaction.settled:
            return "settled"
        request = {"requestId": reference.removeprefix(ID_PREFIX), "amount": transaction.amount}
        start = self._topups.start(transaction.user_id, TopUpBody.model_validate(request))
        await self._temporal.signal_with_start(start, PAYSTACK_WEBHOOK_RECEIVED, message)
        return "delivered"


def _json_object(body: bytes) -> dict[str, Any]:
    # Strict: two parsers that differ on duplicate keys or NaN would see two different events in one signed body.
    parsed = json.loads(body.decode(), object_pairs_hook=_without_duplicates, parse_constant=_refuse)
    if not isinstance(parsed, dict):
        raise ValueError("not an object")  # noqa: TRY004 malformed like any other body
    return parsed


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("duplicate key")
    return found


def _refuse(constant: str) -> None:
    raise ValueError(constant)


def _of_a_charge(event: dict[str, Any]) -> bool:
    if not isinstance(event.get("event"), str):
        raise ValueError("no event")  # noqa: TRY004 malformed like any other body
    return event["event"] in {SUCCESS, FAILED}


def _charge(event: str, status: dict[str, Any]) -> dict[str, Any]:
    """The schema of an event with the statuses that do not contradict it."""
    data = PaystackCharge.model_json_schema()
    data["properties"]["status"] |= status
    properties = {"event": {"const": event}, "data": data}
    return {"title": event, "type": "object", "required": ["event", "data"], "properties": properties}


_OTHER: Final[dict[str, Any]] = {
    "title": "Another event, which is ignored",
    "type": "object",
    "required": ["event"],
    "properties": {"event": {"type": "string", "not": {"enum": [SUCCESS, FAILED]}}},
}
_REQUEST_BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "anyOf": [
                        _charge(SUCCESS, {"const": "success"}),
                        _charge(FAILED, {"not": {"const": "success"}}),
                        _OTHER,
                    ]
                },
                "example": {
                    "event": SUCCESS,
                    "data": {"id": "tx-99", "reference": "topup-8b03d1", "amount": 500_000, "status": "success"},
                },
            }
        },
    }
}
