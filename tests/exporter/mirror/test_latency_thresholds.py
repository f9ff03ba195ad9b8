"""Since when latency thresholds are measured."""

from temporal_slo.exporter.mirror.latency_thresholds import Measured
from temporal_slo.ledger.change import CLOSED, Change, Position
from temporal_slo.ledger.ledger import Ledger
from temporal_slo.runs.microseconds import SECOND
from tests.run_factory import BEGAN

LOWEST = BEGAN + 7 * SECOND


async def test_thresholds_come_and_go(ledger_url: str) -> None:
    """Those of a new ledger are measured from its beginning, others from when they came, or came back."""
    ledger = Ledger(ledger_url)
    state = await ledger.load("shop")
    measured = Measured("shop", ledger, state)
    state.latencies = {"quick": 90_000}
    await measured.note(BEGAN)
    assert state.measured == {}, "before the first poll nothing is known"
    state.positions[CLOSED] = Position(LOWEST, LOWEST)
    await measured.note(BEGAN + 11 * SECOND)
    assert state.measured == {90_000: LOWEST}
    state.latencies = {"quick": 90_000, "slow": 700_000}
    await measured.note(BEGAN + 13 * SECOND)
    assert state.measured == {90_000: LOWEST, 700_000: BEGAN + 13 * SECOND}
    for second, latencies in ((17, {"slow": 700_000}), (19, {"quick": 90_000, "slow": 700_000})):
        state.latencies = latencies
        await measured.note(BEGAN + second * SECOND)
    assert state.measured == {90_000: BEGAN + 19 * SECOND, 700_000: BEGAN + 13 * SECOND}
    ledger.close()


async def test_known_after_a_restart(ledger_url: str) -> None:
    """What was noted is known after a restart; a threshold that came while the exporter was away counts from then."""
    ledger = Ledger(ledger_url)
    state = await ledger.load("shop")
    state.latencies, positions = {"quick": 90_000}, {CLOSED: Position(LOWEST, LOWEST)}
    first = Measured("shop", ledger, state)
    await ledger.commit("shop", Change(positions=positions), BEGAN)
    state.positions.update(positions)
    await first.note(BEGAN)
    ledger.close()
    ledger = Ledger(ledger_url)
    state = await ledger.load("shop")
    state.latencies = {"quick": 90_000, "slow": 700_000}
    await Measured("shop", ledger, state).note(BEGAN + 23 * SECOND)
    assert state.measured == {90_000: LOWEST, 700_000: BEGAN + 23 * SECOND}
    ledger.close()
