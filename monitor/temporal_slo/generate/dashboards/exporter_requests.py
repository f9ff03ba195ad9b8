"""Panels of the exporter's requests to Temporal."""

from typing import Final

from temporal_slo import names
from temporal_slo.generate.dashboards.common import label_legend, max_by, rate
from temporal_slo.generate.kit import Panel, Query, timeseries

NAMESPACE: Final = names.NAMESPACE


def panels() -> tuple[Panel, ...]:
    """Return the panels of the row."""
    return _requests(), _responses(), _rate_limits(), _rate_limiter_wait(), _poll_duration()


def _requests() -> Panel:
    queries = (
        Query(rate(names.EXPORTER_VISIBILITY_REQUESTS, names.API), label_legend(names.API)),
        Query(rate(names.EXPORTER_HISTORY_REQUESTS), "close events"),
        Query(rate(names.EXPORTER_TASK_QUEUE_REQUESTS, names.API), label_legend(names.API)),
        Query(rate(names.EXPORTER_DESCRIBE_REQUESTS, names.API), label_legend(names.API)),
    )
    return timeseries(
        "Request rate",
        "Requests to Temporal by API. Temporal allows 10 visibility requests/s per namespace, shared with the Web UI.",
        *queries,
        unit="reqps",
        stacked=True,
        size=(8, 7),
    )


def _responses() -> Panel:
    families = (
        (names.EXPORTER_VISIBILITY_REQUESTS, "visibility"),
        (names.EXPORTER_HISTORY_REQUESTS, "close events"),
        (names.EXPORTER_TASK_QUEUE_REQUESTS, "task queues"),
    )
    queries = (Query(rate(family, names.CODE), f"{kind} {label_legend(names.CODE)}") for family, kind in families)
    return timeseries(
        "Responses by gRPC code",
        "RESOURCE_EXHAUSTED: a rate limit of Temporal was hit, by the exporter or by other clients.",
        *queries,
        unit="reqps",
        size=(8, 7),
    )


def _rate_limits() -> Panel:
    return timeseries(
        "Rate limits",
        "Configured rate limit of each request type.",
        Query(max_by(names.EXPORTER_RATE_LIMIT, names.LIMITER), label_legend(names.LIMITER)),
        unit="reqps",
        size=(8, 7),
    )


def _rate_limiter_wait() -> Panel:
    return timeseries(
        "Rate-limiter wait",
        "Waiting time per second, summed over concurrent requests. If persistently high, the limit is the bottleneck.",
        Query(rate(names.EXPORTER_RATE_LIMIT_WAIT, NAMESPACE, names.LIMITER), label_legend(NAMESPACE, names.LIMITER)),
        unit="percentunit",
    )


def _poll_duration() -> Panel:
    return timeseries(
        "Poll duration",
        "Duration of the last poll.",
        Query(max_by(names.EXPORTER_POLL_DURATION, NAMESPACE), label_legend(NAMESPACE)),
        unit="s",
    )
