"""Audits the ledger: compares the server's own count of closed runs with it, and ingests again what is missing."""

import logging
from typing import Final

from temporal_slo.errors import LedgerError, TemporalRequestError
from temporal_slo.exporter.mirror.gaps import merged
from temporal_slo.exporter.mirror.store import MirrorStore
from temporal_slo.ledger import reads
from temporal_slo.ledger.change import AUDIT, CLOSED, Change, Gap, Position
from temporal_slo.ledger.ledger import Ledger
from temporal_slo.runs.microseconds import MINUTE
from temporal_slo.temporal.visibility import Visibility

SLICE: Final = 30 * MINUTE
"""Range of close times that one audit compares."""

AUDITED_AFTER: Final = 30 * MINUTE
"""How old a close must be to be audited: all sweeps that could find its row late have passed."""

AUDITED_BEFORE: Final = 100 * MINUTE
"""How old a close may be: run ids are forgotten after two hours, and nothing can be read again without them."""

RETRY: Final = 10 * MINUTE

log = logging.getLogger(__name__)


class Auditor:
    """Audits one namespace.

    Every minute of close times is audited once. The count is the most expensive request of all: on SQL stores it scans
    the table. So there is one in half an hour.

    Args:
        store: Is audited.
        ledger: Counts what it has.
        visibility: Counts what the server has.
    """

    def __init__(self, store: MirrorStore, ledger: Ledger, visibility: Visibility) -> None:
        self._store = store
        self._ledger = ledger
        self._visibility = visibility
        self._not_before = 0

    async def audit(self, now: int) -> None:
        """Audit the next slice if it is due. A failure is logged, and the slice is tried again later.

        Args:
            now: Local clock, in microseconds of Unix time.
        """
        state = self._store.state
        if state.gaps or CLOSED not in state.positions or now < self._not_before:
            return
        since, until = self._slice(now)
        if until - since < SLICE:
            return
        try:
            await self._compare(since, until, now)
        except (TemporalRequestError, LedgerError) as error:
            self._not_before = now + RETRY
            log.warning("%s: audit of closed runs failed: %s", self._store.namespace, error)

    async def _compare(self, since: int, until: int, now: int) -> None:
        server = await self._visibility.count(since, until)
        counted, known = await self._ledger.transact(reads.closed_counts, self._store.namespace, since, until)
        change = Change(positions={AUDIT: Position(since, until)})
        # Where run ids are missing, runs that are counted already would count as new.
        if server > counted == known:
            change.gaps = merged([Gap(since, until - 1)])
        await self._store.commit(change, now)
        self._store.audit_drift = server - counted

    def _slice(self, now: int) -> tuple[int, int]:
        """Return the first close time to audit and the one after the last, both whole minutes."""
        positions = self._store.state.positions
        lowest = positions[CLOSED].lowest
        audited = positions[AUDIT].position if AUDIT in positions else lowest
        since = -(-max(audited, lowest, now - AUDITED_BEFORE) // MINUTE) * MINUTE
        return since, (now - AUDITED_AFTER) // MINUTE * MINUTE
