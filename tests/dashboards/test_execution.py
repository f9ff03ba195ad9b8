"""Every query of every dashboard is executed, against a live stack and against an empty Prometheus."""

import asyncio
import re
import subprocess
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import httpx
import promql_parser
import pytest
import yaml

from temporal_slo import names
from temporal_slo.names.sdk import SDK_METRICS, WHOLE
from temporal_slo.names.server import SERVER_METRICS
from temporal_slo.servers.prometheus import Prometheus

from . import lint
from .live_stack import LiveStack, live_stack
from .promql import expanded, selectors
from .rendered import loaded, rendered

pytestmark = pytest.mark.timeout(300)

DEADLINE: Final = 100.0
VARIABLE_VALUES: Final = {
    "job": ".+",
    "temporal_namespace": "volteryde-dev",
    "workflow_type": ".+",
    "task_queue": ".+",
    "slo": "booking-success",
    "__rate_interval": "30s",
    "__range": "2m",
    "__interval": "5s",
}
"""Values of the dashboards' variables, and of Grafana's built-in ones at a short scrape interval."""

EMPTY: Final = {
    "temporal-slo-server: Requests / Errors B": "a client cannot cause server errors",
    "temporal-slo-server: Tasks and shards / History task rate B": "a client cannot cause failures of history tasks",
    "temporal-slo-server: Tasks and shards / Shard movement B": "all shards are acquired before the first scrape",
    "temporal-slo-workers: Workers / Requests to Temporal C": "polls fail only while the server is unreachable",
}
"""Queries without a result on the live stack, each with the reason."""


@pytest.fixture(scope="module")
async def stack(tmp_path_factory: pytest.TempPathFactory, programs: dict[str, Path]) -> AsyncIterator[LiveStack]:
    """The live stack."""
    async with live_stack(tmp_path_factory.mktemp("dashboards"), programs["prometheus"]) as started:
        yield started


def interpolated(expr: str) -> str:
    """Return *expr* with the variables replaced, as Grafana sends it."""
    return re.sub(r"\$(?:\{(\w+)\}|(\w+))", lambda match: VARIABLE_VALUES[match[1] or match[2]], expr)


def queries(uid: str) -> dict[str, str]:
    """Return the queries of a dashboard by row, panel and letter."""
    dashboard = loaded(uid)
    found: dict[str, str] = {}
    row = ""
    for panel in dashboard["panels"]:
        row = panel["title"] if panel["type"] == "row" else row
        for target in panel.get("targets", []):
            found[f"{uid}: {row} / {panel['title']} {target['refId']}"] = interpolated(target["expr"])
    return found


ALL: Final = {where: expr for uid in rendered() for where, expr in queries(uid).items()}


async def series_counts(prometheus: Prometheus) -> dict[str, int]:
    """Return the number of series that each query returns; fails on a query error."""
    async with httpx.AsyncClient(base_url=prometheus.url, timeout=30) as http:
        counts = {}
        for where, expr in ALL.items():
            response = await http.get("/api/v1/query", params={"query": expr})
            assert response.is_success, f"{where}: {response.text}"
            result = response.json()["data"]["result"]
            counts[where] = len([series for series in result if series["value"][1] != "NaN"])
        return counts


async def test_every_panel_has_data(stack: LiveStack) -> None:
    """Every query of every panel returns data, except those listed with a reason."""
    end = time.monotonic() + DEADLINE
    while True:
        stack.processes.check()
        counts = await series_counts(stack.prometheus)
        empty = {where for where, count in counts.items() if not count}
        if empty == set(EMPTY) or time.monotonic() > end:
            break
        await asyncio.sleep(2)
    print(f"{len(counts)} queries of {len(rendered())} dashboards: {sum(counts.values())} series, {len(empty)} empty")
    assert empty == set(EMPTY)
    panels = {where.rsplit(" ", 1)[0] for where in counts}
    assert panels == {where.rsplit(" ", 1)[0] for where, count in counts.items() if count}


async def test_names_exist(stack: LiveStack) -> None:
    """Every queried metric exists, except those that appear only on failures: no name is misspelt."""
    async with httpx.AsyncClient(base_url=stack.prometheus.url, timeout=30) as http:
        existing = set((await http.get("/api/v1/label/__name__/values")).json()["data"])
    used = {str(one.name) for expr in ALL.values() for one, _ in selectors(promql_parser.parse(expr))}
    absent_when_healthy = {one.name for one in SERVER_METRICS if one.absent_when_healthy}
    # A test cannot cause internal errors of the worker library.
    absent_when_healthy |= {names.WORKER_ERRORS.sample}
    absent_when_healthy |= {WHOLE.sample(one) for one in SDK_METRICS if one.absent_when_healthy}
    assert used - existing <= absent_when_healthy


async def test_empty_prometheus(programs: dict[str, Path], tmp_path: Path) -> None:
    """On an empty Prometheus no query fails and none returns a value."""
    prometheus = Prometheus(programs["prometheus"], tmp_path, {})
    try:
        await prometheus.ready()
        assert {where: count for where, count in (await series_counts(prometheus)).items() if count} == {}
    finally:
        prometheus.child.stop()
        await prometheus.close()


def test_promtool(programs: dict[str, Path], tmp_path: Path) -> None:
    """Prometheus 2.42 accepts every query, including those of annotations."""
    exprs = [expanded(expr) for uid in rendered() for _, expr in lint.expressions(loaded(uid))]
    rules = [{"record": f"q:{number}", "expr": expr} for number, expr in enumerate(exprs)]
    path = tmp_path / "rules.yaml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": rules}]}))
    done = subprocess.run([programs["promtool"], "check", "rules", path], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(exprs) > 100
