"""SLO specs: the YAML files that define the SLOs of a service.

tree (YAML to data with line numbers) -> model (frozen, validated) -> lint (valid, but cannot work)
-> load (files to specs, or all problems) -> bound (each SLO with the values of its file).
"""
