"""The HTTP API of the reference application: starts workflows, reports on them, and receives webhooks."""
