"""Workflow runs: the run itself, classification, series keys, time units, failure types, outcome rules."""
