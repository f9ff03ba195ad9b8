"""SLO monitoring for Temporal: a Prometheus exporter, a worker library, and generated rules, alerts and dashboards."""
