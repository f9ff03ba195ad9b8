"""The reference workflows."""
