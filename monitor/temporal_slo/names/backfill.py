"""Metrics of the backfill, exposed by the exporter."""

from typing import Final

from temporal_slo.names.labels import NAMESPACE, PREFIX, Family

BACKFILL_REACHED: Final = Family(
    f"{PREFIX}_exporter_backfill_reached_timestamp_seconds",
    "gauge",
    "Close time down to which the backfill has read closed workflow runs, in Unix time.",
    (NAMESPACE,),
    "seconds",
)
BACKFILL_RUNS: Final = Family(
    f"{PREFIX}_exporter_backfill_runs",
    "counter",
    "Workflow runs read by the backfill, which closed before the ledger was created; each counted once, and included "
    "in no other counter.",
    (NAMESPACE,),
)
BACKFILL_PENDING_RUNS: Final = Family(
    f"{PREFIX}_exporter_backfill_pending_runs",
    "gauge",
    "Workflow runs of the backfill whose close event is still to be read; the backfill pauses while there are too "
    "many.",
    (NAMESPACE,),
)
BACKFILL_MISSING_CLOSE_EVENTS: Final = Family(
    f"{PREFIX}_exporter_backfill_missing_close_events",
    "counter",
    "Workflow runs of the backfill counted without their close event, because it was deleted or could not be read in "
    "time.",
    (NAMESPACE,),
)
BACKFILL_UNKNOWN_STATUS_ROWS: Final = Family(
    f"{PREFIX}_exporter_backfill_unknown_status_rows",
    "counter",
    "Visibility rows skipped by the backfill because of an unknown status.",
    (NAMESPACE,),
)
BACKFILL_COMPLETE: Final = Family(
    f"{PREFIX}_exporter_backfill_complete",
    "gauge",
    "1 if the backfill has read and counted the whole requested range, else 0.",
    (NAMESPACE,),
)
