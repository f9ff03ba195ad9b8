"""Verifies against a live Prometheus and a live Temporal that the generated rules and alerts have data."""
