"""Every query of every dashboard is executed, on what really runs and on nothing at all."""

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
from .made import boards, loaded
from .promql import expanded, selectors
from .running import Running, everything

pytestmark = pytest.mark.timeout(300)

DEADLINE: Final = 100.0
CHOSEN: Final = {
    "job": ".+",
    "temporal_namespace": "volteryde-dev",
    "workflow_type": ".+",
    "task_queue": ".+",
    "slo": "booking-success",
    "__rate_interval": "30s",
    "__range": "2m",
    "__interval": "5s",
}
"""What a reader has chosen, and what Grafana makes of its own variables at a scrape interval of some seconds."""

EMPTY: Final = {
    "temporal-slo-server: Requests / Errors B": "the server's own faults cannot be brought about from outside",
    "temporal-slo-server: Tasks and shards / Internal tasks B": "as above",
    "temporal-slo-server: Tasks and shards / Shards move B": "a lone server takes its shards before the first scrape",
    "temporal-slo-workers: Workers / Requests to Temporal C": "polls fail only while the server is away",
}
"""Queries that return nothing here, each with the reason."""


@pytest.fixture(scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory, programs: dict[str, Path]) -> AsyncIterator[Running]:
    """All that dashboards show."""
    async with everything(tmp_path_factory.mktemp("dashboards"), programs["prometheus"]) as started:
        yield started


def filled(expr: str) -> str:
    """Return *expr* as Grafana would send it."""
    return re.sub(r"\$(?:\{(\w+)\}|(\w+))", lambda match: CHOSEN[match[1] or match[2]], expr)


def queries(uid: str) -> dict[str, str]:
    """Return the queries of a dashboard by the panel and their letter."""
    board = loaded(uid)
    rows: dict[str, str] = {}
    row = ""
    for panel in board["panels"]:
        row = panel["title"] if panel["type"] == "row" else row
        for target in panel.get("targets", []):
            rows[f"{uid}: {row} / {panel['title']} {target['refId']}"] = filled(target["expr"])
    return rows


ALL: Final = {where: expr for uid in boards() for where, expr in queries(uid).items()}


async def answers(prometheus: Prometheus) -> dict[str, int]:
    """Return how many series each query has; an error is a failure."""
    async with httpx.AsyncClient(base_url=prometheus.url, timeout=30) as http:
        found = {}
        for where, expr in ALL.items():
            answer = await http.get("/api/v1/query", params={"query": expr})
            assert answer.is_success, f"{where}: {answer.text}"
            result = answer.json()["data"]["result"]
            found[where] = len([row for row in result if row["value"][1] != "NaN"])
        return found


async def test_every_panel_has_data(running: Running) -> None:
    """Every query of every panel returns something, but for those that are listed with the reason."""
    end = time.monotonic() + DEADLINE
    while True:
        running.stage.check()
        found = await answers(running.prometheus)
        empty = {where for where, count in found.items() if not count}
        if empty == set(EMPTY) or time.monotonic() > end:
            break
        await asyncio.sleep(2)
    print(f"{len(found)} queries of {len(boards())} dashboards: {sum(found.values())} series, {len(empty)} empty")
    assert empty == set(EMPTY)
    panels = {where.rsplit(" ", 1)[0] for where in found}
    assert panels == {where.rsplit(" ", 1)[0] for where, count in found.items() if count}


async def test_names_exist(running: Running) -> None:
    """Every metric that is asked for is there, so that no name is wrong."""
    async with httpx.AsyncClient(base_url=running.prometheus.url, timeout=30) as http:
        there = set((await http.get("/api/v1/label/__name__/values")).json()["data"])
    used = {str(one.name) for expr in ALL.values() for one, _ in selectors(promql_parser.parse(expr))}
    from_trouble = {one.name for one in SERVER_METRICS if one.from_trouble}
    # The worker library's own errors are none that a test could bring about.
    from_trouble |= {names.WORKER_ERRORS.sample}
    from_trouble |= {WHOLE.sample(one) for one in SDK_METRICS if one.from_trouble}
    assert used - there <= from_trouble


async def test_nothing(programs: dict[str, Path], tmp_path: Path) -> None:
    """On a Prometheus that has nothing no query is an error, and none shows a figure."""
    prometheus = Prometheus(programs["prometheus"], tmp_path, {})
    try:
        await prometheus.ready()
        assert {where: count for where, count in (await answers(prometheus)).items() if count} == {}
    finally:
        prometheus.child.stop()
        await prometheus.close()


def test_promtool(programs: dict[str, Path], tmp_path: Path) -> None:
    """Prometheus 2.42 takes every query, those of annotations and variables among them."""
    exprs = [expanded(expr) for uid in boards() for _, expr in lint.expressions(loaded(uid))]
    rules = [{"record": f"q:{number}", "expr": expr} for number, expr in enumerate(exprs)]
    path = tmp_path / "rules.yaml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": rules}]}))
    done = subprocess.run([programs["promtool"], "check", "rules", path], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(exprs) > 100
