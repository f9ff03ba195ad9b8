"""A simulation of the payment provider Paystack: transactions, the customers who pay, and its webhook events."""

from http import HTTPStatus
from typing import Annotated, Any, Literal

from pydantic import Field

from temporal_slo.reference.services.books import Db
from temporal_slo.reference.services.refusals import refuse, refuse_unless_same
from temporal_slo.reference.web.problems import ProblemError
from temporal_slo.reference.web.wire import Amount, Empty, Id, Request, Wire

State = Literal["pending", "paid", "cancelled"]


class TransactionRequest(Request):
    """Request to initiate a payment under a reference that the caller generated."""

    reference: Id
    user_id: Id
    amount: Amount


class Transaction(Wire):
    """A payment that was asked for.

    Attributes:
        amount: Amount asked for.
        paid_amount: Amount of the first successful payment.
        transaction_id: Id of the first successful payment.
    """

    reference: str
    state: State
    amount: int
    paid_amount: int | None = None
    transaction_id: str | None = None


class UserTransaction(Transaction):
    """A payment that was asked for, with its user; empty if it was cancelled before it was initiated.

    Attributes:
        settled: Ids of the payments that were credited or refunded; there is nothing left to do about them.
    """

    user_id: str
    settled: list[str]


class Pay(Request):
    """What the simulated customer does."""

    amount: Amount
    success: bool = True


class EventData(Wire):
    """The payment of an event; `id` is the transaction id."""

    id: str
    reference: str
    amount: int
    status: Literal["success", "failed"]


class Event(Wire):
    """An event, as Paystack sends it to a webhook."""

    event: Literal["charge.success", "charge.failed"]
    data: EventData


class Cancel(Request):
    """An empty request."""


class RefundRequest(Request):
    """The payment to refund."""

    transaction_id: Annotated[Id, Field(description="of the payment to refund")]


def initiate(db: Db, request: TransactionRequest) -> Transaction:
    """Ask for a payment. One that was cancelled stays so."""
    known = _find(db, request.reference)
    if known and known["user_id"]:
        refuse_unless_same(known, user_id=request.user_id, amount=request.amount)
    # What was cancelled first has neither user nor amount yet.
    db.execute(
        "INSERT INTO transactions (reference, user_id, amount) VALUES (?, ?, ?)"
        " ON CONFLICT DO UPDATE SET user_id = excluded.user_id, amount = excluded.amount",
        (request.reference, request.user_id, request.amount),
    )
    return Transaction(**_described(db, request.reference))


def find(db: Db, reference: str) -> UserTransaction:
    """Return a payment that was asked for.

    Raises:
        ProblemError: There is none of this reference.
    """
    settled = db.execute(
        "SELECT transaction_id FROM credits WHERE reference = ?1"
        " UNION SELECT transaction_id FROM refunds WHERE reference = ?1 ORDER BY transaction_id",
        (reference,),
    )
    return UserTransaction(
        **_described(db, reference),
        user_id=_known(db, reference)["user_id"],
        settled=[row["transaction_id"] for row in settled],
    )


def pay(db: Db, reference: str, request: Pay, *, deliver: bool) -> Event:
    """Pay as a customer; who pays twice makes two payments.

    Args:
        db: The books.
        reference: Which transaction to pay.
        request: What the customer does.
        deliver: Whether to send the event to the webhook.
    """
    refuse(_known(db, reference)["cancelled"], "the transaction was cancelled")
    row = db.execute("SELECT COUNT(*) AS count FROM payments WHERE reference = ?", (reference,)).fetchone()
    transaction_id = f"{reference}-trx-{row['count'] + 1}"
    db.execute(
        "INSERT INTO payments (transaction_id, reference, amount, success) VALUES (?, ?, ?, ?)",
        (transaction_id, reference, request.amount, request.success),
    )
    status: Literal["success", "failed"] = "success" if request.success else "failed"
    data = EventData(id=transaction_id, reference=reference, amount=request.amount, status=status)
    event = Event(event=f"charge.{status}", data=data)  # type: ignore[arg-type] # one of two names
    if deliver:
        db.execute("INSERT INTO deliveries (event) VALUES (?)", (event.json_text(),))
    return event


def cancel(db: Db, reference: str) -> Transaction:
    """Cancel a transaction, so that nobody can pay it any more; one that is paid stays paid."""
    if not _paid(db, reference):
        db.execute(
            "INSERT INTO transactions VALUES (?, '', 0, 1) ON CONFLICT DO UPDATE SET cancelled = 1", (reference,)
        )
    return Transaction(**_described(db, reference))


def refund(db: Db, reference: str, request: RefundRequest) -> Empty:
    """Refund a payment, take back its credit, and block a later one."""
    paid = db.execute("SELECT * FROM payments WHERE transaction_id = ?", (request.transaction_id,)).fetchone()
    if paid:
        refuse_unless_same(paid, reference=reference, success=1)
    db.execute(
        "INSERT OR IGNORE INTO refunds VALUES (?, ?, ?)",
        (request.transaction_id, reference, paid["amount"] if paid else 0),
    )
    # A credit may have taken effect although its caller got no response, and so asks for a refund.
    db.execute("UPDATE credits SET reversed = 1 WHERE transaction_id = ?", (request.transaction_id,))
    return Empty()


def _described(db: Db, reference: str) -> dict[str, Any]:
    transaction, paid = _known(db, reference), _paid(db, reference)
    state: State = "cancelled" if transaction["cancelled"] else "paid" if paid else "pending"
    return {
        "reference": reference,
        "state": state,
        "amount": transaction["amount"],
        "paid_amount": paid["amount"] if paid else None,
        "transaction_id": paid["transaction_id"] if paid else None,
    }


def _find(db: Db, reference: str) -> Any:  # noqa: ANN401 a row or None
    return db.execute("SELECT * FROM transactions WHERE reference = ?", (reference,)).fetchone()


def _known(db: Db, reference: str) -> Any:  # noqa: ANN401 a row
    row = _find(db, reference)
    if row is None:
        raise ProblemError(HTTPStatus.NOT_FOUND, "no transaction has this reference")
    return row


def _paid(db: Db, reference: str) -> Any:  # noqa: ANN401 a row or None
    return db.execute("SELECT * FROM payments WHERE reference = ? AND success ORDER BY seq", (reference,)).fetchone()
