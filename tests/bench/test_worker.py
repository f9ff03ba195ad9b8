import pytest

from tests.conftest import Temporal

from .bench_worker import CONFIGS, OURS, TRACING, measure


@pytest.mark.sized
async def test_worker_smoke(temporal: Temporal, *, full_size: bool) -> None:
    """Every configuration does its workflows; at full size ours costs little, and less than half of tracing."""
    costs = await measure(temporal.address, 12 if full_size else 1, 150 if full_size else 5)
    print(f"\n{costs.table()}")
    assert all(costs.rounds[config] for config in CONFIGS)
    assert all(0 < ours < total for ours, total in costs.hooks), "no hook was timed"
    if full_size:
        ratios = {config: sorted(costs.ratios(config))[6] for config in (OURS, TRACING)}
        assert sorted(ours / total for ours, total in costs.hooks)[6] <= 0.03
        assert ratios[OURS] <= 1.10
        assert ratios[OURS] - 1 < (ratios[TRACING] - 1) / 2
