import pytest

from tests.conftest import Temporal

from .bench_worker import CONFIGS, OURS, TRACING, measure


@pytest.mark.sized
async def test_worker_smoke(temporal: Temporal, *, full_size: bool) -> None:
    """Every configuration does its workflows; at full size ours costs little, and less than half of tracing."""
    costs = await measure(temporal.address, 12 if full_size else 1, 150 if full_size else 5)
    print(f"\n{costs.table()}")
    assert all(costs.rounds[config] for config in CONFIGS)
    assert all(own > 0 for own in costs.hooks), "no hook was timed"
    if full_size:
        assert costs.share() <= 0.03
        assert sorted(costs.ratios(OURS))[6] <= 1.10
        # By timers, for the difference of two runs is little more than noise; those of tracing are not ours to time.
        assert sorted(costs.hooks)[6] < costs.added(TRACING) / 2
