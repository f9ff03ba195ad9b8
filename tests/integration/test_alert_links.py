"""The visibility queries in alert annotations are valid for a real Temporal server."""

from pathlib import Path

import pytest

from temporal_slo.generate.cause_alerts import CAUSES, Cause
from temporal_slo.generate.links import visibility_query
from temporal_slo.spec.load import load
from tests.conftest import Temporal

SPEC = """\
version: temporal-slo/v1
service: shop
temporal_namespace: shop
owner: shop-team
period: 30d
slos:
- name: rides
  workflow: [Ride, "O'Ride"]
  task_queue: "q'\\\\"
  objective: 99.9
  outcome: {from: status, good: [OK], bad: [NO]}
  sli: {success: {bad: [failed, timed_out, canceled, terminated, bad_outcome]}}
- {name: quick, workflow: Ride, objective: 99, sli: {latency: {threshold: 90s}}}
- {name: stuck, workflow: Ride, objective: 99.9, sli: {overdue: {max_age: 15m}}}
- {name: acts, workflow: Ride, objective: 99.9, sli: {activity_success: {}}}
"""


async def test_slo_queries(temporal: Temporal, tmp_path: Path) -> None:
    """The server accepts the query of each kind of SLI."""
    (tmp_path / "spec.yaml").write_text(SPEC)
    for slo in load([tmp_path / "spec.yaml"]).slos:
        assert (await temporal.client.count_workflows(visibility_query(slo))).count >= 0


@pytest.mark.parametrize("cause", [cause for cause in CAUSES if cause.executions], ids=lambda cause: cause.name)
async def test_cause_queries(cause: Cause, temporal: Temporal) -> None:
    """The server accepts the query of each cause alert about runs."""
    assert (await temporal.client.count_workflows(cause.executions.replace("TYPE", r"O\'Ride"))).count == 0
