"""The totals of the books: enough to prove that no seat, fare or top-up was lost or counted twice."""

from temporal_slo.reference.services.books import Db
from temporal_slo.reference.web.wire import Wire


class Seats(Wire):
    """Seats, by reservation."""

    held: int
    released: int


class Cards(Wire):
    """Card payments of bookings; amounts in minor units."""

    charges: int
    charged: int
    refunded: int


class Bookings(Wire):
    """Bookings: confirmed, and of these on a manifest."""

    confirmed: int
    on_manifest: int
    notifications: int


class Manifests(Wire):
    """Manifests, and the bookings on them."""

    open: int
    sealed: int
    bookings: int


class Paystack(Wire):
    """Transactions at Paystack; amounts in minor units."""

    transactions: int
    cancelled: int
    payments: int
    paid: int
    refunds: int
    refunded: int
    undelivered_events: int


class Wallets(Wire):
    """Credits of wallets that were not taken back, with their documents; amounts in minor units."""

    credits: int
    credited: int
    reversed: int
    invoices: int
    receipts: int


class ApprovalCounts(Wire):
    """Approvals."""

    open: int
    closed: int


class Totals(Wire):
    """Totals of each table, and the calls of each endpoint."""

    seats: Seats
    cards: Cards
    bookings: Bookings
    manifests: Manifests
    paystack: Paystack
    wallets: Wallets
    approvals: ApprovalCounts
    calls: dict[str, int]


_SEATS = "SELECT TOTAL(NOT released) AS held, TOTAL(released) AS released FROM reservations"
_CARDS = "SELECT COUNT(transaction_id) AS charges, TOTAL(amount) AS charged, TOTAL(refunded) AS refunded FROM charges"
_BOOKINGS = (
    "SELECT TOTAL(confirmed) AS confirmed, COUNT(m.booking_id) AS on_manifest,"
    " (SELECT COUNT(*) FROM notifications) AS notifications"
    " FROM bookings b LEFT JOIN manifest_bookings m ON confirmed AND m.booking_id = b.booking_id"
)
_MANIFESTS = (
    "SELECT TOTAL(NOT sealed) AS open, TOTAL(sealed) AS sealed,"
    " (SELECT COUNT(*) FROM manifest_bookings) AS bookings FROM manifests"
)
_PAYSTACK = (
    "SELECT COUNT(*) AS transactions, TOTAL(cancelled) AS cancelled,"
    " (SELECT COUNT(*) FROM payments WHERE success) AS payments,"
    " (SELECT TOTAL(amount) FROM payments WHERE success) AS paid,"
    " (SELECT COUNT(*) FROM refunds) AS refunds, (SELECT TOTAL(amount) FROM refunds) AS refunded,"
    " (SELECT COUNT(*) FROM deliveries) AS undelivered_events FROM transactions"
)
_WALLETS = (
    "SELECT TOTAL(NOT reversed) AS credits, TOTAL(amount * (NOT reversed)) AS credited,"
    " TOTAL(amount * reversed) AS reversed, (SELECT COUNT(*) FROM invoices) AS invoices,"
    " (SELECT COUNT(*) FROM receipts) AS receipts FROM credits"
)
_APPROVALS = "SELECT TOTAL(decision IS NULL) AS open, TOTAL(decision IS NOT NULL) AS closed FROM approvals"


def totals(db: Db) -> Totals:
    """Return the totals, all of one moment."""
    return Totals(
        seats=Seats(**_row(db, _SEATS)),
        cards=Cards(**_row(db, _CARDS)),
        bookings=Bookings(**_row(db, _BOOKINGS)),
        manifests=Manifests(**_row(db, _MANIFESTS)),
        paystack=Paystack(**_row(db, _PAYSTACK)),
        wallets=Wallets(**_row(db, _WALLETS)),
        approvals=ApprovalCounts(**_row(db, _APPROVALS)),
        calls=dict(db.execute("SELECT endpoint, calls FROM call_counts ORDER BY endpoint").fetchall()),
    )


def _row(db: Db, query: str) -> dict[str, int]:
    row = db.execute(query).fetchone()
    # TOTAL is 0 without rows, where SUM is NULL, but returns a float.
    return {name: int(row[name]) for name in row.keys()}  # noqa: SIM118 iterating a row yields its values
