"""The external services that the reference workflows call."""
