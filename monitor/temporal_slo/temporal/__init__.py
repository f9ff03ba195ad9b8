"""Everything that sends requests to a Temporal server."""
