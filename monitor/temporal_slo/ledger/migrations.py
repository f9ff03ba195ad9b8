"""What brings the ledger of an older version to the schema of this one."""

from collections.abc import Mapping, Sequence
from typing import Final

from sqlalchemy import Connection

STEPS: Final[Mapping[int, Sequence[str]]] = {
    1: (
        "ALTER TABLE open_runs ADD COLUMN paused INTEGER DEFAULT 0 NOT NULL",
        "ALTER TABLE pending ADD COLUMN rank INTEGER DEFAULT 1 NOT NULL",
        "UPDATE pending SET rank = 0 WHERE status IN ('failed', 'timed_out')",
        # By minute first, so that old ones are found without a scan.
        """INSERT INTO closed_minutes
        SELECT namespace, minute, workflow_type, task_queue, status, outcome, bucket, count FROM minutes""",
        "DROP TABLE minutes",
        "CREATE INDEX pending_order ON pending (namespace, rank, inserted, run_id)",
    ),
}
"""What leads from each schema to the next, besides tables that are new; every store understands it."""


def upgrade(connection: Connection, found: int) -> None:
    """Bring the ledger to the newest schema, in the transaction that is under way.

    Args:
        connection: To the ledger, whose new tables were created.
        found: The schema that it has.
    """
    for version, statements in sorted(STEPS.items()):
        for statement in statements if version >= found else ():
            connection.exec_driver_sql(statement)
