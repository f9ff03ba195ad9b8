"""Wallets, and the documents on their credits."""

from temporal_slo.reference.services.books import Db
from temporal_slo.reference.services.refusals import refuse, refuse_unless_same
from temporal_slo.reference.web.wire import Amount, Empty, Id, Request, Wire


class CreditRequest(Request):
    """Request to credit what a transaction paid."""

    user_id: Id
    amount: Amount
    transaction_id: Id
    reference: Id


class Balance(Wire):
    """The balance after a credit, in minor units."""

    balance: int


class Wallet(Balance):
    """The wallet of a user."""

    user_id: str


class Document(Request):
    """The transaction that an invoice or a receipt is about."""

    user_id: Id
    transaction_id: Id


class Invoice(Wire):
    """An invoice."""

    invoice_id: str


def credit(db: Db, request: CreditRequest) -> Balance:
    """Credit a transaction once."""
    refunded = db.execute("SELECT 1 FROM refunds WHERE transaction_id = ?", (request.transaction_id,)).fetchone()
    refuse(refunded, "the transaction was refunded")
    known = db.execute("SELECT * FROM credits WHERE transaction_id = ?", (request.transaction_id,)).fetchone()
    if known:
        refuse_unless_same(known, user_id=request.user_id, amount=request.amount)
    else:
        _check_paid(db, request)
        db.execute(
            "INSERT INTO credits (transaction_id, user_id, amount, reference) VALUES (?, ?, ?, ?)",
            (request.transaction_id, request.user_id, request.amount, request.reference),
        )
    return Balance(balance=_balance(db, request.user_id))


def wallet(db: Db, user_id: str) -> Wallet:
    """Return the wallet of a user; a user without credits has an empty one."""
    return Wallet(user_id=user_id, balance=_balance(db, user_id))


def invoice(db: Db, request: Document) -> Invoice:
    """Issue the invoice of a transaction once."""
    invoice_id = f"invoice-{request.transaction_id}"
    db.execute("INSERT OR IGNORE INTO invoices VALUES (?, ?, ?)", (request.transaction_id, request.user_id, invoice_id))
    return Invoice(invoice_id=invoice_id)


def receipt(db: Db, request: Document) -> Empty:
    """Send the receipt of a transaction once."""
    db.execute("INSERT OR IGNORE INTO receipts VALUES (?, ?)", (request.transaction_id, request.user_id))
    return Empty()


def _check_paid(db: Db, request: CreditRequest) -> None:
    """Refuse a credit that is not what Paystack says was paid; it may not know a transaction of another provider."""
    paid = db.execute("SELECT * FROM payments WHERE transaction_id = ?", (request.transaction_id,)).fetchone()
    if paid:
        refuse_unless_same(paid, reference=request.reference, amount=request.amount, success=1)


def _balance(db: Db, user_id: str) -> int:
    row = db.execute(
        "SELECT COALESCE(SUM(amount), 0) AS balance FROM credits WHERE user_id = ? AND NOT reversed", (user_id,)
    ).fetchone()
    return int(row["balance"])
