"""What the services' books must say when all bookings and top-ups have closed."""

from collections.abc import Sequence
from typing import Final

from tests.reference.services_process import ServicesUnderTest

from .reference_runs import FARE, BookingRun, TopUpRun

_BOOKED: Final = """
    SELECT b.booking_id, r.user_id, r.bus_id, NOT r.released AS held, c.amount - c.refunded AS charged,
        m.bus_id AS on_manifest, (SELECT COUNT(*) FROM notifications n WHERE n.user_id = r.user_id) AS notified
    FROM bookings b LEFT JOIN reservations r USING (reservation_id) LEFT JOIN charges c USING (reservation_id)
    LEFT JOIN manifest_bookings m USING (booking_id)
    WHERE b.confirmed ORDER BY b.booking_id
"""
_SEATS_WITHOUT_BOOKING: Final = """
    SELECT reservation_id FROM reservations WHERE NOT released
        AND reservation_id NOT IN (SELECT reservation_id FROM bookings WHERE confirmed)
"""
_MONEY_WITHOUT_BOOKING: Final = """
    SELECT reservation_id FROM charges WHERE amount <> refunded
        AND reservation_id NOT IN (SELECT reservation_id FROM bookings WHERE confirmed)
"""
_PASSENGERS_WITHOUT_BOOKING: Final = """
    SELECT booking_id FROM manifest_bookings
        WHERE booking_id NOT IN (SELECT booking_id FROM bookings WHERE confirmed)
"""
_UNSETTLED: Final = """
    SELECT p.transaction_id, p.amount, c.amount AS credited, r.amount AS refunded FROM payments p
    LEFT JOIN credits c ON c.transaction_id = p.transaction_id AND NOT c.reversed
    LEFT JOIN refunds r ON r.transaction_id = p.transaction_id
    WHERE p.success AND ((c.amount IS NULL) = (r.amount IS NULL) OR COALESCE(c.amount, r.amount) <> p.amount)
"""
_OPEN_PAYMENTS: Final = """
    SELECT reference FROM transactions t
    WHERE cancelled = EXISTS (SELECT 1 FROM payments p WHERE p.reference = t.reference AND success)
"""
_OPEN_APPROVALS: Final = "SELECT workflow_id FROM approvals WHERE decision IS NULL"
NOTHING_LEFT: Final = {
    "seats held without a booking": _SEATS_WITHOUT_BOOKING,
    "charges without a booking, not refunded": _MONEY_WITHOUT_BOOKING,
    "passengers without a booking": _PASSENGERS_WITHOUT_BOOKING,
    "payments neither credited nor refunded, or both": _UNSETTLED,
    "transactions neither paid nor cancelled, or both": _OPEN_PAYMENTS,
    "open approvals": _OPEN_APPROVALS,
}

_CREDITED: Final = "SELECT transaction_id, user_id, amount FROM credits WHERE NOT reversed ORDER BY transaction_id"
_DOCUMENTED: Final = """
    SELECT (SELECT GROUP_CONCAT(transaction_id) FROM (SELECT * FROM invoices ORDER BY transaction_id)) AS invoices,
        (SELECT GROUP_CONCAT(transaction_id) FROM (SELECT * FROM receipts ORDER BY transaction_id)) AS receipts
"""
_KEYS: Final = """
    SELECT user_id, endpoint, COUNT(DISTINCT key) AS keys FROM calls
    WHERE key IS NOT NULL AND user_id <> '' AND method = 'POST' AND endpoint <> 'approvals/remind'
    GROUP BY user_id, endpoint HAVING keys > 1
"""


async def prove(services: ServicesUnderTest, bookings: Sequence[BookingRun], top_ups: Sequence[TopUpRun]) -> None:
    """Check the books; *bookings* and *top_ups* are all that were ever started, and have closed."""
    for run in (*bookings, *top_ups):
        assert run.ending == run.stop.story.ends, run
    # Over HTTP first: calls that were held back until now are performed before these.
    balances = {run.user: (await services.get(f"wallets/{run.user}"))["balance"] for run in top_ups}
    for what, query in NOTHING_LEFT.items():
        assert services.rows(query) == [], what
    _check_bookings(services, bookings)
    _check_credits(services, top_ups, balances)
    _check_keys(services, top_ups)


def _check_bookings(services: ServicesUnderTest, runs: Sequence[BookingRun]) -> None:
    """The confirmed bookings are those of the workflows that confirmed one: with seat, fare, manifest, notification."""
    expected = [
        {
            "booking_id": run.result.booking_id,
            "user_id": run.user,
            "bus_id": run.bus,
            "held": 1,
            "charged": FARE,
            "on_manifest": run.bus,
            "notified": 1,
        }
        for run in runs
        if run.stop.story.keeps
    ]
    assert services.rows(_BOOKED) == sorted(expected, key=lambda booking: str(booking["booking_id"]))


def _check_credits(services: ServicesUnderTest, runs: Sequence[TopUpRun], balances: dict[str, int]) -> None:
    """Each top-up that credits has credited its first payment, once, with invoice and receipt; no other has."""
    kept = sorted((run.paid[0].transaction_id, run.user, run.paid[0].amount) for run in runs if run.stop.story.keeps)
    assert [tuple(row.values()) for row in services.rows(_CREDITED)] == kept
    assert balances == {run.user: 0 for run in runs} | {user: amount for _, user, amount in kept}
    transactions = ",".join(transaction for transaction, _, _ in kept) or None
    assert services.rows(_DOCUMENTED) == [{"invoices": transactions, "receipts": transactions}]


def _check_keys(services: ServicesUnderTest, runs: Sequence[TopUpRun]) -> None:
    """All attempts of a step have the same idempotency key, whatever was killed; a second run has its own."""
    twice = {run.user for run in runs if run.stop.story.stops_late}
    for row in services.rows(_KEYS):
        assert row["user_id"] in twice, row
        assert row["keys"] == 2, row
