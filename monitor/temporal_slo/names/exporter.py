"""What the exporter tells of itself."""

from typing import Final

from temporal_slo.names.labels import (
    API,
    CODE,
    LIMITER,
    NAMESPACE,
    PREFIX,
    SOURCE,
    VERSION,
    Family,
)

EXPORTER_UP: Final = Family(
    f"{PREFIX}_exporter_up",
    "gauge",
    "1 if the last poll of visibility was complete, 0 if it failed and the other figures are the last good ones.",
    (NAMESPACE,),
)
EXPORTER_LAST_SUCCESS: Final = Family(
    f"{PREFIX}_exporter_last_success_timestamp_seconds",
    "gauge",
    "When the last complete poll of visibility ended, in Unix time; absent before the first.",
    (NAMESPACE,),
    "seconds",
)
EXPORTER_POLL_DURATION: Final = Family(
    f"{PREFIX}_exporter_poll_duration_seconds",
    "gauge",
    "How long the last poll of visibility took, complete or not; absent before the first.",
    (NAMESPACE,),
    "seconds",
)
EXPORTER_WATERMARK: Final = Family(
    f"{PREFIX}_exporter_watermark_timestamp_seconds",
    "gauge",
    "Close time of the newest workflow run that was read, in Unix time; what is missing below it is uncovered.",
    (NAMESPACE,),
    "seconds",
)
EXPORTER_GAP: Final = Family(
    f"{PREFIX}_exporter_gap_seconds",
    "gauge",
    "Span of close times that was passed over and is still to be read: above 0 while the exporter catches up.",
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
    "Open workflow runs that are no longer listed and were never seen closed: they were deleted.",
    (NAMESPACE,),
)
EXPORTER_RECONCILED_RUNS: Final = Family(
    f"{PREFIX}_exporter_reconciled_runs",
    "counter",
    "Open workflow runs that no poll had found before all were listed, as happens every ten minutes.",
    (NAMESPACE,),
)
EXPORTER_AUDITED_UNTIL: Final = Family(
    f"{PREFIX}_exporter_audited_until_timestamp_seconds",
    "gauge",
    "Close time up to which Temporal's own count of closed workflow runs was compared with ours, in Unix time.",
    (NAMESPACE,),
    "seconds",
)
EXPORTER_AUDIT_DRIFT: Final = Family(
    f"{PREFIX}_exporter_audit_drift_runs",
    "gauge",
    "Closed workflow runs that Temporal counted beyond ours in the last half hour audited; they are then read again. "
    "Below 0 if runs were deleted. Absent before the first audit.",
    (NAMESPACE,),
)
EXPORTER_AUDIT_REPAIRED_RUNS: Final = Family(
    f"{PREFIX}_exporter_audit_repaired_runs",
    "counter",
    "Closed workflow runs that only an audit found missing, and that were then read and counted.",
    (NAMESPACE,),
)
EXPORTER_VISIBILITY_REQUESTS: Final = Family(
    f"{PREFIX}_exporter_visibility_requests",
    "counter",
    "Visibility requests sent to Temporal, by API and by the gRPC code of the answer.",
    (NAMESPACE, API, CODE),
)
EXPORTER_HISTORY_REQUESTS: Final = Family(
    f"{PREFIX}_exporter_history_requests",
    "counter",
    "Requests for close events sent to Temporal, by the gRPC code of the answer.",
    (NAMESPACE, CODE),
)
EXPORTER_RATE_LIMIT: Final = Family(
    f"{PREFIX}_exporter_rate_limit_requests_per_second",
    "gauge",
    "Requests a second that the budget of this kind of requests allows.",
    (NAMESPACE, LIMITER),
)
EXPORTER_RATE_LIMIT_WAIT: Final = Family(
    f"{PREFIX}_exporter_rate_limit_wait_seconds",
    "counter",
    "Time that requests have waited for their turn in the budget of this kind of requests.",
    (NAMESPACE, LIMITER),
    "seconds",
)
EXPORTER_PENDING_RUNS: Final = Family(
    f"{PREFIX}_exporter_pending_runs",
    "gauge",
    "Closed workflow runs that are read but not yet counted, because they wait for their close event.",
    (NAMESPACE,),
)
EXPORTER_MISSING_CLOSE_EVENTS: Final = Family(
    f"{PREFIX}_exporter_missing_close_events",
    "counter",
    "Closed workflow runs that were counted without their close event, because it was gone or did not come in time.",
    (NAMESPACE,),
)
EXPORTER_BOUNDED_FAILURE_TYPES: Final = Family(
    f"{PREFIX}_exporter_bounded_failure_types",
    "counter",
    "Failures that were counted as failure type `other`, because their workflow type had too many.",
    (NAMESPACE,),
)
EXPORTER_OUTCOMES_STOPPED: Final = Family(
    f"{PREFIX}_exporter_outcomes_stopped",
    "gauge",
    "1 if business outcomes are no longer read, because too many results in a row could not be decoded.",
    (NAMESPACE,),
)
EXPORTER_UNKNOWN_STATUS_ROWS: Final = Family(
    f"{PREFIX}_exporter_unknown_status_rows",
    "counter",
    "Rows of visibility that were left out because their status is none that this version knows; "
    "a row is counted each time it is read.",
    (NAMESPACE,),
)
EXPORTER_SOURCE_UP: Final = Family(
    f"{PREFIX}_exporter_source_up",
    "gauge",
    "1 if this source beside the mirror was last read whole, 0 if that failed and its figures are the last good ones; "
    "absent before it was read.",
    (NAMESPACE, SOURCE),
)
EXPORTER_SOURCE_LAST_SUCCESS: Final = Family(
    f"{PREFIX}_exporter_source_last_success_timestamp_seconds",
    "gauge",
    "When this source beside the mirror was last read whole, in Unix time; absent before the first time.",
    (NAMESPACE, SOURCE),
    "seconds",
)
EXPORTER_SOURCE_DURATION: Final = Family(
    f"{PREFIX}_exporter_source_duration_seconds",
    "gauge",
    "How long the last reading of this source beside the mirror took, whole or not.",
    (NAMESPACE, SOURCE),
    "seconds",
)
EXPORTER_NAMESPACES: Final = Family(
    f"{PREFIX}_exporter_namespaces",
    "gauge",
    "Temporal namespaces that are watched.",
    (),
)
EXPORTER_NAMESPACES_OVER_LIMIT: Final = Family(
    f"{PREFIX}_exporter_namespaces_over_limit",
    "gauge",
    "Temporal namespaces that were found and are not watched, because there are too many.",
    (),
)
EXPORTER_DISCOVERY_UP: Final = Family(
    f"{PREFIX}_exporter_discovery_up",
    "gauge",
    "1 if Temporal's namespaces were listed the last time, 0 if that failed and those known before are watched; "
    "absent if the exporter was told which to watch.",
    (),
)
EXPORTER_RELOAD_SUCCESSFUL: Final = Family(
    f"{PREFIX}_exporter_config_last_reload_successful",
    "gauge",
    "1 if the SLO specs were good when they were last read, 0 if the exporter goes by those of before.",
    (),
)
EXPORTER_RELOAD_TIMESTAMP: Final = Family(
    f"{PREFIX}_exporter_config_last_reload_success_timestamp_seconds",
    "gauge",
    "When good SLO specs were last read, in Unix time.",
    (),
    "seconds",
)
EXPORTER_CREDENTIALS_SUCCESSFUL: Final = Family(
    f"{PREFIX}_exporter_credentials_last_reload_successful",
    "gauge",
    "1 if the certificates and keys for Temporal are those that were read last, 0 if these were bad or not answered to "
    "and the exporter goes on with those of before.",
    (),
)
EXPORTER_CREDENTIALS_TIMESTAMP: Final = Family(
    f"{PREFIX}_exporter_credentials_last_reload_success_timestamp_seconds",
    "gauge",
    "When the certificates and keys for Temporal that are in use were taken into use, in Unix time.",
    (),
    "seconds",
)
EXPORTER_CERTIFICATE_EXPIRY: Final = Family(
    f"{PREFIX}_exporter_client_certificate_expiry_timestamp_seconds",
    "gauge",
    "When the client certificate in use ends, in Unix time; absent if there is none, or its end cannot be read.",
    (),
    "seconds",
)
EXPORTER_BUILD_INFO: Final = Family(
    f"{PREFIX}_exporter_build_info",
    "gauge",
    "Always 1; the label tells the version of the exporter.",
    (VERSION,),
)
