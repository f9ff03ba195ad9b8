"""Which values of a mirror are exposed, and which are absent because they are unknown."""

from pathlib import Path

from temporal_slo import names
from temporal_slo.exporter.mirror.samples import samples
from temporal_slo.exporter.mirror.slo_rules import SloRules
from temporal_slo.exporter.mirror.store import MirrorStore
from temporal_slo.ledger.change import CLOSED, Position
from temporal_slo.ledger.ledger import Ledger
from temporal_slo.ledger.state import State
from temporal_slo.runs.microseconds import SECOND
from tests.exposed import Exposed
from tests.run_factory import BEGAN


def exposed_with(tmp_path: Path, state: State, rules: SloRules | None = None) -> Exposed:
    """Return the samples of a mirror with this state."""
    ledger = Ledger(f"sqlite:///{tmp_path / 'ledger.db'}")
    store = MirrorStore("shop", ledger, state, rules=rules)
    ledger.close()
    return Exposed(samples(store, BEGAN))


def test_no_watermark_before_rows(tmp_path: Path) -> None:
    """The watermark is absent before the first poll, and until a closed run was read."""
    state = State()
    assert exposed_with(tmp_path, state).one(names.EXPORTER_WATERMARK) is None
    state.positions[CLOSED] = Position(lowest=BEGAN, position=BEGAN)
    assert exposed_with(tmp_path, state).one(names.EXPORTER_WATERMARK) is None
    state.positions[CLOSED] = Position(lowest=BEGAN, position=BEGAN + 7 * SECOND)
    assert exposed_with(tmp_path, state).one(names.EXPORTER_WATERMARK) == BEGAN / SECOND + 7


def test_measured_since(tmp_path: Path) -> None:
    """A threshold is measured since it was added; 0 if for all counted runs; absent if that is not recorded yet."""
    state = State(positions={CLOSED: Position(lowest=BEGAN, position=BEGAN + 70 * SECOND)})
    state.measured_since = {1_000: BEGAN, 2_000: BEGAN + 1, 3_000: BEGAN + 13 * SECOND}
    rules = SloRules(latency_thresholds={"first": 1_000, "just later": 2_000, "later": 3_000, "new": 4_000})
    assert exposed_with(tmp_path, state, rules).by(names.LATENCY_MEASURED_SINCE) == {
        "first": 0,
        "just later": (BEGAN + 1) / SECOND,
        "later": BEGAN / SECOND + 13,
    }
