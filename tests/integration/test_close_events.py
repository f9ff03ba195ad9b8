"""Classification of closed runs by their close events, on a real Temporal server."""

import asyncio
import threading
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from google.protobuf import json_format
from temporalio.api.common.v1 import Payloads, WorkflowExecution
from temporalio.api.workflowservice.v1 import DeleteWorkflowExecutionRequest
from temporalio.client import Client
from temporalio.converter import DataConverter, default
from temporalio.service import RPCError, RPCStatusCode

from temporal_slo.errors import TemporalRequestError
from temporal_slo.exporter.classify.outcome import OutcomeReader
from temporal_slo.exporter.classify.payloads import RemoteCodec, converter_decode, load_converter
from temporal_slo.exporter.classify.status import classify, needs_event
from temporal_slo.runs.counted import Classification
from temporal_slo.runs.run import Run
from temporal_slo.servers.process import LOOPBACK, free_port, until
from temporal_slo.servers.temporal import TemporalServer, ensure_namespace
from temporal_slo.spec.model import Outcome
from temporal_slo.temporal.close_events import TemporalCloseEvents
from temporal_slo.temporal.gateway import Gateway
from temporal_slo.temporal.history import HistoryRequests
from temporal_slo.temporal.visibility import TemporalVisibility
from tests.conftest import Temporal

from . import endings

QUEUE = "endings"
SPECS = {workflow_type: Outcome.model_validate(written) for workflow_type, written in endings.OUTCOMES.items()}


class Namespace:
    """A namespace with a worker, and the exporter's clients and outcome reader for it."""

    def __init__(self, client: Client, converter: DataConverter) -> None:
        self.client = client
        self.close_events = TemporalCloseEvents(HistoryRequests(Gateway(client, client.namespace), None))
        self.visibility = TemporalVisibility(Gateway(client, client.namespace), None)
        self.reader = OutcomeReader(SPECS, converter_decode(converter, client.namespace))

    async def closed(self, count: int) -> list[Run]:
        """Wait for *count* closed runs and return them, newest first."""

        async def found() -> list[Run]:
            rows = (await self.visibility.closed(1000)).rows
            return list(rows) if len(rows) >= count else []

        return await until(found, deadline=60, what=f"{count} closed runs")

    async def classification(self, run: Run) -> Classification:
        """Return the classification of a closed run."""
        status, type_ = str(run.status), run.workflow_type
        if not needs_event(status, outcome=self.reader.reads(type_)):
            return classify(status, None)
        event = await self.close_events.close_event(run.workflow_id, run.run_id)
        outcome = await self.reader.read(type_, run.workflow_id, event)
        return classify(status, event, str(outcome))

    async def classifications(self, count: int) -> list[Classification]:
        """Wait for *count* closed runs and return their classifications, oldest first."""
        return [await self.classification(run) for run in reversed(await self.closed(count))]

    async def run_ending(self, ending: str) -> None:
        """Run an ending."""
        await endings.run_ending(self.client, QUEUE, ending, uuid.uuid4().hex)

    async def start(self, workflow_type: str, *arguments: object, **options: object) -> str:
        """Start a workflow and return its id."""
        options = {"task_queue": QUEUE, "id": uuid.uuid4().hex, **options}
        handle = await self.client.start_workflow(workflow_type, args=arguments, **options)  # type: ignore[call-overload] # the caller names options of start_workflow
        return str(handle.id)


@asynccontextmanager
async def monitored(
    temporal: Temporal, *, workers: DataConverter | None = None, exporter: DataConverter | None = None
) -> AsyncIterator[Namespace]:
    """A new namespace, with the data converter of its workers and that of the exporter."""
    client = await temporal.namespace(f"endings-{uuid.uuid4().hex[:8]}")
    client = Client(client.service_client, namespace=client.namespace, data_converter=workers or default())
    async with endings.serving(client, QUEUE):
        yield Namespace(client, exporter or default())


async def test_every_ending(temporal: Temporal) -> None:
    """Every ending is counted as ENDINGS defines, with its failure type, even if it is requested twice."""
    async with monitored(temporal) as namespace:
        for ending in endings.ENDINGS:
            for _ in range(2):
                await endings.run_ending(namespace.client, QUEUE, ending, ending)
        expected = Counter(row for ending in endings.ENDINGS.values() for row in ending.rows)
        found: Counter[endings.Row] = Counter()
        for run in await namespace.closed(expected.total()):
            classification = await namespace.classification(run)
            found[endings.Row(run.workflow_type, *classification)] += 1
        assert found == expected


async def test_innermost_cause(temporal: Temporal) -> None:
    """The failure type is that of the innermost cause; for an activity without workers it is the timeout."""
    async with monitored(temporal) as namespace:
        await namespace.start("Nested", None)
        await namespace.start("Nested", endings.NO_WORKERS)
        assert {each.failure_type for each in await namespace.classifications(2)} == {
            "InsufficientFunds",
            "TimeoutError:ScheduleToStart",
        }


async def test_retried_timeout(temporal: Temporal) -> None:
    """A timed-out run that is retried is counted as retried, the last one as timed out."""
    async with monitored(temporal) as namespace:
        await namespace.start(
            "Unattended",
            task_queue=endings.NO_WORKERS,
            run_timeout=endings.SHORT_TIMEOUT,
            retry_policy=endings.TWO_ATTEMPTS,
        )
        assert [each.status for each in await namespace.classifications(2)] == ["retried", "timed_out"]


async def test_cron(temporal: Temporal) -> None:
    """A cron run counts as it ended, completed, failed or timed out, although a further run follows."""
    async with monitored(temporal) as namespace:
        good = await namespace.start("Booking", "CONFIRMED", cron_schedule="@every 1s")
        bad = await namespace.start("Failing", cron_schedule="@every 1s")
        late = await namespace.start(
            "Unattended", task_queue=endings.NO_WORKERS, cron_schedule="@every 1s", run_timeout=endings.SHORT_TIMEOUT
        )

        async def all_closed() -> bool:
            ids = {run.workflow_id for run in await namespace.closed(3) if run.status != "terminated"}
            return ids == {good, bad, late}

        await until(all_closed, deadline=30, what="a run of each")
        for workflow_id in (good, bad, late):
            await namespace.client.get_workflow_handle(workflow_id).terminate()
        not_terminated = [each for each in await namespace.classifications(3) if each.status != "terminated"]
        assert set(not_terminated) == {
            Classification("completed", "good"),
            Classification("failed", "none", "CardDeclined"),
            Classification("timed_out", "none", "TimeoutError:StartToClose"),
        }


async def test_deleted_run(temporal: Temporal) -> None:
    """A deleted run has no close event; neither has one that never existed."""
    async with monitored(temporal) as namespace:
        # Deleted while open: deleting a closed run takes the server up to a minute.
        handle = await namespace.client.start_workflow("Unattended", id="w", task_queue=endings.NO_WORKERS)
        run_id = str(handle.first_execution_run_id)
        execution = WorkflowExecution(workflow_id="w", run_id=run_id)
        await namespace.client.workflow_service.delete_workflow_execution(
            DeleteWorkflowExecutionRequest(namespace=namespace.client.namespace, workflow_execution=execution)
        )

        async def deleted() -> bool:
            try:
                await handle.describe()
            except RPCError as error:
                return error.status is RPCStatusCode.NOT_FOUND
            return False

        await until(deleted, deadline=90, what="deletion")
        assert await namespace.close_events.close_event("w", run_id) is None
        assert await namespace.close_events.close_event("never", str(uuid.uuid4())) is None


async def test_errors(temporal: Temporal) -> None:
    """An unknown namespace is an error, not a deleted run; so are an invalid run id and an unreachable server."""
    unknown = TemporalCloseEvents(HistoryRequests(Gateway(temporal.client, "no-such-namespace"), None))
    unreachable = await Client.connect(f"{LOOPBACK}:{free_port()}", lazy=True)
    run_id = str(uuid.uuid4())
    for close_events, requested, code in (
        (unknown, run_id, "NOT_FOUND"),
        (
            TemporalCloseEvents(HistoryRequests(Gateway(temporal.client, temporal.client.namespace), None)),
            "no-run-id",
            "INVALID_ARGUMENT",
        ),
        (TemporalCloseEvents(HistoryRequests(Gateway(unreachable, "default"), None)), run_id, "UNAVAILABLE"),
    ):
        with pytest.raises(TemporalRequestError) as caught:
            await close_events.close_event("w", requested)
        assert caught.value.code == code


async def test_raw_events(tmp_path: Path) -> None:
    """Close events are also read from a server that is configured to return raw events."""
    option = ["--dynamic-config-value", "frontend.sendRawWorkflowHistory=true"]
    server = TemporalServer(tmp_path, options=["--headless", *option])
    try:
        client = await server.ready()
        await ensure_namespace(client, "default")
        await client.start_workflow("Unattended", id="w", task_queue=endings.NO_WORKERS)
        await client.get_workflow_handle("w").terminate(reason="why")
        (run,) = await Namespace(client, default()).closed(1)
        history = HistoryRequests(Gateway(client, "default"), None)
        event = await TemporalCloseEvents(history).close_event("w", run.run_id)
        assert event
        assert classify("terminated", event) == Classification("terminated", "none", "terminated")
    finally:
        server.child.stop()


async def test_encrypted(temporal: Temporal) -> None:
    """Outcomes of encrypted results are read with the workers' data converter, and unknown without it."""
    converter = load_converter("tests.integration.endings:CONVERTER", "--data-converter")
    async with monitored(temporal, workers=endings.CONVERTER, exporter=converter) as namespace:
        await namespace.run_ending("completed_bad")
        assert await namespace.classifications(1) == [Classification("completed", "bad")]
        without = Namespace(namespace.client, default())
        assert await without.classifications(1) == [Classification("completed", "unknown")]
        assert without.reader.undecodable == 1


class Codec(BaseHTTPRequestHandler):
    """A codec server with Temporal's HTTP protocol."""

    def do_POST(self) -> None:
        """Decode."""
        body = json_format.Parse(self.rfile.read(int(self.headers["Content-Length"])), Payloads())
        assert self.path == f"/{self.headers['X-Namespace']}/decode"
        decoded = Payloads(payloads=asyncio.run(endings.Reversed().decode(body.payloads)))
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json_format.MessageToJson(decoded).encode())

    def log_message(self, *_: object) -> None:
        """Do not log."""


@contextmanager
def codec_server() -> Iterator[str]:
    """The endpoint of a codec server."""
    server = ThreadingHTTPServer((LOOPBACK, 0), Codec)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://{LOOPBACK}:{server.server_port}/{{namespace}}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


async def test_codec_endpoint(temporal: Temporal) -> None:
    """Outcomes of encrypted results are read with a codec server; while it is down they stay pending."""
    async with monitored(temporal, workers=endings.CONVERTER) as namespace:
        await namespace.run_ending("completed_excluded")
        (run,) = await namespace.closed(1)
        with codec_server() as endpoint:
            codec = RemoteCodec(endpoint, namespace.client.namespace)
            remote = Namespace(namespace.client, DataConverter(payload_codec=codec))
            assert await remote.classification(run) == Classification("completed", "excluded")
        event = await remote.close_events.close_event(run.workflow_id, run.run_id)
        assert await remote.reader.read(run.workflow_type, run.workflow_id, event) is None
        assert remote.reader.undecodable == 0
        await codec.close()
