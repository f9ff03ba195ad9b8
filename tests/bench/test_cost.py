from pathlib import Path

import pytest

from .bench_cost import measure

REQUESTS = 3
COST = 1.2
RATE = 0.8
MEMORY = 250


@pytest.mark.sized
@pytest.mark.timeout(1200)
async def test_cost_smoke(tmp_path: Path, full_size: bool) -> None:  # noqa: FBT001 a fixture
    """A poll makes few requests however many rows are stored, and counts all; at full size within time and memory."""
    rows, runs, polls = (200_000, 1024, 32) if full_size else (1000, 32, 4)
    result = await measure(tmp_path, rows, runs, polls)
    for cost in result.costs:
        assert cost.closed == cost.added
        assert max(cost.ours.requests, cost.sweeps.requests) <= REQUESTS
    assert result.catch_up.ours.count == result.catch_up.bare.count == result.stored
    assert result.settle.ours.count == result.settle.bare.count == runs * polls // 2
    assert (result.memory.closed, result.memory.open) == (result.stored, rows // 2)
    if full_size:
        small, large = result.costs
        assert large.ours.typical(small.ours) <= COST
        assert result.catch_up.ratio >= RATE
        assert result.settle.typical >= RATE
        assert result.memory.peak <= MEMORY
