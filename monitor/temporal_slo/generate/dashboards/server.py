"""The Temporal server, as far as who owns an SLO needs to know it."""

from typing import Final

from temporal_slo import names
from temporal_slo.generate.dashboards.common import (
    A_SECOND,
    BAD,
    DATASOURCE,
    GOOD,
    HIGH,
    INTERVAL,
    OF_JOB,
    WARN,
    Setting,
    by_legend,
    job_of,
    now,
)
from temporal_slo.generate.kit import Board, Query, Row, Step, stat, timeseries
from temporal_slo.generate.kit.parts import Panel
from temporal_slo.names import server
from temporal_slo.names.server import ServerMetric
from temporal_slo.promql import Matcher, one_of, selector

FRONTEND: Final = one_of(server.SERVICE_NAME, (server.FRONTEND,))
ASKED: Final = (FRONTEND, Matcher(server.OPERATION, "!~", server.POLLS))
SHOWN: Final = one_of(server.OPERATION, (server.CLOSED_IS_SHOWN,))
SERVICE: Final = server.SERVICE_NAME
FAILURES: Final = (Step(GOOD), Step(WARN, 0.001), Step(BAD, 0.01))


def board(_: Setting) -> Board:
    """Return the dashboard."""
    rows = (
        Row("Now", _now()),
        Row("Requests", (_asked(), _errors(), _latency(), _slowest())),
        Row("Persistence", (_stored(), _storing_failed(), _storing())),
        Row("Visibility", (_shown(), _visibility(), _visibility_latency())),
        Row("Tasks and shards", (_tasks(), _task_lag(), _attempts(), _shards(), _matching(), _dispatch())),
        Row("Hosts", (_memory(), _restarts(), _cache())),
    )
    return Board(
        names.DASHBOARD_SERVER,
        "Temporal SLO / Temporal server",
        "What an SLO needs of the cluster: does it answer, how fast, does its database keep up, how late does it show "
        "closed runs. From the server's own metrics; all its services are to be scraped.",
        rows,
        (DATASOURCE, job_of(server.SERVICE_REQUESTS.name)),
        since="now-3h",
    )


def _of(metric: ServerMetric, *matchers: Matcher, suffix: str = "") -> str:
    return selector(f"{metric.name}{suffix}", OF_JOB, *matchers)


def _rate(metric: ServerMetric, *by: str, matchers: tuple[Matcher, ...] = ()) -> str:
    grown = f"rate({_of(metric, *matchers)}[{INTERVAL}])"
    return f"sum by ({', '.join(by)}) ({grown})" if by else f"sum({grown})"


def _within(metric: ServerMetric, *by: str, part: str = "0.99", matchers: tuple[Matcher, ...] = ()) -> str:
    buckets = f"rate({_of(metric, *matchers, suffix='_bucket')}[{INTERVAL}])"
    return f"histogram_quantile({part}, sum by ({', '.join(('le', *by))}) ({buckets}))"


def _failing() -> str:
    # The server counts errors from the first on: no series of them is none only where requests have one.
    asked = _rate(server.SERVICE_REQUESTS, matchers=ASKED)
    return f"({_rate(server.SERVICE_ERRORS, matchers=ASKED)} or 0 * {asked}) / ({asked} > 0)"


def _now() -> tuple[Panel, ...]:
    return (
        stat(
            "Requests that fail",
            "Share of the frontend's requests that failed by the server's own fault, polls left out.",
            now(_failing()),
            unit="percentunit",
            decimals=2,
            steps=FAILURES,
            empty="no requests",
        ),
        stat(
            "Answers within",
            "Within what time 99 of 100 requests were answered, polls left out.",
            now(_within(server.SERVICE_LATENCY, matchers=ASKED)),
            unit="s",
            decimals=2,
            steps=(Step(GOOD), Step(WARN, 1), Step(BAD, 5)),
        ),
        stat(
            "Database within",
            "Within what time 99 of 100 requests to the database were done.",
            now(_within(server.PERSISTENCE_LATENCY)),
            unit="s",
            decimals=2,
            steps=(Step(GOOD), Step(WARN, 0.5), Step(BAD, 1)),
        ),
        stat(
            "Closed runs show within",
            "Within what time 99 of 100 closed runs showed in visibility.",
            now(_within(server.TASK_LATENCY, matchers=(SHOWN,))),
            unit="s",
            decimals=1,
            steps=(Step(GOOD), Step(WARN, 10), Step(BAD, 60)),
        ),
        stat(
            "Shards",
            "Shards of the history service that some host owns.",
            now(f"sum({_of(server.SHARDS)})"),
            unit="none",
            decimals=0,
        ),
        stat(
            "Versions",
            "How many services of the server run in each version.",
            now(f"count by (build_version) ({_of(server.BUILD)})", "{{build_version}}"),
            unit="none",
            decimals=0,
            named=True,
        ),
    )


def _asked() -> Panel:
    return timeseries(
        "Requests",
        "Requests of the frontend by operation, the ten most frequent, polls left out.",
        Query(
            f"topk(10, {_rate(server.SERVICE_REQUESTS, server.OPERATION, matchers=ASKED)})", by_legend(server.OPERATION)
        ),
        unit="reqps",
    )


def _errors() -> Panel:
    by = SERVICE, server.ERROR_TYPE
    return timeseries(
        "Errors",
        "Errors of all services by type, those of callers among them; and those that are the service's own fault.",
        Query(_rate(server.SERVICE_ERRORS_BY_TYPE, *by), by_legend(*by)),
        Query(f"{_rate(server.SERVICE_ERRORS, SERVICE)}", f"{by_legend(SERVICE)} own fault"),
        unit="reqps",
    )


def _latency() -> Panel:
    queries = (
        Query(
            _within(
                server.SERVICE_LATENCY, SERVICE, part=part, matchers=(Matcher(server.OPERATION, "!~", server.POLLS),)
            ),
            f"{by_legend(SERVICE)} {word}",
        )
        for part, word in (("0.5", "half"), ("0.99", "99 of 100"))
    )
    return timeseries(
        "Answers",
        "Within what time each service answers half, and 99 of 100, of its requests, polls left out.",
        *queries,
        unit="s",
    )


def _slowest() -> Panel:
    return timeseries(
        "Slowest operations",
        "The ten operations of the frontend that take longest: 95 of 100 are faster.",
        Query(
            f"topk(10, {_within(server.SERVICE_LATENCY, server.OPERATION, part='0.95', matchers=ASKED)})",
            by_legend(server.OPERATION),
        ),
        unit="s",
    )


def _stored() -> Panel:
    return timeseries(
        "Database requests",
        "Requests to the database by service.",
        Query(_rate(server.PERSISTENCE_REQUESTS, SERVICE), by_legend(SERVICE)),
        unit="reqps",
        size=(8, 7),
    )


def _storing_failed() -> Panel:
    by = SERVICE, server.ERROR_TYPE
    return timeseries(
        "Database errors",
        "Requests to the database that failed, by type. Some are usual: what was not found, a condition not met.",
        Query(_rate(server.PERSISTENCE_ERRORS, *by), by_legend(*by)),
        unit="reqps",
        size=(8, 7),
    )


def _storing() -> Panel:
    return timeseries(
        "Database latency",
        "Within what time 99 of 100 requests to the database are done, by service.",
        Query(_within(server.PERSISTENCE_LATENCY, SERVICE), by_legend(SERVICE)),
        unit="s",
        size=(8, 7),
    )


def _shown() -> Panel:
    queries = (
        Query(_within(server.TASK_LATENCY, part=part, matchers=(SHOWN,)), word)
        for part, word in (("0.5", "half"), ("0.99", "99 of 100"))
    )
    return timeseries(
        "Closed runs show",
        "Within what time closed runs show in visibility: SLOs are as late as this.",
        *queries,
        unit="s",
        size=(8, 7),
    )


def _visibility() -> Panel:
    return timeseries(
        "Visibility requests",
        "Requests to the visibility store by operation.",
        Query(_rate(server.VISIBILITY_REQUESTS, server.OPERATION), by_legend(server.OPERATION)),
        unit="reqps",
        size=(8, 7),
    )


def _visibility_latency() -> Panel:
    return timeseries(
        "Visibility latency",
        "Within what time 99 of 100 requests to the visibility store are done.",
        Query(_within(server.VISIBILITY_LATENCY, server.OPERATION), by_legend(server.OPERATION)),
        unit="s",
        size=(8, 7),
    )


def _tasks() -> Panel:
    by = (server.TASK_CATEGORY,)
    return timeseries(
        "Internal tasks",
        "Tasks of the history service by category, and those that failed.",
        Query(_rate(server.TASK_REQUESTS, *by), by_legend(*by)),
        Query(_rate(server.TASK_ERRORS, *by), f"{by_legend(*by)} failed"),
        unit=A_SECOND,
        size=(8, 7),
    )


def _task_lag() -> Panel:
    return timeseries(
        "Internal tasks take",
        "Within what time 99 of 100 internal tasks are done from when they were made, retries and all.",
        Query(_within(server.TASK_LATENCY, server.TASK_CATEGORY), by_legend(server.TASK_CATEGORY)),
        unit="s",
        size=(8, 7),
    )


def _attempts() -> Panel:
    return timeseries(
        "Attempts of internal tasks",
        "Attempts that 99 of 100 internal tasks need: more than one is a shard or database in trouble.",
        Query(_within(server.TASK_ATTEMPTS, server.TASK_CATEGORY), by_legend(server.TASK_CATEGORY)),
        unit="short",
        size=(8, 7),
    )


def _shards() -> Panel:
    return timeseries(
        "Shards move",
        "Shards that hosts took over, a second, and within what time 99 of 100 were taken.",
        Query(_rate(server.SHARDS_ACQUIRED), "taken over"),
        Query(_within(server.SHARD_LATENCY), "seconds to take one"),
        unit="short",
        size=(8, 7),
    )


def _matching() -> Panel:
    share = f"{_rate(server.SYNC_MATCHES)} / ({_rate(server.MATCHES)} > 0)"
    return timeseries(
        "Tasks that found a worker waiting",
        "Share of the tasks that were handed to a worker at once. If it falls, there are too few workers.",
        Query(share, "handed over at once"),
        unit="percentunit",
        high=1,
        size=(8, 7),
    )


def _dispatch() -> Panel:
    return timeseries(
        "Tasks wait in queues",
        "Within what time 95 of 100 tasks were dispatched to a worker.",
        Query(_within(server.DISPATCH_LATENCY, part="0.95"), "95 of 100"),
        unit="s",
        size=(8, 7),
    )


def _memory() -> Panel:
    return timeseries(
        "Memory",
        "Heap in use by each host.",
        Query(f"max by (instance) ({_of(server.MEMORY)})", "{{instance}}"),
        unit="bytes",
        size=(8, 7),
    )


def _restarts() -> Panel:
    started = f"sum by ({SERVICE}) (increase({_of(server.RESTARTS)}[{INTERVAL}]))"
    moved = f"sum by ({SERVICE}) (increase({_of(server.MEMBERSHIP)}[{INTERVAL}]))"
    return timeseries(
        "Restarts",
        "Services that started, and changes of the cluster's membership.",
        Query(started, f"{by_legend(SERVICE)} started"),
        Query(moved, f"{by_legend(SERVICE)} membership"),
        unit="short",
        bars=True,
        size=(8, 7),
        steps=(Step(GOOD), Step(HIGH, 1)),
    )


def _cache() -> Panel:
    share = f"{_rate(server.CACHE_MISSES, SERVICE)} / ({_rate(server.CACHE_REQUESTS, SERVICE)} > 0)"
    return timeseries(
        "Cache misses",
        "Share of look-ups that a service's caches did not answer.",
        Query(share, by_legend(SERVICE)),
        unit="percentunit",
        size=(8, 7),
    )
