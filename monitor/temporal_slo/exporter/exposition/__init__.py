"""Exposition: renders snapshots and serves them to scrapes."""
