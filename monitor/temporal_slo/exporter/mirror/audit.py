"""The mirror's audit of itself: the server's own count of closed runs beside ours, and what is missing read again."""

import logging
from typing import Final

from temporal_slo.errors import LedgerError, TemporalRequestError
from temporal_slo.exporter.mirror.gaps import merged
from temporal_slo.exporter.mirror.mirror import Mirror
from temporal_slo.ledger import reads
from temporal_slo.ledger.change import AUDIT, CLOSED, Change, Gap, Position
from temporal_slo.ledger.ledger import Ledger
from temporal_slo.runs.microseconds import MINUTE
from temporal_slo.temporal.visibility import Visibility

SLICE: Final = 30 * MINUTE
"""Close times that are audited at once."""

SETTLED: Final = 30 * MINUTE
"""How old a close must be to be audited: every sweep that could find it late has passed."""

KNOWN: Final = 100 * MINUTE
"""How old it may be: ids of runs are forgotten after two hours, and without them nothing can be read again."""


RETRY: Final = 10 * MINUTE

log = logging.getLogger(__name__)


class Auditor:
    """Audits the mirror of one namespace.

    Every minute is audited once, by a count over a slice of close times, which is the dearest request of all: on SQL
    stores it scans the table. So there is one in half an hour.

    Args:
        namespace: Whose runs.
        mirror: Is audited.
        ledger: Knows what it has counted.
        visibility: Counts.
    """

    def __init__(self, namespace: str, mirror: Mirror, ledger: Ledger, visibility: Visibility) -> None:
        self._namespace = namespace
        self._mirror = mirror
        self._ledger = ledger
        self._visibility = visibility
        self._not_before = 0

    async def audit(self, now: int) -> None:
        """Audit the slice that is due, if one is; one that can't be is tried again later, and stops nothing.

        Args:
            now: Our clock, in microseconds of Unix time.
        """
        state = self._mirror.state
        if state.gaps or CLOSED not in state.positions or now < self._not_before:
            return
        since, until = self._slice(now)
        if until - since < SLICE:
            return
        try:
            await self._compare(since, until, now)
        except (TemporalRequestError, LedgerError) as error:
            self._not_before = now + RETRY
            log.warning("%s: closed runs cannot be audited: %s", self._namespace, error)

    async def _compare(self, since: int, until: int, now: int) -> None:
        server = await self._visibility.count(since, until)
        counted, known = await self._ledger.transact(reads.closed_counts, self._namespace, since, until)
        change = Change(positions={AUDIT: Position(since, until)})
        # Where ids are missing, counted runs would be taken for new ones.
        if server > counted == known:
            change.gaps = merged([Gap(since, until - 1)])
        await self._mirror.commit(change, now)
        self._mirror.state.drift = server - counted

    def _slice(self, now: int) -> tuple[int, int]:
        """Return the first close time that is due, and the one after the last, both whole minutes."""
        positions = self._mirror.state.positions
        lowest = positions[CLOSED].lowest
        audited = positions[AUDIT].position if AUDIT in positions else lowest
        since = -(-max(audited, lowest, now - KNOWN) // MINUTE) * MINUTE
        return since, (now - SETTLED) // MINUTE * MINUTE
