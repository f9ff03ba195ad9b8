from pathlib import Path

import pytest

from temporal_slo.servers.cluster import ClusterPrograms

from .bench_cluster import measure, table

RATIO = 1.3
REQUESTS = 10


@pytest.mark.sized
@pytest.mark.timeout(1200)
async def test_cluster_smoke(
    tmp_path: Path,
    cluster_programs: ClusterPrograms,
    full_size: bool,  # noqa: FBT001 a fixture
) -> None:
    """Polls of a cluster count all runs in few requests; at full size their duration does not grow with open runs."""
    closed, open_runs, polls = (200_000, (0, 20_000, 100_000), 24) if full_size else (2000, (0, 1000), 2)
    # Also checks that every run is counted.
    results = await measure(tmp_path, cluster_programs, closed, open_runs, polls)
    print(table(results, closed))
    assert max(one.ours.requests for one in results) <= REQUESTS
    if full_size:
        assert results[-1].ours.median <= RATIO * results[0].ours.median
