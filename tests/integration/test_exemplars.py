"""Exemplars of real runs in a real Prometheus."""

import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

from temporalio.client import WorkflowFailureError

from temporal_slo import names
from temporal_slo.exporter.exposition.escaping import escaped
from temporal_slo.exporter.exposition.renderer import OPENMETRICS, Renderer
from temporal_slo.names.samples import Exemplar, Labels, Value, ValueWithExemplar
from temporal_slo.servers.process import LOOPBACK, until
from temporal_slo.servers.prometheus import Prometheus
from tests.conftest import Temporal

from . import endings
from .exporter import Exporter

QUEUE = "exemplars"
STORAGE = "--enable-feature=exemplar-storage"
COUNTER = names.Family("t_rides", "counter", "Rides.", ("zone",))
IDS = (
    'a"b',
    "back\\slash",
    "new\nline",
    "\\n",
    "car\rriage",
    "\x1b[1m\x7f\x85",
    "漢\U0001f600",
    "\0",
    "x" * 75,
    "# {}",
)


@asynccontextmanager
async def scraping(program: Path, folder: Path, target: str) -> AsyncIterator[Prometheus]:
    """A Prometheus that scrapes *target* and keeps exemplars."""
    prometheus = Prometheus(program, folder, {"temporal-slo": target}, options=[STORAGE])
    try:
        await prometheus.ready()
        yield prometheus
    finally:
        prometheus.child.stop()
        await prometheus.close()


async def test_exemplars_in_prometheus(temporal: Temporal, programs: dict[str, Path], tmp_path: Path) -> None:
    """Prometheus has the workflow and run ids of the failed and the timed-out run, with their close times."""
    start = time.time()
    client = await temporal.namespace(f"exemplars-{uuid.uuid4().hex[:8]}")
    exporter = await Exporter(tmp_path, temporal.address, client.namespace).started()
    try:
        await exporter.becomes(names.EXPORTER_UP, 1)
        async with endings.serving(client, QUEUE), scraping(programs["prometheus"], tmp_path, exporter.target) as found:
            runs = {}
            for kind, queue in (("Failing", QUEUE), ("Unattended", endings.NO_WORKERS)):
                handle = await client.start_workflow(
                    kind, id=f"{kind}-{uuid.uuid4().hex}", task_queue=queue, run_timeout=endings.SHORT_TIMEOUT
                )
                runs[handle.id] = handle.first_execution_run_id
                await failed(handle)

            async def stored() -> list[dict[str, Any]]:
                both = f"{names.WORKFLOWS_CLOSED.sample} or {names.WORKFLOW_FAILURES.sample}"
                rows = await found.exemplars(both, start - 60)
                return rows if len(rows) >= 2 * len(runs) else []

            rows = await until(stored, deadline=60, what="exemplars in Prometheus")
        assert {row["labels"]["workflow_id"]: row["labels"]["run_id"] for row in rows} == runs
        assert all(start <= row["timestamp"] <= time.time() for row in rows)
    finally:
        await exporter.stop()


async def failed(handle: Any) -> None:  # noqa: ANN401 a handle of any workflow
    """Wait until a run has failed."""
    try:
        await handle.result()
    except WorkflowFailureError:
        return
    raise AssertionError(f"{handle.id} completed")


async def test_hostile_ids_in_prometheus(programs: dict[str, Path], tmp_path: Path) -> None:
    """Ids with characters special to the exposition format arrive unchanged; an id with NUL is left out."""
    start = time.time()
    rows: list[tuple[Labels, Value]] = [
        ((str(place),), ValueWithExemplar(place, Exemplar(text, f"run-{place}", start)))
        for place, text in enumerate(IDS)
    ]
    body = Renderer().render([(COUNTER, rows)]).openmetrics
    with ThreadingHTTPServer((LOOPBACK, 0), handler(body)) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        async with scraping(programs["prometheus"], tmp_path, f"{LOOPBACK}:{server.server_address[1]}") as found:

            async def stored() -> list[dict[str, Any]]:
                rows = await found.exemplars(COUNTER.sample, start - 60)
                return rows if len(rows) >= len(IDS) else []

            exemplars = await until(stored, deadline=60, what="exemplars in Prometheus")
        server.shutdown()
    labels = {row["labels"]["run_id"]: row["labels"].get("workflow_id") for row in exemplars}
    for place, text in enumerate(IDS):
        # Prometheus 2 does not unescape the labels of exemplars.
        assert labels.pop(f"run-{place}") in ({None} if text == "\0" else {text, escaped(text)})
    assert not labels


def handler(body: bytes) -> type[BaseHTTPRequestHandler]:
    """Return a handler that answers every request with *body*."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            """Answer."""
            self.send_response(200)
            self.send_header("content-type", OPENMETRICS)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 the library's name
            """Do not log."""

    return Handler
