"""Generates recording rules, alerts, Alertmanager's configuration and dashboards from SLO specs."""
