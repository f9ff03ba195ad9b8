import pytest

from tests.conftest import Temporal

from .bench_worker import CONFIGS, OURS, TRACING, measure


@pytest.mark.sized
async def test_worker_smoke(temporal: Temporal, *, full_size: bool) -> None:
    """Every configuration completes its workflows; at full size ours costs at most 3 % and half of tracing."""
    costs = await measure(temporal.address, 12 if full_size else 1, 150 if full_size else 5)
    print(f"\n{costs.table()}")
    assert all(costs.rounds[config] for config in CONFIGS)
    assert all(own > 0 for own in costs.hooks), "no hook was timed"
    if full_size:
        assert costs.share() <= 0.03
        assert sorted(costs.ratios(OURS))[6] <= 1.10
        # By timers, because the difference of two runs is mostly noise; tracing has no timers.
        assert sorted(costs.hooks)[6] < costs.added(TRACING) / 2
