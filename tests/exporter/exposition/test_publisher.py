import json
from collections.abc import Iterable

from prometheus_client.parser import text_string_to_metric_families as parse_text

from temporal_slo import names
from temporal_slo.errors import LedgerError
from temporal_slo.exporter.exposition.publisher import Publisher
from temporal_slo.exporter.exposition.snapshot import Snapshot
from temporal_slo.names.samples import Sample
from temporal_slo.runs.counted import ClosedKey
from temporal_slo.testing import FixedClock


class Marks:
    """A ledger's memory of what was let go from 0."""

    def __init__(self) -> None:
        self.series: set[str] = set()
        self.broken = False

    async def released(self, namespace: str) -> set[str]:
        """What was remembered."""
        assert namespace == "shop"
        return self.series

    async def mark_released(self, namespace: str, series: Iterable[str]) -> None:
        """Remember, unless broken."""
        assert namespace == "shop"
        if self.broken:
            raise LedgerError("database or disk is full")
        self.series.update(series)


def counted(count: int) -> Snapshot:
    """A snapshot with one closed series."""
    key = ClosedKey("Ride", "rides", "failed", "none")
    return Snapshot("shop", (Sample(names.WORKFLOWS_CLOSED, key._asdict(), count),))


def shown(board: Publisher) -> float:
    """What a scrape has of that series; it is sent to its end."""
    answer, number = board.answer("text/plain", "")
    board.served(number, "prometheus")
    families = {family.name: family for family in parse_text(answer.body.decode())}
    return next(iter(families[names.WORKFLOWS_CLOSED.name].samples)).value


async def test_zero_first() -> None:
    """A new series is at 0 until a scrape has had that, is then stored as let go, and shows its value."""
    marks = Marks()
    board = Publisher(marks, clock=FixedClock())
    await board.put(counted(3))
    assert (shown(board), marks.series) == (0, set())
    await board.put(counted(5))
    assert (shown(board), len(marks.series)) == (5, 1)


async def test_restart() -> None:
    """A series that was let go before a restart does not begin at 0 again."""
    marks = Marks()
    board = Publisher(marks, clock=FixedClock())
    for count in (1, 2):
        await board.put(counted(count))
        shown(board)
    again = Publisher(marks, clock=FixedClock())
    await again.join("shop")
    await again.put(counted(2))
    assert shown(again) == 2


async def test_not_stored() -> None:
    """A series whose letting go cannot be stored stays at 0 until it can: after a crash it would begin there again."""
    marks = Marks()
    board = Publisher(marks, clock=FixedClock())
    await board.put(counted(1))
    shown(board)
    marks.broken = True
    for count in (2, 3):
        await board.put(counted(count))
        assert shown(board) == 0
    marks.broken = False
    await board.put(counted(4))
    assert (shown(board), [json.loads(series)[0] for series in marks.series]) == (4, [names.WORKFLOWS_CLOSED.name])


async def test_rendered_once() -> None:
    """Scrapes between two publishes get the very same bytes."""
    board = Publisher(Marks(), clock=FixedClock())
    await board.put(counted(1))
    first, _ = board.answer("", "gzip")
    second, _ = board.answer("", "gzip")
    assert first.body is second.body
