"""The dashboard of the exporter's health: ingestion lag, agreement with Temporal, requests, limits, cost."""

from typing import Final

from temporal_slo import names
from temporal_slo.generate.dashboards import exporter_requests
from temporal_slo.generate.dashboards.common import (
    DATASOURCE,
    GREEN,
    ORANGE,
    RANGE,
    RED,
    RED_FROM_1,
    TEXT,
    UP_THRESHOLDS,
    YELLOW,
    YELLOW_FROM_1,
    YES_IS_GREEN,
    YES_IS_RED,
    DashboardConfig,
    exporter_target,
    increase,
    instant,
    job_variable,
    label_legend,
    max_by,
    namespace_variable,
    select,
    table_query,
)
from temporal_slo.generate.kit import (
    Column,
    Dashboard,
    Panel,
    Query,
    Row,
    Threshold,
    stat,
    state_timeline,
    table,
    timeseries,
)
from temporal_slo.names import Family
from temporal_slo.promql import REPLICA_LABELS

NAMESPACE: Final = names.NAMESPACE
LEGEND: Final = label_legend(NAMESPACE)
POLL_AGE_THRESHOLDS: Final = (Threshold(YELLOW, 60), Threshold(RED, 180))
GAP_THRESHOLDS: Final = (Threshold(YELLOW, 1), Threshold(RED, 900))
ANOMALIES: Final = (
    (names.EXPORTER_LATE_ROWS, "late"),
    (names.EXPORTER_VANISHED_RUNS, "vanished"),
    (names.EXPORTER_RECONCILED_RUNS, "found by reconciliation"),
    (names.EXPORTER_AUDIT_REPAIRED_RUNS, "found by audit"),
    (names.EXPORTER_MISSING_CLOSE_EVENTS, "without close event"),
    (names.EXPORTER_UNKNOWN_STATUS_ROWS, "unknown status"),
    (names.EXPORTER_ROWS_SET_ASIDE, "set aside"),
)
LIMITS: Final = (
    (names.EXPORTER_FAILURE_TYPES_OVER_LIMIT, "failure types counted as other"),
    (names.EXPORTER_WORKFLOW_TYPES_OVER_LIMIT, "runs with workflow type other"),
    (names.EXPORTER_QUEUE_LABELS_OVER_LIMIT, "runs with task queue other"),
    (names.EXPORTER_TASK_PROBLEMS_OVER_LIMIT, "task problems counted as other"),
    (names.EXPORTER_RETRYING_ACTIVITIES_OVER_LIMIT, "retrying activities counted as other"),
    (names.EXPORTER_TASK_QUEUES_OVER_LIMIT, "task queues not monitored"),
    (names.EXPORTER_SCHEDULES_OVER_LIMIT, "schedules not monitored"),
    (names.EXPORTER_NAMESPACES_OVER_LIMIT, "namespaces not monitored"),
)


def dashboard(_: DashboardConfig) -> Dashboard:
    """Return the dashboard."""
    rows = (
        Row("Now", _now()),
        Row("Ingestion", (_namespaces(), _lag(), _gap(), _pending(), _drift(), _anomalies())),
        Row("Requests to Temporal", exporter_requests.panels()),
        Row("Task queues, schedules and other sources", (_source_state(), _source_age())),
        Row("Configuration and limits", (_reload_age(), _limits())),
        Row("Cost", (_scrape_duration(), _samples(), _counted())),
    )
    return Dashboard(
        names.DASHBOARD_EXPORTER,
        "Temporal SLO / Exporter",
        "Exporter health: is it up, how far does it lag, do its counts agree with Temporal's, what does it cost.",
        rows,
        (DATASOURCE, job_variable(names.EXPORTER_UP.sample), namespace_variable(names.EXPORTER_UP)),
    )


def _now() -> tuple[Panel, ...]:
    return (
        stat(
            "Up",
            "Whether the last poll of every namespace succeeded.",
            instant(f"min({select(names.EXPORTER_UP)})"),
            unit="none",
            thresholds=UP_THRESHOLDS,
            mappings=YES_IS_GREEN,
            background=True,
        ),
        stat(
            "Last successful poll",
            "Time since the last successful poll, of the namespace where it is longest.",
            instant(f"time() - min({max_by(names.EXPORTER_LAST_SUCCESS, NAMESPACE)})"),
            unit="s",
            decimals=0,
            thresholds=(Threshold(GREEN), *POLL_AGE_THRESHOLDS),
        ),
        stat(
            "Ingestion gap",
            "Range of close times not read yet.",
            instant(f"max({select(names.EXPORTER_GAP)})"),
            unit="s",
            decimals=0,
            thresholds=(Threshold(GREEN), *GAP_THRESHOLDS),
        ),
        stat(
            "Audit drift",
            "Closed runs counted by Temporal minus those counted by the exporter; none before the first audit.",
            instant(f"max({select(names.EXPORTER_AUDIT_DRIFT)})"),
            unit="locale",
            decimals=0,
            thresholds=YELLOW_FROM_1,
            no_value="not audited yet",
        ),
        stat(
            "Spec reload successful",
            "Whether the last reload of the SLO specs succeeded; otherwise the previous ones are still in use.",
            instant(f"min({select(names.EXPORTER_RELOAD_SUCCESSFUL)})"),
            unit="none",
            thresholds=UP_THRESHOLDS,
            mappings=YES_IS_GREEN,
        ),
        stat(
            "Outcome decoding stopped",
            "Whether reading of business outcomes stopped because results cannot be decoded.",
            instant(f"max({select(names.EXPORTER_OUTCOMES_STOPPED)})"),
            unit="none",
            thresholds=RED_FROM_1,
            mappings=YES_IS_RED,
        ),
    )


def _namespaces() -> Panel:
    exprs = (
        max_by(names.EXPORTER_UP, NAMESPACE),
        f"time() - {max_by(names.EXPORTER_LAST_SUCCESS, NAMESPACE)}",
        _min_by_namespace(names.EXPORTER_GAP),
        _min_by_namespace(names.EXPORTER_PENDING_RUNS),
        _min_by_namespace(names.EXPORTER_AUDIT_DRIFT),
        max_by(names.EXPORTER_POLL_DURATION, NAMESPACE),
        increase(names.EXPORTER_VISIBILITY_REQUESTS, NAMESPACE, window=RANGE),
    )
    columns = (
        Column(NAMESPACE, "Temporal namespace"),
        Column("A", "Up", thresholds=UP_THRESHOLDS, mappings=YES_IS_GREEN),
        Column("B", "Last successful poll", "s", 0, (Threshold(TEXT), *POLL_AGE_THRESHOLDS)),
        Column("C", "Ingestion gap", "s", 0, (Threshold(TEXT), *GAP_THRESHOLDS)),
        Column("D", "Pending runs", "locale", 0),
        Column("E", "Audit drift", "locale", 0, (Threshold(TEXT), Threshold(YELLOW, 1))),
        Column("F", "Poll duration", "s", 2),
        Column("G", "Visibility requests", "locale", 0),
    )
    return table(
        "Namespaces",
        "The monitored Temporal namespaces.",
        *map(table_query, exprs),
        columns=columns,
        size=(24, 6),
        sort_by=("B", True),
    )


def _min_by_namespace(family: Family) -> str:
    return f"min by ({NAMESPACE}) ({select(family)})"


def _lag() -> Panel:
    return timeseries(
        "Lag",
        "Time since the last successful poll, since the newest close time read and the newest one audited, and since "
        "the oldest run closed that is not classified yet.",
        Query(f"time() - {max_by(names.EXPORTER_LAST_SUCCESS, NAMESPACE)}", f"{LEGEND} last poll"),
        Query(f"time() - {max_by(names.EXPORTER_WATERMARK, NAMESPACE)}", f"{LEGEND} watermark"),
        Query(f"time() - {max_by(names.EXPORTER_AUDITED_UNTIL, NAMESPACE)}", f"{LEGEND} audit"),
        Query(_min_by_namespace(names.EXPORTER_OLDEST_PENDING_AGE), f"{LEGEND} classification"),
        unit="s",
        size=(8, 7),
    )


def _gap() -> Panel:
    return timeseries(
        "Ingestion gap over time",
        "Range of close times not read yet; above 0 while the exporter catches up.",
        Query(_min_by_namespace(names.EXPORTER_GAP), LEGEND),
        unit="s",
        size=(8, 7),
    )


def _pending() -> Panel:
    return timeseries(
        "Pending runs",
        "Closed runs that are not classified yet because their close events have not been fetched, by status group.",
        Query(
            f"sum by ({NAMESPACE}, {names.STATUS_GROUP}) (min without ({REPLICA_LABELS}) "
            f"({select(names.WORKFLOWS_PENDING)}))",
            f"{LEGEND} {{{{{names.STATUS_GROUP}}}}}",
        ),
        unit="short",
        size=(8, 7),
    )


def _drift() -> Panel:
    return timeseries(
        "Audit drift over time",
        "Closed runs counted by Temporal minus those counted here, in the last audited half hour.",
        Query(max_by(names.EXPORTER_AUDIT_DRIFT, NAMESPACE), LEGEND),
        unit="short",
        minimum=None,
        size=(12, 7),
    )


def _anomalies() -> Panel:
    queries = (Query(increase(family, NAMESPACE), f"{LEGEND} {kind}") for family, kind in ANOMALIES)
    return timeseries(
        "Late, vanished and repaired runs",
        "Late, vanished or repaired runs, missing close events, skipped rows.",
        *queries,
        unit="short",
        bars=True,
        size=(12, 7),
    )


def _source_state() -> Panel:
    return state_timeline(
        "Sources up",
        "Whether the last read of each source succeeded.",
        Query(max_by(names.EXPORTER_SOURCE_UP, NAMESPACE, names.SOURCE), label_legend(NAMESPACE, names.SOURCE)),
        mappings=YES_IS_GREEN,
        size=(12, 8),
    )


def _source_age() -> Panel:
    by = NAMESPACE, names.SOURCE
    return timeseries(
        "Source age and read duration",
        "Time since the last successful read of each source, and duration of the last read.",
        Query(f"time() - {max_by(names.EXPORTER_SOURCE_LAST_SUCCESS, *by)}", f"{label_legend(*by)} age"),
        Query(max_by(names.EXPORTER_SOURCE_DURATION, *by), f"{label_legend(*by)} duration"),
        unit="s",
    )


def _reload_age() -> Panel:
    def age(family: Family) -> str:
        return f"time() - max by (job) ({select(family)})"

    return timeseries(
        "Time since config reload",
        "Time since the last successful reload of SLO specs, and of certificates and keys. A drop is a reload.",
        Query(age(names.EXPORTER_RELOAD_TIMESTAMP), "{{job}} specs"),
        Query(age(names.EXPORTER_CREDENTIALS_TIMESTAMP), "{{job}} credentials"),
        unit="s",
    )


def _limits() -> Panel:
    queries = (
        Query(f"max({select(family)})" if family.type == "gauge" else f"sum(increase({select(family)}[{RANGE}]))", kind)
        for family, kind in LIMITS
    )
    return timeseries(
        "Items over limits",
        "Items beyond a cardinality limit: counted as `other`, or not monitored.",
        *queries,
        unit="short",
    )


def _scrape_duration() -> Panel:
    return timeseries(
        "Scrape duration",
        "Duration of Prometheus' scrapes of the exporter.",
        Query(exporter_target("scrape_duration_seconds"), "{{job}} {{instance}}"),
        unit="s",
        size=(8, 7),
    )


def _samples() -> Panel:
    return timeseries(
        "Samples per scrape",
        "Number of series that the exporter exposes.",
        Query(exporter_target("scrape_samples_scraped"), "{{job}} {{instance}}"),
        unit="short",
        size=(8, 7),
        thresholds=(Threshold(GREEN), Threshold(ORANGE, 10000)),
    )


def _counted() -> Panel:
    return timeseries(
        "Closed runs counted",
        "Closed runs counted in the time range before each point.",
        Query(increase(names.WORKFLOWS_CLOSED, NAMESPACE, window=RANGE), LEGEND),
        unit="short",
        size=(8, 7),
    )
