"""Alerts on the Temporal server, from its own metrics: where it fails, no workflow starts, and none is seen to fail."""

from collections.abc import Callable
from datetime import timedelta
from typing import Final, NamedTuple

from temporal_slo import names
from temporal_slo.generate.cause_alerts import alert, explained
from temporal_slo.generate.links import Links
from temporal_slo.generate.recording_rules import INTERVAL, Group, Rule, number
from temporal_slo.names import server
from temporal_slo.promql import Matcher, one_of, selector
from temporal_slo.spec.figures import seconds
from temporal_slo.spec.model import ServerCauses

WINDOW: Final = "5m"
WAIT: Final = timedelta(minutes=10)
"""Twice the window: one bad request among few is forgotten by then."""


class ServerCause(NamedTuple):
    """An alert on the server.

    Attributes:
        name: Of the alert.
        severity: `page` or `ticket`.
        summary: One line; may hold labels of the series.
        condition: Returns the expression from the thresholds.
    """

    name: str
    severity: str
    summary: str
    condition: Callable[[ServerCauses], str]


def _frontend(metric: server.ServerMetric) -> str:
    # Polls wait for work: with them in it, the share of what fails would be of idle workers' making.
    chosen = one_of(server.SERVICE_NAME, (server.FRONTEND,)), Matcher(server.OPERATION, "!~", server.POLLS)
    return f"sum(rate({selector(metric.name, *chosen)}[{WINDOW}]))"


def _failing(causes: ServerCauses) -> str:
    failed, asked = _frontend(server.SERVICE_ERRORS), _frontend(server.SERVICE_REQUESTS)
    return f"{failed} / ({asked} > 0) > {number(causes.frontend_error_percent / 100)}"


def _slow(metric: server.ServerMetric, limit: timedelta, *matchers: Matcher, by: str = "") -> str:
    labels = ", ".join(filter(None, ("le", by)))
    buckets = f"rate({selector(f'{metric.name}_bucket', *matchers)}[{WINDOW}])"
    return f"histogram_quantile(0.99, sum by ({labels}) ({buckets})) > {seconds(limit)}"


SERVER_CAUSES: Final = (
    ServerCause(
        "TemporalSloServerErrors",
        "page",
        "Temporal fails {{ $value | humanizePercentage }} of the requests that are made of it",
        _failing,
    ),
    ServerCause(
        "TemporalSloPersistenceSlow",
        "ticket",
        "a hundredth of the {{ $labels.service_name }} service's requests to the database take "
        "{{ $value | humanizeDuration }} or longer",
        lambda causes: _slow(server.PERSISTENCE_LATENCY, causes.persistence_latency, by=server.SERVICE_NAME),
    ),
    ServerCause(
        "TemporalSloVisibilityLag",
        "ticket",
        "closed runs show {{ $value | humanizeDuration }} late in visibility",
        lambda causes: _slow(
            server.TASK_LATENCY, causes.visibility_lag, one_of(server.OPERATION, (server.VISIBILITY_CLOSE_TASK,))
        ),
    ),
)
"""In the order of the runbooks. The server's label of the namespace is not asked for: a scrape may have renamed it."""


def group(causes: ServerCauses, links: Links) -> Group:
    """Return the alerts on the Temporal server."""
    rules = [_rule(cause, causes, links) for cause in SERVER_CAUSES]
    return {"name": "temporal-slo-server", "interval": INTERVAL, "rules": rules}


def _rule(cause: ServerCause, causes: ServerCauses, links: Links) -> Rule:
    annotations = {
        "summary": cause.summary,
        **explained(cause.name, links),
        "dashboard_url": links.board(names.DASHBOARD_SERVER, {}),
    }
    return alert(cause.name, cause.condition(causes), WAIT, {names.SEVERITY: cause.severity}, annotations)
