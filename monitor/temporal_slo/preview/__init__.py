"""Dashboards as pictures, drawn without a Grafana: a tool for whoever changes them."""
