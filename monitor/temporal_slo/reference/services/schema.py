"""The tables of the books."""

from typing import Final

TABLES: Final = """
-- Calls, their idempotency keys with the stored responses, and the injected faults.
CREATE TABLE IF NOT EXISTS keys (
    key TEXT PRIMARY KEY, fingerprint TEXT NOT NULL, attempts INTEGER NOT NULL DEFAULT 1,
    status INTEGER, body TEXT, at TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS keys_at ON keys (at);
CREATE TABLE IF NOT EXISTS calls (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, method TEXT NOT NULL, endpoint TEXT NOT NULL, user_id TEXT NOT NULL,
    key TEXT, attempt INTEGER NOT NULL, at TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS call_counts (endpoint TEXT PRIMARY KEY, calls INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS owners (subject TEXT PRIMARY KEY, user_id TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS faults (
    name TEXT PRIMARY KEY, rule TEXT NOT NULL, matched INTEGER NOT NULL DEFAULT 0, injected INTEGER NOT NULL DEFAULT 0
);

-- Bookings.
CREATE TABLE IF NOT EXISTS seats_sold (
    bus_id TEXT, segment TEXT, last INTEGER NOT NULL, PRIMARY KEY (bus_id, segment)
);
CREATE TABLE IF NOT EXISTS reservations (
    reservation_id TEXT PRIMARY KEY, user_id TEXT, bus_id TEXT, segment TEXT, seat_number TEXT, expires_at TEXT,
    released INTEGER NOT NULL DEFAULT 0, UNIQUE (bus_id, segment, seat_number)
);
CREATE TABLE IF NOT EXISTS charges (
    reservation_id TEXT PRIMARY KEY, user_id TEXT, amount INTEGER NOT NULL DEFAULT 0, transaction_id TEXT UNIQUE,
    refunded INTEGER NOT NULL DEFAULT 0, blocked INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE IF NOT EXISTS bookings (
    booking_id TEXT PRIMARY KEY, reservation_id TEXT NOT NULL UNIQUE, payment_id TEXT,
    confirmed INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS notifications (
    user_id TEXT, type TEXT, data TEXT, at TEXT NOT NULL, PRIMARY KEY (user_id, type, data)
);

-- Fleet.
CREATE TABLE IF NOT EXISTS timetables (
    bus_id TEXT, service_date TEXT, departs_at TEXT NOT NULL, arrives_at TEXT NOT NULL,
    PRIMARY KEY (bus_id, service_date)
);
CREATE TABLE IF NOT EXISTS manifests (
    bus_id TEXT, service_date TEXT, sealed INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (bus_id, service_date)
);
CREATE TABLE IF NOT EXISTS manifest_bookings (
    seq INTEGER PRIMARY KEY, booking_id TEXT NOT NULL UNIQUE, bus_id TEXT NOT NULL, service_date TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS manifest_bookings_bus ON manifest_bookings (bus_id, service_date, seq);

-- Payments at Paystack, wallets.
CREATE TABLE IF NOT EXISTS transactions (
    reference TEXT PRIMARY KEY, user_id TEXT NOT NULL, amount INTEGER NOT NULL, cancelled INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE IF NOT EXISTS payments (
    seq INTEGER PRIMARY KEY, transaction_id TEXT NOT NULL UNIQUE, reference TEXT NOT NULL, amount INTEGER NOT NULL,
    success INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS payments_reference ON payments (reference, seq);
CREATE TABLE IF NOT EXISTS refunds (
    transaction_id TEXT PRIMARY KEY, reference TEXT NOT NULL, amount INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS deliveries (seq INTEGER PRIMARY KEY, event TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS credits (
    transaction_id TEXT PRIMARY KEY, user_id TEXT NOT NULL, amount INTEGER NOT NULL, reference TEXT NOT NULL,
    reversed INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS credits_user ON credits (user_id);
CREATE TABLE IF NOT EXISTS invoices (transaction_id TEXT PRIMARY KEY, user_id TEXT NOT NULL, invoice_id TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS receipts (transaction_id TEXT PRIMARY KEY, user_id TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS approvals (
    seq INTEGER PRIMARY KEY, workflow_id TEXT NOT NULL UNIQUE, user_id TEXT NOT NULL DEFAULT '',
    asked INTEGER NOT NULL DEFAULT 0, paid INTEGER NOT NULL DEFAULT 0, reference TEXT NOT NULL DEFAULT '',
    opened_at TEXT, reminders INTEGER NOT NULL DEFAULT 0, decision TEXT, approver TEXT, reason TEXT
);
"""
