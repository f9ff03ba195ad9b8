"""The SLO spec: what a team promises of its workflows, written in YAML.

tree (YAML text to data and lines) -> model (frozen, of values) -> load (files to specs, or every problem in words).
"""
