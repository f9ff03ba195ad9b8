"""The source of calendar periods: no range of PromQL is a month, so the ledger tells what each was so far."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from zoneinfo import ZoneInfo

from sqlalchemy import Connection

from temporal_slo import names
from temporal_slo.exporter import period
from temporal_slo.exporter.ledger import Ledger
from temporal_slo.exporter.samples import Sample
from temporal_slo.exporter.state import HOUR, SECOND
from temporal_slo.spec.model import Calendar, Spec


def month(now: int, timezone: str) -> int:
    """Return when the month began that *now* is in, as *timezone* has it; microseconds of Unix time."""
    here = datetime.fromtimestamp(now / SECOND, ZoneInfo(timezone))
    return int(here.replace(day=1, hour=0, minute=0, second=0, microsecond=0).timestamp()) * SECOND


class CalendarPeriods:
    """Tells the events of the period so far, for each SLO whose period goes by the calendar.

    Args:
        namespace: Temporal namespace.
        ledger: Has them.
        specs: May be replaced: what is read next goes by it.
    """

    name = "calendar"

    def __init__(self, namespace: str, ledger: Ledger, specs: tuple[Spec, ...]) -> None:
        self._namespace = namespace
        self._ledger = ledger
        self.specs = specs

    async def read(self, now: int) -> Iterable[Sample]:
        """See base class."""
        specs = [spec for spec in self.specs if isinstance(spec.period, Calendar)]
        if not any(spec.temporal_namespace == self._namespace for spec in specs):
            return ()
        return await self._ledger.transact(lambda connection: tuple(self._samples(connection, specs, now)))

    def _samples(self, connection: Connection, specs: Iterable[Spec], now: int) -> Iterator[Sample]:
        for spec in specs:
            if spec.temporal_namespace != self._namespace or not isinstance(spec.period, Calendar):
                continue
            begin = month(now, spec.period.timezone)
            for slo in spec.slos:
                # An hour more: close times are the server's, whose clock may be ahead of ours.
                found = period.events(connection, self._namespace, slo, begin, now + HOUR)
                if found is not None:
                    yield Sample(names.PERIOD_GOOD, {names.SLO: slo.name}, found.good)
                    yield Sample(names.PERIOD_BAD, {names.SLO: slo.name}, found.bad)
