import json
from collections.abc import Iterable

from prometheus_client.parser import text_string_to_metric_families as parse_text

from temporal_slo import names
from temporal_slo.errors import LedgerError
from temporal_slo.exporter.exposition.publisher import Publisher
from temporal_slo.exporter.exposition.scrapers import Scraper
from temporal_slo.exporter.exposition.snapshot import Snapshot
from temporal_slo.names.samples import Sample
from temporal_slo.runs.counted import ClosedKey, SeenKey
from temporal_slo.testing import FixedClock


class FakeMemory:
    """Released series, as a ledger stores them."""

    def __init__(self) -> None:
        self.series: set[str] = set()
        self.broken = False

    async def released(self, namespace: str) -> set[str]:
        """Return the stored series."""
        assert namespace == "shop"
        return self.series

    async def mark_released(self, namespace: str, series: Iterable[str]) -> None:
        """Store series, or raise if broken."""
        assert namespace == "shop"
        if self.broken:
            raise LedgerError("database or disk is full")
        self.series.update(series)


def snapshot_of(count: int) -> Snapshot:
    """Return a snapshot with one series of closed runs."""
    key = ClosedKey("Ride", "rides", "failed", "none")
    return Snapshot("shop", (Sample(names.WORKFLOWS_CLOSED, key._asdict(), count),))


def scrape(publisher: Publisher) -> float:
    """Return the value of that series in a complete scrape."""
    response, generation = publisher.response("text/plain", "")
    for _ in range(2):  # a client that is not Prometheus counts from its second request on
        publisher.served(generation, Scraper("10.0.0.1"))
    families = {family.name: family for family in parse_text(response.body.decode())}
    return next(iter(families[names.WORKFLOWS_CLOSED.name].samples)).value


async def test_zero_first() -> None:
    """A new series is 0 until a scrape has received the 0; then it is stored as released and has its value."""
    memory = FakeMemory()
    publisher = Publisher(memory, clock=FixedClock())
    await publisher.put(snapshot_of(3))
    assert (scrape(publisher), memory.series) == (0, set())
    await publisher.put(snapshot_of(5))
    assert (scrape(publisher), len(memory.series)) == (5, 1)


async def test_restart() -> None:
    """A series that was released before a restart does not start at 0 restarted."""
    memory = FakeMemory()
    publisher = Publisher(memory, clock=FixedClock())
    for count in (1, 2):
        await publisher.put(snapshot_of(count))
        scrape(publisher)
    restarted = Publisher(memory, clock=FixedClock())
    await restarted.join("shop")
    await restarted.put(snapshot_of(2))
    assert scrape(restarted) == 2


async def test_upgrade() -> None:
    """Runs seen closed do not start at 0 where an older version has exposed the closed runs among them."""
    memory = FakeMemory()
    memory.series = {json.dumps([names.WORKFLOWS_CLOSED.name, ["shop", "Ride", "rides", "retried", "none"]])}
    publisher = Publisher(memory, clock=FixedClock())
    await publisher.join("shop")
    keys = SeenKey("Ride", "rides", "failed"), SeenKey("Ride", "rides", "completed")
    await publisher.put(Snapshot("shop", tuple(Sample(names.WORKFLOWS_SEEN_CLOSED, key._asdict(), 7) for key in keys)))
    families = parse_text(publisher.response("text/plain", "")[0].body.decode())
    (seen,) = (family for family in families if family.name == names.WORKFLOWS_SEEN_CLOSED.name)
    assert {sample.labels["status_group"]: sample.value for sample in seen.samples} == {"failed": 7, "completed": 0}


async def test_release_not_stored() -> None:
    """A series stays at 0 until its release is stored: after a crash it would start at 0 again."""
    memory = FakeMemory()
    publisher = Publisher(memory, clock=FixedClock())
    await publisher.put(snapshot_of(1))
    scrape(publisher)
    memory.broken = True
    for count in (2, 3):
        await publisher.put(snapshot_of(count))
        assert scrape(publisher) == 0
    memory.broken = False
    await publisher.put(snapshot_of(4))
    assert (scrape(publisher), [json.loads(series)[0] for series in memory.series]) == (
        4,
        [names.WORKFLOWS_CLOSED.name],
    )


async def test_rendered_once() -> None:
    """Scrapes between two publishes get the same bytes, rendered once."""
    publisher = Publisher(FakeMemory(), clock=FixedClock())
    await publisher.put(snapshot_of(1))
    first, _ = publisher.response("", "gzip")
    second, _ = publisher.response("", "gzip")
    assert first.body is second.body
