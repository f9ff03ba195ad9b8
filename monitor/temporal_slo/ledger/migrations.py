"""Migrations from each schema version of the ledger to the next."""

from collections.abc import Mapping, Sequence
from typing import Final

from sqlalchemy import Connection

STEPS: Final[Mapping[int, Sequence[str]]] = {
    1: (
        "ALTER TABLE open_runs ADD COLUMN paused INTEGER DEFAULT 0 NOT NULL",
        "ALTER TABLE pending ADD COLUMN rank INTEGER DEFAULT 1 NOT NULL",
        "UPDATE pending SET rank = 0 WHERE status IN ('failed', 'timed_out')",
        # The new primary key starts with the minute, so that old rows are found without a scan.
        """INSERT INTO closed_minutes
        SELECT namespace, minute, workflow_type, task_queue, status, outcome, bucket, count FROM minutes""",
        "DROP TABLE minutes",
        "CREATE INDEX pending_order ON pending (namespace, rank, inserted, run_id)",
    ),
    3: (
        "DROP INDEX pending_order",
        "CREATE INDEX pending_close ON pending (namespace, rank, close_time, run_id)",
    ),
    4: (
        # 0: whether they continue other runs is found out afterwards.
        "ALTER TABLE open_runs ADD COLUMN execution_start BIGINT DEFAULT 0 NOT NULL",
        "CREATE INDEX open_workflow ON open_runs (namespace, workflow_id)",
        "CREATE INDEX pending_workflow ON pending (namespace, workflow_id) WHERE rank = 0",
    ),
}
"""Statements by the version that they upgrade, besides the creation of new tables; in SQL of both databases."""


def upgrade(connection: Connection, found: int) -> None:
    """Upgrade the ledger to the newest schema.

    Args:
        connection: An open transaction, in which new tables were created.
        found: Schema version of the ledger.
    """
    for version, statements in sorted(STEPS.items()):
        for statement in statements if version >= found else ():
            connection.exec_driver_sql(statement)
