import gzip

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from temporal_slo import names
from temporal_slo.runs.counted import BUCKET_BOUNDS_SECONDS

from .bench_scrape import STATUSES, measure, table

GOAL = 0.020


@pytest.mark.sized
def test_scrape_smoke(full_size: bool) -> None:  # noqa: FBT001 a fixture
    """A scrape returns the last snapshot, rendered faster than by prometheus_client; at full size p95 is 20 ms."""
    types = 1000 if full_size else 20
    result = measure(types, 200 if full_size else 5)
    print(f"\n{table(result)}")
    parsed = text_string_to_metric_families(result.text)  # type: ignore[no-untyped-call] # the library has it untyped
    families = {family.name: family for family in parsed}
    assert sum(sample.value for sample in families[names.WORKFLOWS_CLOSED.name].samples) == result.closed
    durations = families[names.WORKFLOW_DURATION.name].samples
    assert len(durations) == types * len(STATUSES) * (len(BUCKET_BOUNDS_SECONDS) + 3)
    assert sum(sample.value for sample in durations if sample.name.endswith("_count")) == result.closed
    assert gzip.decompress(result.bodies["gzip"]).count(b"\n") == result.text.count("\n")
    for kind in ("first", "unchanged", "5 % changed", "all changed"):
        assert min(result.renders[f"ours, {kind}"]) < min(result.renders["prometheus_client"])
    if full_size:
        assert result.p95("gzip, between polls") <= GOAL  # with the encoding that Prometheus requests
