"""Renders dashboards as pictures without a running Grafana, for their developers."""
