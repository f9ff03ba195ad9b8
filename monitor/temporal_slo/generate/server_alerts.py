"""Alerts on the Temporal server's own metrics: workflows that the server fails to start appear in no SLI."""

from collections.abc import Callable
from datetime import timedelta
from typing import Final, NamedTuple

from temporal_slo import names
from temporal_slo.generate.cause_alerts import alert_rule, runbook_annotations
from temporal_slo.generate.links import Links
from temporal_slo.generate.recording_rules import INTERVAL, Group, Rule, number
from temporal_slo.names import server
from temporal_slo.promql import Matcher, one_of, selector
from temporal_slo.spec.formatting import seconds_text
from temporal_slo.spec.model import ServerCauses

WINDOW: Final = "5m"
PENDING: Final = timedelta(minutes=10)
"""Twice the window: a single failed request at low traffic does not fire an alert."""


class ServerCause(NamedTuple):
    """An alert on the Temporal server.

    Attributes:
        name: Alert name.
        severity: `page` or `ticket`.
        summary: Symptom and number, one line; a template.
        condition: Returns the alert expression from the thresholds.
    """

    name: str
    severity: str
    summary: str
    condition: Callable[[ServerCauses], str]


def _frontend_rate(metric: server.ServerMetric) -> str:
    # Without long polls: idle workers would dominate the error rate.
    matchers = one_of(server.SERVICE_NAME, (server.FRONTEND,)), Matcher(server.OPERATION, "!~", server.POLLS)
    return f"sum(rate({selector(metric.name, *matchers)}[{WINDOW}]))"


def _error_rate(causes: ServerCauses) -> str:
    errors, requests = _frontend_rate(server.SERVICE_ERRORS), _frontend_rate(server.SERVICE_REQUESTS)
    return f"{errors} / ({requests} > 0) > {number(causes.frontend_error_percent / 100)}"


def _p99(metric: server.ServerMetric, limit: timedelta, *matchers: Matcher, by: str = "") -> str:
    labels = ", ".join(filter(None, ("le", by)))
    buckets = f"rate({selector(f'{metric.name}_bucket', *matchers)}[{WINDOW}])"
    return f"histogram_quantile(0.99, sum by ({labels}) ({buckets})) > {seconds_text(limit)}"


SERVER_CAUSES: Final = (
    ServerCause(
        "TemporalSloServerErrors",
        "page",
        "frontend error rate is {{ $value | humanizePercentage }}",
        _error_rate,
    ),
    ServerCause(
        "TemporalSloPersistenceSlow",
        "ticket",
        "p99 persistence latency of {{ $labels.service_name }} is {{ $value | humanizeDuration }}",
        lambda causes: _p99(server.PERSISTENCE_LATENCY, causes.persistence_latency, by=server.SERVICE_NAME),
    ),
    ServerCause(
        "TemporalSloVisibilityLag",
        "ticket",
        "p99 visibility lag of closed runs is {{ $value | humanizeDuration }}",
        lambda causes: _p99(
            server.TASK_LATENCY, causes.visibility_lag, one_of(server.OPERATION, (server.VISIBILITY_CLOSE_TASK,))
        ),
    ),
)
"""In the order of the runbooks. No selector uses the server's `namespace` label: a scrape may have renamed it."""


def group(causes: ServerCauses, links: Links) -> Group:
    """Return the rule group with the alerts on the Temporal server."""
    rules = [_rule(cause, causes, links) for cause in SERVER_CAUSES]
    return {"name": "temporal-slo-server", "interval": INTERVAL, "rules": rules}


def _rule(cause: ServerCause, causes: ServerCauses, links: Links) -> Rule:
    annotations = {
        "summary": f"Temporal server: {cause.summary}",
        **runbook_annotations(cause.name, links),
        "dashboard_url": links.board(names.DASHBOARD_SERVER, {}),
    }
    return alert_rule(cause.name, cause.condition(causes), PENDING, {names.SEVERITY: cause.severity}, annotations)
