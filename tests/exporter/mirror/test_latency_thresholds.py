"""When the measurement of latency thresholds began."""

from temporal_slo.exporter.mirror.latency_thresholds import LatencyThresholds
from temporal_slo.exporter.mirror.slo_rules import SloRules
from temporal_slo.exporter.mirror.store import MirrorStore
from temporal_slo.ledger.change import CLOSED, Change, Position
from temporal_slo.ledger.ledger import Ledger
from temporal_slo.runs.microseconds import SECOND
from tests.run_factory import BEGAN

LOWEST = BEGAN + 7 * SECOND


def rules(**thresholds: int) -> SloRules:
    """Return the rules of latency SLOs with these thresholds in milliseconds."""
    return SloRules(latency_thresholds=thresholds)


async def test_added_and_removed(ledger_url: str) -> None:
    """Thresholds of a new ledger are measured from its start, later ones from when they were added, or added again."""
    ledger = Ledger(ledger_url)
    store = MirrorStore("shop", ledger, await ledger.load("shop"), rules=rules(quick=90_000))
    state, thresholds = store.state, LatencyThresholds(store, ledger)
    await thresholds.record(BEGAN)
    assert state.measured_since == {}, "nothing is recorded before the first poll"
    state.positions[CLOSED] = Position(LOWEST, LOWEST)
    await thresholds.record(BEGAN + 11 * SECOND)
    assert state.measured_since == {90_000: LOWEST}
    store.rules = rules(quick=90_000, slow=700_000)
    await thresholds.record(BEGAN + 13 * SECOND)
    assert state.measured_since == {90_000: LOWEST, 700_000: BEGAN + 13 * SECOND}
    for second, current in ((17, rules(slow=700_000)), (19, rules(quick=90_000, slow=700_000))):
        store.rules = current
        await thresholds.record(BEGAN + second * SECOND)
    assert state.measured_since == {90_000: BEGAN + 19 * SECOND, 700_000: BEGAN + 13 * SECOND}
    ledger.close()


async def test_restart(ledger_url: str) -> None:
    """Recorded thresholds are loaded after a restart; one added meanwhile is measured from the restart."""
    ledger = Ledger(ledger_url)
    store = MirrorStore("shop", ledger, await ledger.load("shop"), rules=rules(quick=90_000))
    first, positions = LatencyThresholds(store, ledger), {CLOSED: Position(LOWEST, LOWEST)}
    await store.commit(Change(positions=positions), BEGAN)
    await first.record(BEGAN)
    ledger.close()
    ledger = Ledger(ledger_url)
    store = MirrorStore("shop", ledger, await ledger.load("shop"), rules=rules(quick=90_000, slow=700_000))
    await LatencyThresholds(store, ledger).record(BEGAN + 23 * SECOND)
    assert store.state.measured_since == {90_000: LOWEST, 700_000: BEGAN + 23 * SECOND}
    ledger.close()
