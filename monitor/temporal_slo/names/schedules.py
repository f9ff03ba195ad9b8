"""What the exporter tells of schedules and of activities that are retried over and over."""

from typing import Final

from temporal_slo.names.labels import ACTIVITY_TYPE, API, CODE, NAMESPACE, PREFIX, WORKFLOW_TYPE, Family

SCHEDULE_ID: Final = "schedule_id"

SCHEDULE_OVERDUE: Final = Family(
    f"{PREFIX}_schedule_overdue_seconds",
    "gauge",
    "How long ago the schedule's next action was due that has not happened, by the exporter's clock; "
    "0 if it is on time, paused, or has no further action.",
    (NAMESPACE, SCHEDULE_ID),
    "seconds",
)
SCHEDULE_PAUSED: Final = Family(
    f"{PREFIX}_schedule_paused",
    "gauge",
    "1 if the schedule is paused, 0 if not.",
    (NAMESPACE, SCHEDULE_ID),
)
SCHEDULE_LAST_ACTION: Final = Family(
    f"{PREFIX}_schedule_last_action_timestamp_seconds",
    "gauge",
    "When the schedule last started a workflow, whether by itself or because somebody asked for it, in Unix time; "
    "absent if it never did.",
    (NAMESPACE, SCHEDULE_ID),
    "seconds",
)
SCHEDULE_BUFFERED: Final = Family(
    f"{PREFIX}_schedule_buffered_actions",
    "gauge",
    "Actions of the schedule that were due and wait for the workflow before them to end.",
    (NAMESPACE, SCHEDULE_ID),
)
SCHEDULE_MISSED_CATCHUP: Final = Family(
    f"{PREFIX}_schedule_missed_catchup",
    "counter",
    "Actions that the schedule never took because they were due longer ago than its catch-up window, "
    "as the server counts them since the schedule was created.",
    (NAMESPACE, SCHEDULE_ID),
)
SCHEDULE_OVERLAP_SKIPPED: Final = Family(
    f"{PREFIX}_schedule_overlap_skipped",
    "counter",
    "Actions that the schedule never took because the workflow before them still ran, "
    "as the server counts them since the schedule was created.",
    (NAMESPACE, SCHEDULE_ID),
)
SCHEDULE_BUFFER_DROPPED: Final = Family(
    f"{PREFIX}_schedule_buffer_dropped",
    "counter",
    "Actions that the schedule never took because too many were waiting already, "
    "as the server counts them since the schedule was created.",
    (NAMESPACE, SCHEDULE_ID),
)
ACTIVITIES_RETRYING: Final = Family(
    f"{PREFIX}_activities_retrying",
    "gauge",
    "Pending activities that have failed more often than the limit allows and are tried again all the same, "
    "among the open workflow runs that were looked at.",
    (NAMESPACE, WORKFLOW_TYPE, ACTIVITY_TYPE),
)
EXPORTER_SCHEDULES_OVER_LIMIT: Final = Family(
    f"{PREFIX}_exporter_schedules_over_limit",
    "gauge",
    "Schedules that are listed but not watched, because there are too many.",
    (NAMESPACE,),
)
EXPORTER_SCHEDULES_UNDESCRIBED: Final = Family(
    f"{PREFIX}_exporter_schedules_undescribed",
    "gauge",
    "Watched schedules whose counts are older than they should be, because the server did not describe them.",
    (NAMESPACE,),
)
EXPORTER_RETRY_CANDIDATE_RUNS: Final = Family(
    f"{PREFIX}_exporter_retry_candidate_runs",
    "gauge",
    "Open workflow runs whose activities may be retried over and over: all that were due to execute.",
    (NAMESPACE,),
)
EXPORTER_RETRY_SAMPLED_RUNS: Final = Family(
    f"{PREFIX}_exporter_retry_sampled_runs",
    "gauge",
    "Those of the candidates whose activities were looked at: overdue and old ones, in turn.",
    (NAMESPACE,),
)
EXPORTER_BOUNDED_RETRYING_ACTIVITIES: Final = Family(
    f"{PREFIX}_exporter_bounded_retrying_activities",
    "gauge",
    "Activities that are counted with `other` as workflow type or activity type, because there are too many of these.",
    (NAMESPACE,),
)
EXPORTER_DESCRIBE_REQUESTS: Final = Family(
    f"{PREFIX}_exporter_describe_requests",
    "counter",
    "Requests sent to Temporal that describe a schedule or an open workflow run, by API and by the gRPC code of the "
    "answer; they share the budget of history requests.",
    (NAMESPACE, API, CODE),
)
