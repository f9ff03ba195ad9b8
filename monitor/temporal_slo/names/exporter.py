"""Metrics about the exporter itself."""

from typing import Final

from temporal_slo.names.labels import (
    API,
    CODE,
    LIMITER,
    NAMESPACE,
    PREFIX,
    REASON,
    SOURCE,
    VERSION,
    Family,
)

EXPORTER_UP: Final = Family(
    f"{PREFIX}_exporter_up",
    "gauge",
    "1 if the last poll of visibility succeeded, 0 if it failed and the other metrics still show the last successful "
    "poll.",
    (NAMESPACE,),
)
EXPORTER_LAST_SUCCESS: Final = Family(
    f"{PREFIX}_exporter_last_success_timestamp_seconds",
    "gauge",
    "End of the last successful poll of visibility, in Unix time; absent before the first.",
    (NAMESPACE,),
    "seconds",
)
EXPORTER_POLL_DURATION: Final = Family(
    f"{PREFIX}_exporter_poll_duration_seconds",
    "gauge",
    "Duration of the last poll of visibility, successful or not; absent before the first.",
    (NAMESPACE,),
    "seconds",
)
EXPORTER_WATERMARK: Final = Family(
    f"{PREFIX}_exporter_watermark_timestamp_seconds",
    "gauge",
    "Newest close time up to which visibility was read, in Unix time; ranges below it may still be missing: see "
    "temporal_slo_exporter_gap_seconds.",
    (NAMESPACE,),
    "seconds",
)
EXPORTER_GAP: Final = Family(
    f"{PREFIX}_exporter_gap_seconds",
    "gauge",
    "Close-time range not ingested yet; above 0 while catching up.",
    (NAMESPACE,),
    "seconds",
)
EXPORTER_LATE_ROWS: Final = Family(
    f"{PREFIX}_exporter_late_rows",
    "counter",
    "Closed workflow runs that became visible only after later ones had been read.",
    (NAMESPACE,),
)
EXPORTER_VANISHED_RUNS: Final = Family(
    f"{PREFIX}_exporter_vanished_runs",
    "counter",
    "Open workflow runs that are no longer listed and were never seen closed, because they were deleted.",
    (NAMESPACE,),
)
EXPORTER_RECONCILED_RUNS: Final = Family(
    f"{PREFIX}_exporter_reconciled_runs",
    "counter",
    "Open workflow runs missed by polls and found by the full listing every ten minutes.",
    (NAMESPACE,),
)
EXPORTER_AUDITED_UNTIL: Final = Family(
    f"{PREFIX}_exporter_audited_until_timestamp_seconds",
    "gauge",
    "Close time up to which the counts were compared with Temporal's own count of closed workflow runs, in Unix time.",
    (NAMESPACE,),
    "seconds",
)
EXPORTER_AUDIT_DRIFT: Final = Family(
    f"{PREFIX}_exporter_audit_drift_runs",
    "gauge",
    "Temporal's count of closed workflow runs minus the exporter's, for the last audited half hour. Positive: runs are "
    "missing, and are read again. Negative: runs were deleted. Absent before the first audit.",
    (NAMESPACE,),
)
EXPORTER_AUDIT_REPAIRED_RUNS: Final = Family(
    f"{PREFIX}_exporter_audit_repaired_runs",
    "counter",
    "Closed workflow runs found missing by an audit, then read and counted.",
    (NAMESPACE,),
)
EXPORTER_VISIBILITY_REQUESTS: Final = Family(
    f"{PREFIX}_exporter_visibility_requests",
    "counter",
    "Visibility requests sent to Temporal, by API and gRPC status code.",
    (NAMESPACE, API, CODE),
)
EXPORTER_HISTORY_REQUESTS: Final = Family(
    f"{PREFIX}_exporter_history_requests",
    "counter",
    "Requests for close and start events sent to Temporal, by gRPC status code.",
    (NAMESPACE, CODE),
)
EXPORTER_RATE_LIMIT: Final = Family(
    f"{PREFIX}_exporter_rate_limit_requests_per_second",
    "gauge",
    "Configured rate limit of this request type, in requests per second.",
    (NAMESPACE, LIMITER),
)
EXPORTER_CURRENT_RATE_LIMIT: Final = Family(
    f"{PREFIX}_exporter_current_rate_limit_requests_per_second",
    "gauge",
    "Rate limit of this request type now, in requests per second. That of `history` is halved when Temporal throttles "
    "or is overloaded, and grows back to the configured limit; the others are constant.",
    (NAMESPACE, LIMITER),
)
EXPORTER_RATE_LIMIT_WAIT: Final = Family(
    f"{PREFIX}_exporter_rate_limit_wait_seconds",
    "counter",
    "Time that requests of this type spent waiting for the rate limiter.",
    (NAMESPACE, LIMITER),
    "seconds",
)
EXPORTER_PENDING_RUNS: Final = Family(
    f"{PREFIX}_exporter_pending_runs",
    "gauge",
    "Closed workflow runs that were read but are not counted yet, because their close event is still to be read.",
    (NAMESPACE,),
)
EXPORTER_OLDEST_PENDING_AGE: Final = Family(
    f"{PREFIX}_exporter_oldest_pending_age_seconds",
    "gauge",
    "Time since the oldest pending run closed: a run that was read but is not counted yet; 0 if none is pending.",
    (NAMESPACE,),
    "seconds",
)
EXPORTER_MISSING_CLOSE_EVENTS: Final = Family(
    f"{PREFIX}_exporter_missing_close_events",
    "counter",
    "Closed workflow runs counted without their close event, because it was deleted or could not be read in time.",
    (NAMESPACE,),
)
EXPORTER_UNKNOWN_EXECUTION_STARTS: Final = Family(
    f"{PREFIX}_exporter_unknown_execution_starts",
    "gauge",
    "Workflow runs of which it is not known yet when their execution started: open runs that began before counting, "
    "and closed runs that may continue a run that is not read or not classified.",
    (NAMESPACE,),
)
EXPORTER_SHORTENED_EXECUTIONS: Final = Family(
    f"{PREFIX}_exporter_shortened_executions",
    "counter",
    "Executions that count from the oldest run that is known, because the runs before it were deleted or could not be "
    "read in time.",
    (NAMESPACE,),
)
EXPORTER_FAILURE_TYPES_OVER_LIMIT: Final = Family(
    f"{PREFIX}_exporter_failure_types_over_limit",
    "counter",
    "Failures counted with failure type `other`, because their workflow type reached its limit of failure types.",
    (NAMESPACE,),
)
EXPORTER_WORKFLOW_TYPES_OVER_LIMIT: Final = Family(
    f"{PREFIX}_exporter_workflow_types_over_limit",
    "counter",
    "Workflow runs counted with workflow type `other`, because the limit of workflow types is reached.",
    (NAMESPACE,),
)
EXPORTER_QUEUE_LABELS_OVER_LIMIT: Final = Family(
    f"{PREFIX}_exporter_task_queue_labels_over_limit",
    "counter",
    "Workflow runs counted with task queue `other`, because the limit of task queues in labels is reached.",
    (NAMESPACE,),
)
EXPORTER_OUTCOMES_STOPPED: Final = Family(
    f"{PREFIX}_exporter_outcomes_stopped",
    "gauge",
    "1 if business outcomes are not read, because too many consecutive results could not be decoded; decoding is tried "
    "again every ten minutes.",
    (NAMESPACE,),
)
EXPORTER_UNKNOWN_STATUS_ROWS: Final = Family(
    f"{PREFIX}_exporter_unknown_status_rows",
    "counter",
    "Visibility rows skipped because of an unknown status; a row is counted each time it is read.",
    (NAMESPACE,),
)
EXPORTER_ROWS_SET_ASIDE: Final = Family(
    f"{PREFIX}_exporter_rows_set_aside",
    "counter",
    "Visibility rows that cannot be received and are not counted as runs, while the rows after them are: `too_large` "
    "if the row is larger than a message may be, `undecodable` if the server or the exporter cannot read it.",
    (NAMESPACE, REASON),
)
EXPORTER_PAGE_SIZE: Final = Family(
    f"{PREFIX}_exporter_page_size_limit_rows",
    "gauge",
    "Maximum rows of the next page, by API: below 1000 after larger pages could not be received, or not in time.",
    (NAMESPACE, API),
)
EXPORTER_SOURCE_UP: Final = Family(
    f"{PREFIX}_exporter_source_up",
    "gauge",
    "1 if the last read of this data source succeeded, 0 if it failed and the metrics of the source still show the "
    "last successful read; absent before the first.",
    (NAMESPACE, SOURCE),
)
EXPORTER_SOURCE_LAST_SUCCESS: Final = Family(
    f"{PREFIX}_exporter_source_last_success_timestamp_seconds",
    "gauge",
    "End of the last successful read of this data source, in Unix time; absent before the first.",
    (NAMESPACE, SOURCE),
    "seconds",
)
EXPORTER_SOURCE_DURATION: Final = Family(
    f"{PREFIX}_exporter_source_duration_seconds",
    "gauge",
    "Duration of the last read of this data source, successful or not.",
    (NAMESPACE, SOURCE),
    "seconds",
)
EXPORTER_NAMESPACES: Final = Family(
    f"{PREFIX}_exporter_namespaces",
    "gauge",
    "Monitored Temporal namespaces.",
    (),
)
EXPORTER_NAMESPACES_OVER_LIMIT: Final = Family(
    f"{PREFIX}_exporter_namespaces_over_limit",
    "gauge",
    "Temporal namespaces discovered but not monitored, because the limit of namespaces is reached.",
    (),
)
EXPORTER_DISCOVERY_UP: Final = Family(
    f"{PREFIX}_exporter_discovery_up",
    "gauge",
    "1 if the last listing of Temporal's namespaces succeeded, 0 if it failed and the namespaces known before are "
    "monitored; absent if the namespaces are configured.",
    (),
)
EXPORTER_RELOAD_SUCCESSFUL: Final = Family(
    f"{PREFIX}_exporter_config_last_reload_successful",
    "gauge",
    "1 if the last reload of the SLO specs succeeded, 0 if it failed and the previous specs are still in use.",
    (),
)
EXPORTER_RELOAD_TIMESTAMP: Final = Family(
    f"{PREFIX}_exporter_config_last_reload_success_timestamp_seconds",
    "gauge",
    "Last successful reload of the SLO specs, in Unix time.",
    (),
    "seconds",
)
EXPORTER_CONVERTER_SUCCESSFUL: Final = Family(
    f"{PREFIX}_exporter_data_converter_last_reload_successful",
    "gauge",
    "1 if the data converter could be made when a namespace last started, 0 if that failed and the last good one is "
    "still in use.",
    (),
)
EXPORTER_CREDENTIALS_SUCCESSFUL: Final = Family(
    f"{PREFIX}_exporter_credentials_last_reload_successful",
    "gauge",
    "1 if the last reload of the certificates and keys for Temporal succeeded, 0 if they were invalid or Temporal did "
    "not answer with them, and the previous ones are still in use.",
    (),
)
EXPORTER_CREDENTIALS_TIMESTAMP: Final = Family(
    f"{PREFIX}_exporter_credentials_last_reload_success_timestamp_seconds",
    "gauge",
    "Time since when the current certificates and keys for Temporal are in use, in Unix time.",
    (),
    "seconds",
)
EXPORTER_CERTIFICATE_EXPIRY: Final = Family(
    f"{PREFIX}_exporter_client_certificate_expiry_timestamp_seconds",
    "gauge",
    "Expiry of the client certificate in use, in Unix time; absent without a client certificate, or if its expiry "
    "cannot be parsed.",
    (),
    "seconds",
)
EXPORTER_HTTP_CONNECTIONS: Final = Family(
    f"{PREFIX}_exporter_http_connections",
    "gauge",
    "Open HTTP connections to the exporter.",
    (),
)
EXPORTER_HTTP_CONNECTIONS_MAX: Final = Family(
    f"{PREFIX}_exporter_http_connections_limit",
    "gauge",
    "Maximum number of open HTTP connections to the exporter: 512, or half of the process's limit of open files.",
    (),
)
EXPORTER_HTTP_DISCONNECTS: Final = Family(
    f"{PREFIX}_exporter_http_disconnects",
    "counter",
    "HTTP connections ended by the exporter: `slow_request` if the client sent no complete request in time, "
    "`slow_response` if it did not receive the response in time, `over_limit` if a new connection replaced it.",
    (REASON,),
)
EXPORTER_HTTP_ACCEPT_ERRORS: Final = Family(
    f"{PREFIX}_exporter_http_accept_errors",
    "counter",
    "Failed attempts to accept an HTTP connection, for example because the process has reached its limit of open "
    "files.",
    (),
)
EXPORTER_BUILD_INFO: Final = Family(
    f"{PREFIX}_exporter_build_info",
    "gauge",
    "Constant 1, labeled with the version of the exporter.",
    (VERSION,),
)

STORED_COUNTERS: Final = {
    EXPORTER_LATE_ROWS: "late",
    EXPORTER_VANISHED_RUNS: "vanished",
    EXPORTER_RECONCILED_RUNS: "reconciled",
    EXPORTER_AUDIT_REPAIRED_RUNS: "repaired",
    EXPORTER_MISSING_CLOSE_EVENTS: "gone",
    EXPORTER_SHORTENED_EXECUTIONS: "shortened",
    EXPORTER_FAILURE_TYPES_OVER_LIMIT: "other_failures",
    EXPORTER_UNKNOWN_STATUS_ROWS: "unknown_status",
    EXPORTER_WORKFLOW_TYPES_OVER_LIMIT: "other_types",
    EXPORTER_QUEUE_LABELS_OVER_LIMIT: "other_queues",
}
"""Counters that the ledger keeps, each with its name there."""
