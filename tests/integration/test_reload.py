"""Spec reload in an exporter of several namespaces, and /debug/poll."""

import os
import shutil
import signal
from pathlib import Path
from typing import Any

import httpx
import pytest

from temporal_slo import names
from temporal_slo.exporter.exposition.publisher import Publisher
from temporal_slo.exporter.http import create_app
from temporal_slo.ledger.ledger import Ledger
from temporal_slo.servers.process import until
from tests.conftest import Temporal

from .exporter import Exporter

ROOT = Path(__file__).parents[2]
SPEC = """\
version: temporal-slo/v1
service: shop
temporal_namespace: reload-1
owner: shop-team
period: 30d
slos:
- {name: quick, workflow: Ride, objective: 99, sli: {overdue: {max_age: MAX_AGE}}}
"""


async def debug_poll(exporter: Exporter) -> dict[str, Any]:
    """Return the response of /debug/poll."""
    body: dict[str, Any] = (await exporter.http.get("/debug/poll")).raise_for_status().json()
    return body


async def slos(exporter: Exporter) -> set[str]:
    """Scrape and return the exposed SLOs."""
    return {dict(labels)[names.SLO] for labels in await exporter.series(names.WORKFLOWS_OVERDUE)}


async def test_reload(temporal: Temporal, tmp_path: Path) -> None:
    """A changed spec is reloaded, also on SIGHUP; an invalid one sets a metric and keeps the last valid spec."""
    for name in ("reload-1", "reload-2"):
        await temporal.namespace(name)
    spec = tmp_path / "spec.yaml"
    spec.write_text(SPEC.replace("MAX_AGE", "10m"))
    exporter = Exporter(tmp_path, temporal.address, "reload-1,reload-2", "--spec", str(spec))
    try:
        await exporter.started()
        await exporter.becomes(names.EXPORTER_NAMESPACES, 2)

        async def exposes(*wanted: str) -> bool:
            return await slos(exporter) == set(wanted)

        await until(lambda: exposes("quick"), deadline=30, what="the first spec")
        spec.write_text(SPEC.replace("MAX_AGE", "10 parsecs"))
        await exporter.becomes(names.EXPORTER_RELOAD_SUCCESSFUL, 0)
        assert await slos(exporter) == {"quick"}
        other = tmp_path / "other.yaml"
        other.write_text(SPEC.replace("MAX_AGE", "20m").replace("quick", "quicker"))
        shutil.move(other, spec)
        os.kill(exporter.child.pid, signal.SIGHUP)
        await exporter.becomes(names.EXPORTER_RELOAD_SUCCESSFUL, 1)
        await until(lambda: exposes("quicker"), deadline=30, what="the last spec")
        up = await exporter.series(names.EXPORTER_UP)
        assert {dict(labels)[names.NAMESPACE]: value for labels, value in up.items()} == {"reload-1": 1, "reload-2": 1}
        assert "10 parsecs" in exporter.child.tail()
    finally:
        await exporter.stop()


async def test_debug_poll(temporal: Temporal, tmp_path: Path) -> None:
    """It returns the requests and results of the last poll, without any run."""
    await temporal.namespace("debug")
    exporter = Exporter(tmp_path, temporal.address, "debug")
    try:
        await exporter.started()
        await exporter.becomes(names.EXPORTER_UP, 1)
        poll = (await debug_poll(exporter))["debug"]
        requests = [
            (entry["request"].split(",")[0], entry["code"], entry["rows"]) for entry in poll["poll"]["requests"]
        ]
        assert ("closed runs", "OK", 0) in requests
        assert (poll["poll"]["error"], poll["gaps"], poll["pending_runs"], poll["open_runs"]) == (None, [], 0, 0)
    finally:
        await exporter.stop()


@pytest.mark.parametrize("anywhere", [False, True])
async def test_debug_access(tmp_path: Path, *, anywhere: bool) -> None:
    """Remote clients of /debug/poll get 403, unless --debug-anywhere is set."""
    ledger = Ledger(f"sqlite:///{tmp_path / 'ledger'}")
    app = create_app(Publisher(ledger), debug_anywhere=anywhere)
    transport = httpx.ASGITransport(app, client=("192.0.2.7", 4711))
    async with httpx.AsyncClient(transport=transport, base_url="http://exporter") as client:
        assert (await client.get("/debug/poll")).status_code == (200 if anywhere else 403)
    ledger.close()
