"""The ledger: what is known of each namespace, in SQLite or PostgreSQL."""
