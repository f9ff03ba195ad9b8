"""Requests of every step, in an order in which each succeeds."""

from dataclasses import dataclass, field
from typing import Any, Final

from tests.reference.services_process import ServicesUnderTest

DAY: Final = {"busId": "bus-3", "serviceDate": "2031-05-07"}
FARE: Final = 1700


def seat(reservation: str = "r1", user: str = "ada-1") -> dict[str, Any]:
    """Return the request to reserve a seat."""
    return {"reservationId": reservation, "userId": user, "busId": "bus-3", "segment": "Ikeja - Yaba"}


def fare(reservation: str = "r1", user: str = "ada-1", amount: int = FARE) -> dict[str, Any]:
    """Return the request to charge a fare."""
    return {"reservationId": reservation, "userId": user, "amount": amount}


def top_up(reference: str = "t1", user: str = "bob-1", amount: int = 5000) -> dict[str, Any]:
    """Return the request to ask for a payment."""
    return {"reference": reference, "userId": user, "amount": amount}


def credit(transaction: str = "t1-trx-1", user: str = "bob-1", amount: int = 5000) -> dict[str, Any]:
    """Return the request to credit a payment of the top-up t1."""
    return {"userId": user, "amount": amount, "transactionId": transaction, "reference": "t1"}


def approval(workflow: str = "t1", user: str = "bob-1") -> dict[str, Any]:
    """Return the request to open an approval."""
    return {"workflowId": workflow, "userId": user, "asked": 5000, "paid": 4000, "reference": "t1"}


@dataclass(frozen=True)
class Step:
    """A step.

    Attributes:
        path: Path below /api/v1.
        body: Request.
        other: What a different request has instead, under the same business key; empty if there is none.
    """

    path: str
    body: dict[str, Any]
    other: dict[str, Any] = field(default_factory=dict)

    @property
    def user(self) -> str:
        """The user whom the step concerns; empty for none."""
        if "busId" in self.body and "bookingId" not in self.body and "userId" not in self.body:
            return ""
        return "bob-1" if "t1" in f"{self.path} {self.body}" or "paystack" in self.path else "ada-1"

    def __str__(self) -> str:
        """Return the path."""
        return self.path


STEPS: Final = (
    Step("seats/reserve", seat(), {"userId": "eve-1"}),
    Step("payments/charge", fare(), {"amount": FARE + 1}),
    Step("bookings/confirm", {"reservationId": "r1", "paymentId": "r1-payment"}, {"paymentId": "r2-payment"}),
    Step("notifications/send", {"userId": "ada-1", "type": "BOOKING_CONFIRMED", "data": {"bookingId": "r1-booking"}}),
    Step("manifests/open", DAY),
    Step("manifests/add-booking", {**DAY, "bookingId": "r1-booking"}, {"busId": "bus-4"}),
    Step("manifests/seal", DAY),
    Step("paystack/transactions", top_up(), {"amount": 4999}),
    Step("paystack/transactions/t1/pay", {"amount": 5000}),
    Step("wallets/credit", credit(), {"amount": 4999}),
    Step("invoices", {"userId": "bob-1", "transactionId": "t1-trx-1"}),
    Step("receipts", {"userId": "bob-1", "transactionId": "t1-trx-1"}),
    Step("approvals", approval(), {"paid": 4001}),
    Step("approvals/remind", {"workflowId": "t1"}),
    Step("approvals/close", {"workflowId": "t1", "decision": "rejected", "approver": "cy"}, {"decision": "approved"}),
    Step("paystack/transactions/t1/cancel", {}),
    Step("paystack/transactions/t1/refund", {"transactionId": "t1-trx-1"}),
    Step("payments/refund", {"reservationId": "r1"}),
    Step("seats/release", {"reservationId": "r1"}),
)
"""The whole life of one booking and of one top-up."""


async def perform(services: ServicesUnderTest, *paths: str) -> None:
    """Perform the steps of these paths, each with a key of its own."""
    for path in paths:
        (step,) = (step for step in STEPS if step.path == path)
        await services.post(path, step.body, f"key of {path}".replace(" ", "-"))


async def refused(services: ServicesUnderTest, path: str, body: dict[str, Any], key: str, status: int = 409) -> str:
    """Call a step that is refused with a problem, and return its detail."""
    response = await services.send(path, body, key)
    assert (response.status_code, response.headers["content-type"]) == (status, "application/problem+json"), path
    problem = response.json()
    assert (problem["type"], problem["status"]) == ("about:blank", status)
    return str(problem["detail"])
