"""History export: the history in the ledger as an OpenMetrics file for promtool."""
