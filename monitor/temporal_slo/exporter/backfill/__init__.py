"""Backfill: counts runs that closed before counting started."""
