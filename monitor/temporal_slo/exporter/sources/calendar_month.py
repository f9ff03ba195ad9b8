"""Data source of calendar-month periods: no range vector is a month, so the ledger counts the month so far."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import partial
from typing import Final
from zoneinfo import ZoneInfo

from sqlalchemy import Connection

from temporal_slo import names
from temporal_slo.exporter.sources.source import Source
from temporal_slo.ledger import slo_events
from temporal_slo.ledger.ledger import Ledger
from temporal_slo.names.samples import Sample
from temporal_slo.runs.microseconds import HOUR, SECOND
from temporal_slo.spec.bound import BoundSlo
from temporal_slo.spec.model import Calendar


def month_start(now: int, timezone: str) -> int:
    """Return when the month of *now* began in *timezone*; both times are microseconds of Unix time."""
    local = datetime.fromtimestamp(now / SECOND, ZoneInfo(timezone))
    return int(local.replace(day=1, hour=0, minute=0, second=0, microsecond=0).timestamp()) * SECOND


class CalendarPeriods(Source):
    """Counts the events of the month so far, for each SLO whose period is a calendar month.

    Args:
        ledger: Has the events.
        slos: Of one Temporal namespace.
    """

    name: Final = "calendar"

    def __init__(self, ledger: Ledger, slos: Sequence[BoundSlo]) -> None:
        self._ledger = ledger
        self._slos = slos

    def apply_slos(self, slos: Sequence[BoundSlo]) -> None:
        """Use *slos* from the next read on."""
        self._slos = slos

    async def read(self, now: int) -> Iterable[Sample]:
        """Return good and bad events of each SLO; none for an SLO without data.

        Args:
            now: Local clock, in microseconds of Unix time.

        Raises:
            LedgerError: The ledger could not be read.
        """
        samples: list[Sample] = []
        for slo in self._slos:
            if isinstance(slo.period, Calendar):
                begin = month_start(now, slo.period.timezone)
                # One at a time: a month of a busy namespace takes a while, and polls wait for the ledger.
                samples += await self._ledger.transact(partial(_samples, slo, begin, now))
        return samples


def _samples(slo: BoundSlo, begin: int, now: int, connection: Connection) -> list[Sample]:
    # One hour more: close times are the server's, whose clock may be ahead of the local one.
    events = slo_events.events(connection, slo, begin, now + HOUR)
    if events is None:
        return []
    labels = {names.SLO: slo.name}
    return [Sample(names.PERIOD_GOOD_EVENTS, labels, events.good), Sample(names.PERIOD_BAD_EVENTS, labels, events.bad)]
