"""The ledger: the persistent state of each namespace, in SQLite or PostgreSQL."""
