"""Metrics of schedules and of retrying activities, exposed by the exporter."""

from typing import Final

from temporal_slo.names.labels import ACTIVITY_TYPE, API, CODE, NAMESPACE, PREFIX, WORKFLOW_TYPE, Family

SCHEDULE_ID: Final = "schedule_id"

SCHEDULE_OVERDUE: Final = Family(
    f"{PREFIX}_schedule_overdue_seconds",
    "gauge",
    "How late the schedule's due action is, by the exporter's clock; 0 if the schedule is on time, paused, or has no "
    "further action.",
    (NAMESPACE, SCHEDULE_ID),
    "seconds",
)
SCHEDULE_PAUSED: Final = Family(
    f"{PREFIX}_schedule_paused",
    "gauge",
    "1 if the schedule is paused, else 0.",
    (NAMESPACE, SCHEDULE_ID),
)
SCHEDULE_LAST_ACTION: Final = Family(
    f"{PREFIX}_schedule_last_action_timestamp_seconds",
    "gauge",
    "Last workflow start by the schedule, on time or triggered manually, in Unix time; absent before the first.",
    (NAMESPACE, SCHEDULE_ID),
    "seconds",
)
SCHEDULE_BUFFERED: Final = Family(
    f"{PREFIX}_schedule_buffered_actions",
    "gauge",
    "Actions of the schedule that are due and wait for the previous workflow to close.",
    (NAMESPACE, SCHEDULE_ID),
)
SCHEDULE_MISSED_CATCHUP: Final = Family(
    f"{PREFIX}_schedule_missed_catchup",
    "counter",
    "Actions of the schedule dropped because they were due longer ago than its catch-up window, as counted by the "
    "server since the schedule was created.",
    (NAMESPACE, SCHEDULE_ID),
)
SCHEDULE_OVERLAP_SKIPPED: Final = Family(
    f"{PREFIX}_schedule_overlap_skipped",
    "counter",
    "Actions of the schedule skipped because the previous workflow was still running, as counted by the server since "
    "the schedule was created.",
    (NAMESPACE, SCHEDULE_ID),
)
SCHEDULE_BUFFER_DROPPED: Final = Family(
    f"{PREFIX}_schedule_buffer_dropped",
    "counter",
    "Actions of the schedule dropped because its buffer was full, as counted by the server since the schedule was "
    "created.",
    (NAMESPACE, SCHEDULE_ID),
)
ACTIVITIES_RETRYING: Final = Family(
    f"{PREFIX}_activities_retrying",
    "gauge",
    "Pending activities whose current or next attempt is beyond the tenth, among the sampled open runs.",
    (NAMESPACE, WORKFLOW_TYPE, ACTIVITY_TYPE),
)
EXPORTER_SCHEDULES_OVER_LIMIT: Final = Family(
    f"{PREFIX}_exporter_schedules_over_limit",
    "gauge",
    "Listed schedules that are not monitored, because the limit of schedules is reached.",
    (NAMESPACE,),
)
EXPORTER_SCHEDULES_UNDESCRIBED: Final = Family(
    f"{PREFIX}_exporter_schedules_undescribed",
    "gauge",
    "Monitored schedules with stale counts, because the server did not describe them.",
    (NAMESPACE,),
)
EXPORTER_RETRY_CANDIDATE_RUNS: Final = Family(
    f"{PREFIX}_exporter_retry_candidate_runs",
    "gauge",
    "Open workflow runs whose activities could be retrying: all whose scheduled start has passed.",
    (NAMESPACE,),
)
EXPORTER_RETRY_SAMPLED_RUNS: Final = Family(
    f"{PREFIX}_exporter_retry_sampled_runs",
    "gauge",
    "Candidate runs whose activities were read: overdue and old ones, in rotation.",
    (NAMESPACE,),
)
EXPORTER_RETRYING_ACTIVITIES_OVER_LIMIT: Final = Family(
    f"{PREFIX}_exporter_retrying_activities_over_limit",
    "gauge",
    "Retrying activities counted with workflow type or activity type `other`, because the limit of these types is "
    "reached.",
    (NAMESPACE,),
)
EXPORTER_DESCRIBE_REQUESTS: Final = Family(
    f"{PREFIX}_exporter_describe_requests",
    "counter",
    "Requests sent to Temporal that describe a schedule or an open workflow run, by API and gRPC status code; they "
    "share the rate limit of history requests.",
    (NAMESPACE, API, CODE),
)
