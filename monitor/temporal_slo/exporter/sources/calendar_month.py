"""The source of calendar periods: no range of PromQL is a month, so the ledger tells what each was so far."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from zoneinfo import ZoneInfo

from sqlalchemy import Connection

from temporal_slo import names
from temporal_slo.ledger import slo_events
from temporal_slo.ledger.ledger import Ledger
from temporal_slo.names.samples import Sample
from temporal_slo.runs.microseconds import HOUR, SECOND
from temporal_slo.spec.bound import BoundSlo
from temporal_slo.spec.model import Calendar


def month(now: int, timezone: str) -> int:
    """Return when the month began that *now* is in, as *timezone* has it; microseconds of Unix time."""
    here = datetime.fromtimestamp(now / SECOND, ZoneInfo(timezone))
    return int(here.replace(day=1, hour=0, minute=0, second=0, microsecond=0).timestamp()) * SECOND


class CalendarPeriods:
    """Tells the events of the period so far, for each SLO whose period goes by the calendar.

    Args:
        ledger: Has them.
        slos: Of one Temporal namespace. May be replaced: what is read next goes by it.
    """

    name = "calendar"

    def __init__(self, ledger: Ledger, slos: Sequence[BoundSlo]) -> None:
        self._ledger = ledger
        self.slos = slos

    async def read(self, now: int) -> Iterable[Sample]:
        """See base class."""
        samples: list[Sample] = []
        for slo in self.slos:
            if isinstance(slo.period, Calendar):
                begin = month(now, slo.period.timezone)
                # One at a time: a month of a busy namespace takes a while, and polls wait for the ledger.
                samples += await self._ledger.transact(self._samples, slo, begin, now)
        return samples

    def _samples(self, connection: Connection, slo: BoundSlo, begin: int, now: int) -> list[Sample]:
        # An hour more: close times are the server's, whose clock may be ahead of ours.
        found = slo_events.events(connection, slo, begin, now + HOUR)
        if found is None:
            return []
        labels = {names.SLO: slo.name}
        return [
            Sample(names.PERIOD_GOOD_EVENTS, labels, found.good),
            Sample(names.PERIOD_BAD_EVENTS, labels, found.bad),
        ]
