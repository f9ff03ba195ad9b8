"""Backfill: counts runs that closed before the ledger began."""
