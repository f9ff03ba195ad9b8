"""The dashboard of the Temporal server: the parts of its health that SLOs depend on."""

from typing import Final

from temporal_slo import names
from temporal_slo.generate.dashboards.common import (
    DATASOURCE,
    GREEN,
    MATCH_JOB,
    ORANGE,
    PER_SECOND,
    RATE_INTERVAL,
    RED,
    YELLOW,
    DashboardConfig,
    instant,
    job_variable,
    label_legend,
)
from temporal_slo.generate.kit import Dashboard, Panel, Query, Row, Threshold, stat, timeseries
from temporal_slo.names import server
from temporal_slo.names.server import ServerMetric
from temporal_slo.promql import Matcher, one_of, selector

MATCH_FRONTEND: Final = one_of(server.SERVICE_NAME, (server.FRONTEND,))
NOT_POLLS: Final = Matcher(server.OPERATION, "!~", server.POLLS)
FRONTEND_REQUESTS: Final = (MATCH_FRONTEND, NOT_POLLS)
MATCH_VISIBILITY_TASK: Final = one_of(server.OPERATION, (server.VISIBILITY_CLOSE_TASK,))
SERVICE: Final = server.SERVICE_NAME
ERROR_RATE_THRESHOLDS: Final = (Threshold(GREEN), Threshold(YELLOW, 0.001), Threshold(RED, 0.01))
P50_AND_P99: Final = (("0.5", "p50"), ("0.99", "p99"))


def dashboard(_: DashboardConfig) -> Dashboard:
    """Return the dashboard."""
    rows = (
        Row("Now", _now()),
        Row("Requests", (_requests(), _errors(), _latency(), _slowest())),
        Row("Persistence", (_persistence(), _persistence_errors(), _persistence_latency())),
        Row("Visibility", (_visibility_lag(), _visibility(), _visibility_latency())),
        Row("Tasks and shards", (_tasks(), _task_latency(), _attempts(), _shards(), _sync_match(), _dispatch())),
        Row("Hosts", (_memory(), _restarts(), _cache())),
    )
    return Dashboard(
        names.DASHBOARD_SERVER,
        "Temporal SLO / Temporal server",
        "Temporal cluster health: request latency and error rate, persistence latency, visibility lag. Uses the "
        "server's own metrics; all of its services must be scraped.",
        rows,
        (DATASOURCE, job_variable(server.SERVICE_REQUESTS.name)),
        time_from="now-3h",
    )


def _select(metric: ServerMetric, *matchers: Matcher, suffix: str = "") -> str:
    return selector(f"{metric.name}{suffix}", MATCH_JOB, *matchers)


def _rate(metric: ServerMetric, *by: str, matchers: tuple[Matcher, ...] = ()) -> str:
    per_series = f"rate({_select(metric, *matchers)}[{RATE_INTERVAL}])"
    return f"sum by ({', '.join(by)}) ({per_series})" if by else f"sum({per_series})"


def _quantile(metric: ServerMetric, *by: str, quantile: str = "0.99", matchers: tuple[Matcher, ...] = ()) -> str:
    buckets = f"rate({_select(metric, *matchers, suffix='_bucket')}[{RATE_INTERVAL}])"
    return f"histogram_quantile({quantile}, sum by ({', '.join(('le', *by))}) ({buckets}))"


def _error_rate() -> str:
    # The server has no series of errors before the first one: 0 only if there are requests.
    requests = _rate(server.SERVICE_REQUESTS, matchers=FRONTEND_REQUESTS)
    return f"({_rate(server.SERVICE_ERRORS, matchers=FRONTEND_REQUESTS)} or 0 * {requests}) / ({requests} > 0)"


def _now() -> tuple[Panel, ...]:
    return (
        stat(
            "Error rate",
            "Share of frontend requests that failed with a server error, without polls.",
            instant(_error_rate()),
            unit="percentunit",
            decimals=2,
            thresholds=ERROR_RATE_THRESHOLDS,
            no_value="no requests",
        ),
        stat(
            "Request latency p99",
            "Latency of frontend requests, without polls.",
            instant(_quantile(server.SERVICE_LATENCY, matchers=FRONTEND_REQUESTS)),
            unit="s",
            decimals=2,
            thresholds=(Threshold(GREEN), Threshold(YELLOW, 1), Threshold(RED, 5)),
        ),
        stat(
            "Persistence latency p99",
            "Latency of requests to the database.",
            instant(_quantile(server.PERSISTENCE_LATENCY)),
            unit="s",
            decimals=2,
            thresholds=(Threshold(GREEN), Threshold(YELLOW, 0.5), Threshold(RED, 1)),
        ),
        stat(
            "Visibility lag p99",
            "Time from the close of a run until visibility shows it.",
            instant(_quantile(server.TASK_LATENCY, matchers=(MATCH_VISIBILITY_TASK,))),
            unit="s",
            decimals=1,
            thresholds=(Threshold(GREEN), Threshold(YELLOW, 10), Threshold(RED, 60)),
        ),
        stat(
            "Shards",
            "History shards owned by all history hosts together.",
            instant(f"sum({_select(server.SHARDS)})"),
            unit="none",
            decimals=0,
        ),
        stat(
            "Services by version",
            "Number of server processes of each version.",
            instant(f"count by (build_version) ({_select(server.BUILD)})", "{{build_version}}"),
            unit="none",
            decimals=0,
            show_name=True,
        ),
    )


def _requests() -> Panel:
    expr = _rate(server.SERVICE_REQUESTS, server.OPERATION, matchers=FRONTEND_REQUESTS)
    return timeseries(
        "Request rate",
        "Frontend requests by operation without polls, the ten most frequent.",
        Query(f"topk(10, {expr})", label_legend(server.OPERATION)),
        unit="reqps",
    )


def _errors() -> Panel:
    by = SERVICE, server.ERROR_TYPE
    return timeseries(
        "Errors",
        "Errors of all services by type, including those caused by clients; and server errors.",
        Query(_rate(server.SERVICE_ERRORS_BY_TYPE, *by), label_legend(*by)),
        Query(_rate(server.SERVICE_ERRORS, SERVICE), f"{label_legend(SERVICE)} server errors"),
        unit="reqps",
    )


def _latency() -> Panel:
    queries = (
        Query(
            _quantile(server.SERVICE_LATENCY, SERVICE, quantile=quantile, matchers=(NOT_POLLS,)),
            f"{label_legend(SERVICE)} {name}",
        )
        for quantile, name in P50_AND_P99
    )
    return timeseries(
        "Request latency",
        "Latency of requests by service without polls, p50 and p99.",
        *queries,
        unit="s",
    )


def _slowest() -> Panel:
    expr = _quantile(server.SERVICE_LATENCY, server.OPERATION, quantile="0.95", matchers=FRONTEND_REQUESTS)
    return timeseries(
        "Slowest operations",
        "The ten frontend operations with the highest p95 latency.",
        Query(f"topk(10, {expr})", f"{label_legend(server.OPERATION)} p95"),
        unit="s",
    )


def _persistence() -> Panel:
    return timeseries(
        "Persistence request rate",
        "Requests to the database by service.",
        Query(_rate(server.PERSISTENCE_REQUESTS, SERVICE), label_legend(SERVICE)),
        unit="reqps",
        size=(8, 7),
    )


def _persistence_errors() -> Panel:
    by = SERVICE, server.ERROR_TYPE
    return timeseries(
        "Persistence errors",
        "Failed requests to the database by type. Some are normal: not found, condition failed.",
        Query(_rate(server.PERSISTENCE_ERRORS, *by), label_legend(*by)),
        unit="reqps",
        size=(8, 7),
    )


def _persistence_latency() -> Panel:
    return timeseries(
        "Persistence latency p99 by service",
        "Latency of requests to the database.",
        Query(_quantile(server.PERSISTENCE_LATENCY, SERVICE), label_legend(SERVICE)),
        unit="s",
        size=(8, 7),
    )


def _visibility_lag() -> Panel:
    queries = (
        Query(_quantile(server.TASK_LATENCY, quantile=quantile, matchers=(MATCH_VISIBILITY_TASK,)), name)
        for quantile, name in P50_AND_P99
    )
    return timeseries(
        "Visibility lag",
        "Time from the close of a run until visibility shows it. SLOs are delayed by this.",
        *queries,
        unit="s",
        size=(8, 7),
    )


def _visibility() -> Panel:
    return timeseries(
        "Visibility request rate",
        "Requests to the visibility store by operation.",
        Query(_rate(server.VISIBILITY_REQUESTS, server.OPERATION), label_legend(server.OPERATION)),
        unit="reqps",
        size=(8, 7),
    )


def _visibility_latency() -> Panel:
    return timeseries(
        "Visibility latency p99",
        "Latency of requests to the visibility store by operation.",
        Query(_quantile(server.VISIBILITY_LATENCY, server.OPERATION), label_legend(server.OPERATION)),
        unit="s",
        size=(8, 7),
    )


def _tasks() -> Panel:
    by = (server.TASK_CATEGORY,)
    return timeseries(
        "History task rate",
        "Internal tasks of the history service by category, and failed ones.",
        Query(_rate(server.TASK_REQUESTS, *by), label_legend(*by)),
        Query(_rate(server.TASK_ERRORS, *by), f"{label_legend(*by)} failed"),
        unit=PER_SECOND,
        size=(8, 7),
    )


def _task_latency() -> Panel:
    return timeseries(
        "History task latency p99",
        "Time from the creation of an internal task to its completion, including retries.",
        Query(_quantile(server.TASK_LATENCY, server.TASK_CATEGORY), label_legend(server.TASK_CATEGORY)),
        unit="s",
        size=(8, 7),
    )


def _attempts() -> Panel:
    return timeseries(
        "History task attempts p99",
        "Attempts per internal task. More than 1: a shard or the database has problems.",
        Query(_quantile(server.TASK_ATTEMPTS, server.TASK_CATEGORY), label_legend(server.TASK_CATEGORY)),
        unit="short",
        size=(8, 7),
    )


def _shards() -> Panel:
    return timeseries(
        "Shard movement",
        "Shards acquired by hosts per second, and the acquisition latency in seconds, p99.",
        Query(_rate(server.SHARDS_ACQUIRED), "acquired per second"),
        Query(_quantile(server.SHARD_LATENCY), "acquisition latency p99 (s)"),
        unit="short",
        size=(8, 7),
    )


def _sync_match() -> Panel:
    return timeseries(
        "Sync match rate",
        "Share of tasks handed directly to a waiting poller. A falling rate means too few workers.",
        Query(f"{_rate(server.SYNC_MATCHES)} / ({_rate(server.MATCHES)} > 0)", "sync match rate"),
        unit="percentunit",
        maximum=1,
        size=(8, 7),
    )


def _dispatch() -> Panel:
    return timeseries(
        "Task dispatch latency",
        "Time that tasks wait in task queues until they are dispatched to a worker, p95.",
        Query(_quantile(server.DISPATCH_LATENCY, quantile="0.95"), "p95"),
        unit="s",
        size=(8, 7),
    )


def _memory() -> Panel:
    return timeseries(
        "Heap in use",
        "Heap memory in use by host.",
        Query(f"max by (instance) ({_select(server.MEMORY)})", "{{instance}}"),
        unit="bytes",
        size=(8, 7),
    )


def _restarts() -> Panel:
    starts = f"sum by ({SERVICE}) (increase({_select(server.RESTARTS)}[{RATE_INTERVAL}]))"
    changes = f"sum by ({SERVICE}) (increase({_select(server.MEMBERSHIP)}[{RATE_INTERVAL}]))"
    return timeseries(
        "Restarts and membership changes",
        "Starts of services, and changes of the cluster membership.",
        Query(starts, f"{label_legend(SERVICE)} starts"),
        Query(changes, f"{label_legend(SERVICE)} membership changes"),
        unit="short",
        bars=True,
        size=(8, 7),
        thresholds=(Threshold(GREEN), Threshold(ORANGE, 1)),
    )


def _cache() -> Panel:
    return timeseries(
        "Cache miss rate",
        "Share of lookups that missed the caches of a service.",
        Query(
            f"{_rate(server.CACHE_MISSES, SERVICE)} / ({_rate(server.CACHE_REQUESTS, SERVICE)} > 0)",
            label_legend(SERVICE),
        ),
        unit="percentunit",
        size=(8, 7),
    )
