"""History export: the ledger's history as an OpenMetrics file."""
