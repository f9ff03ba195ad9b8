"""What the exporter tells of filling the ledger from history."""
