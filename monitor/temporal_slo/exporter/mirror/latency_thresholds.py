"""Since when each latency threshold is measured: durations that were counted before cannot tell how many met it."""

import logging
from collections.abc import Iterable

from sqlalchemy import Connection, delete, insert, select

from temporal_slo.errors import LedgerError
from temporal_slo.ledger import schema
from temporal_slo.ledger.change import CLOSED
from temporal_slo.ledger.ledger import Ledger
from temporal_slo.ledger.state import State

log = logging.getLogger(__name__)


class Measured:
    """Keeps, for one namespace, since when each threshold of its latency SLOs is measured.

    Args:
        namespace: Whose thresholds.
        ledger: Remembers it.
        state: Has the thresholds of now, and gets since when.
    """

    def __init__(self, namespace: str, ledger: Ledger, state: State) -> None:
        self._namespace = namespace
        self._ledger = ledger
        self._state = state
        # What a new ledger counts has all edges from its first run on.
        self._fresh = CLOSED not in state.positions

    async def note(self, now: int) -> None:
        """Note thresholds that are new, and forget those that are no more.

        Args:
            now: Our clock, in microseconds of Unix time.

        What cannot be noted now is noted the next time; until then nothing tells since when it is measured.
        """
        wanted = set(self._state.latencies.values())
        if CLOSED not in self._state.positions or wanted == self._state.measured.keys():
            return
        since = self._state.positions[CLOSED].lowest if self._fresh else now
        try:
            self._state.measured = await self._ledger.transact(noted, self._namespace, wanted, since)
        except LedgerError as error:
            log.warning("%s: new latency thresholds cannot be noted: %s", self._namespace, error)
        else:
            self._fresh = False


def noted(connection: Connection, namespace: str, edges: Iterable[int], since: int) -> dict[int, int]:
    """Store that *edges* are measured, those that are new from *since* on; return since when each is."""
    table, wanted = schema.latency_thresholds, set(edges)
    rows = connection.execute(select(table.c.edge, table.c.since).where(table.c.namespace == namespace))
    known: dict[int, int] = {edge: moment for edge, moment in rows if edge in wanted}
    # One that is gone is forgotten: what is counted meanwhile has no edge there.
    connection.execute(delete(table).where(table.c.namespace == namespace, table.c.edge.not_in(wanted)))
    fresh = dict.fromkeys(wanted - known.keys(), since)
    if fresh:
        whose = {"namespace": namespace}
        connection.execute(insert(table), [whose | {"edge": edge, "since": moment} for edge, moment in fresh.items()])
    return known | fresh
