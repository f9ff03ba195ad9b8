"""Since when each latency threshold is measured: durations counted before it was known cannot say how many met it."""

import logging
from collections.abc import Iterable

from sqlalchemy import Connection, delete, insert, select

from temporal_slo.errors import LedgerError
from temporal_slo.exporter.mirror.store import MirrorStore
from temporal_slo.ledger import schema
from temporal_slo.ledger.change import CLOSED
from temporal_slo.ledger.ledger import Ledger

log = logging.getLogger(__name__)


class LatencyThresholds:
    """Records for one namespace since when each threshold of its latency SLOs is measured.

    Args:
        store: Has the rules, and gets since when.
        ledger: Persists it.
    """

    def __init__(self, store: MirrorStore, ledger: Ledger) -> None:
        self._store = store
        self._ledger = ledger
        # A new ledger counts every run with all bucket bounds.
        self._new_ledger = CLOSED not in store.state.positions

    async def record(self, now: int) -> None:
        """Record thresholds that are new, and drop those that no SLO has any more.

        A failure is logged and tried again next time; until then `measured_since` is not exported for new ones.

        Args:
            now: Local clock, in microseconds of Unix time.
        """
        store, state = self._store, self._store.state
        wanted = set(store.rules.latency_thresholds.values())
        if CLOSED not in state.positions or wanted == state.measured_since.keys():
            return
        since = state.positions[CLOSED].lowest if self._new_ledger else now
        try:
            state.measured_since = await self._ledger.transact(record_thresholds, store.namespace, wanted, since)
        except LedgerError as error:
            log.warning("%s: recording new latency thresholds failed: %s", store.namespace, error)
        else:
            self._new_ledger = False


def record_thresholds(connection: Connection, namespace: str, thresholds: Iterable[int], since: int) -> dict[int, int]:
    """Store that *thresholds* are measured, new ones from *since*; return since when each one is.

    Args:
        connection: To the ledger, in a transaction.
        namespace: Temporal namespace.
        thresholds: Milliseconds; all others are dropped.
        since: Close time in microseconds of Unix time.
    """
    table, wanted = schema.latency_thresholds, set(thresholds)
    rows = connection.execute(select(table.c.edge, table.c.since).where(table.c.namespace == namespace))
    known: dict[int, int] = {threshold: moment for threshold, moment in rows if threshold in wanted}
    # A dropped threshold has no bucket bound any more, so runs counted meanwhile do not say whether they met it.
    connection.execute(delete(table).where(table.c.namespace == namespace, table.c.edge.not_in(wanted)))
    new = dict.fromkeys(wanted - known.keys(), since)
    if new:
        keys = {"namespace": namespace}
        connection.execute(
            insert(table), [keys | {"edge": threshold, "since": moment} for threshold, moment in new.items()]
        )
    return known | new
