"""Card payments of bookings."""

from temporal_slo.reference.services.bookings import Reservation
from temporal_slo.reference.services.books import Db
from temporal_slo.reference.services.refusals import refuse, refuse_unless_same
from temporal_slo.reference.web.wire import Amount, Id, Request, Wire


class ChargeRequest(Request):
    """Request to charge the fare of a reservation."""

    reservation_id: Id
    user_id: Id
    amount: Amount


class Charge(Wire):
    """A charge."""

    transaction_id: str


class Refund(Wire):
    """A refund.

    Attributes:
        refunded: Amount, in minor units; 0 if nothing was charged.
    """

    refunded: int


def charge(db: Db, request: ChargeRequest) -> Charge:
    """Charge a card once per reservation."""
    known = db.execute("SELECT * FROM charges WHERE reservation_id = ?", (request.reservation_id,)).fetchone()
    transaction_id = f"{request.reservation_id}-payment"
    if known:
        refuse(known["blocked"], "the reservation was refunded")
        refuse_unless_same(known, user_id=request.user_id, amount=request.amount)
    else:
        db.execute(
            "INSERT INTO charges (reservation_id, user_id, amount, transaction_id) VALUES (?, ?, ?, ?)",
            (request.reservation_id, request.user_id, request.amount, transaction_id),
        )
    return Charge(transaction_id=transaction_id)


def refund(db: Db, request: Reservation) -> Refund:
    """Refund what a reservation was charged, and block later charges."""
    row = db.execute(
        "INSERT INTO charges (reservation_id, blocked) VALUES (?, 1)"
        " ON CONFLICT DO UPDATE SET blocked = 1, refunded = amount RETURNING refunded",
        (request.reservation_id,),
    ).fetchone()
    return Refund(refunded=row["refunded"])
