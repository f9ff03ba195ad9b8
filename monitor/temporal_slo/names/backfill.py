"""What the exporter tells of filling the ledger from history."""

from typing import Final

from temporal_slo.names.labels import NAMESPACE, PREFIX, Family

BACKFILL_REACHED: Final = Family(
    f"{PREFIX}_exporter_backfill_reached_timestamp_seconds",
    "gauge",
    "Close time down to which workflow runs that closed before the exporter began to count were read, in Unix time.",
    (NAMESPACE,),
    "seconds",
)
BACKFILL_RUNS: Final = Family(
    f"{PREFIX}_exporter_backfill_runs",
    "counter",
    "Workflow runs that closed before the exporter began to count and were read, each counted once; "
    "they are in no other counter.",
    (NAMESPACE,),
)
BACKFILL_PENDING_RUNS: Final = Family(
    f"{PREFIX}_exporter_backfill_pending_runs",
    "gauge",
    "Those of them that wait for their close event; reading goes on when they have become fewer.",
    (NAMESPACE,),
)
BACKFILL_MISSING_CLOSE_EVENTS: Final = Family(
    f"{PREFIX}_exporter_backfill_missing_close_events",
    "counter",
    "Those of them that were counted without their close event, because it was gone or did not come in time.",
    (NAMESPACE,),
)
BACKFILL_UNKNOWN_STATUS_ROWS: Final = Family(
    f"{PREFIX}_exporter_backfill_unknown_status_rows",
    "counter",
    "Rows of visibility that were left out of the backfill because their status is none that this version knows.",
    (NAMESPACE,),
)
BACKFILL_COMPLETE: Final = Family(
    f"{PREFIX}_exporter_backfill_complete",
    "gauge",
    "1 if all that was asked for is read and counted, 0 if not yet.",
    (NAMESPACE,),
)
