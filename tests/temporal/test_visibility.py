import socket
from types import SimpleNamespace

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from temporalio.api.common.v1 import WorkflowExecution, WorkflowType
from temporalio.api.workflow.v1 import WorkflowExecutionInfo
from temporalio.api.workflowservice.v1 import ListWorkflowExecutionsRequest, ListWorkflowExecutionsResponse
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from temporal_slo.errors import TemporalRequestError
from temporal_slo.runs.run import Run
from temporal_slo.temporal import rpc
from temporal_slo.temporal.visibility import OPEN_QUERY, RUNNING_QUERY, Page, TemporalVisibility

STARTED, DUE, CLOSED = (Timestamp(seconds=1_700_000_000 + after, nanos=123_456_000) for after in (0, 3, 10))


def row(status: int, **fields: object) -> WorkflowExecutionInfo:
    """A raw row as a server sends it."""
    return WorkflowExecutionInfo(
        execution=WorkflowExecution(workflow_id="w", run_id="r"),
        type=WorkflowType(name="Ride"),
        task_queue="rides",
        status=status,  # type: ignore[arg-type] # newer servers send numbers that the SDK's enum lacks
        start_time=STARTED,
        **fields,  # type: ignore[arg-type] # the caller names fields of the message
    )


async def listed(answer: ListWorkflowExecutionsResponse | Exception) -> Page:
    """What the adapter makes of a server's raw answer."""

    async def respond(request: ListWorkflowExecutionsRequest, **_: object) -> ListWorkflowExecutionsResponse:
        assert (request.namespace, request.page_size, request.next_page_token) == ("shop", 17, b"here")
        if isinstance(answer, Exception):
            raise answer
        return answer

    service = SimpleNamespace(workflow_service=SimpleNamespace(list_workflow_executions=respond))
    client: Client = service  # type: ignore[assignment] # all of the client that the adapter uses
    return await TemporalVisibility(client, "shop").closed(17, b"here")


async def test_row() -> None:
    """A raw row becomes a run in microseconds, with the duration that the server computed."""
    raw = row(2, execution_time=DUE, close_time=CLOSED, execution_duration=Duration(seconds=7, nanos=1_999))
    start = STARTED.ToMicroseconds()
    run = Run("r", "w", "Ride", "rides", "completed", start, start + 3_000_000, start + 10_000_000, 7_000_001)
    assert await listed(ListWorkflowExecutionsResponse(executions=[raw], next_page_token=b"on")) == Page((run,), b"on")


async def test_row_without_duration() -> None:
    """Where the server gives no duration it is the time from due to close."""
    page = await listed(ListWorkflowExecutionsResponse(executions=[row(2, execution_time=DUE, close_time=CLOSED)]))
    assert (page.rows[0].duration, page.next_token) == (7_000_000, b"")


@pytest.mark.parametrize("status", [0, 9, 99])
async def test_status_of_a_newer_server(status: int) -> None:
    """A status that we do not know makes a run without status, not an error."""
    page = await listed(ListWorkflowExecutionsResponse(executions=[row(status)]))
    assert page.rows[0].status is None


async def test_paused() -> None:
    """A paused run has a status, though older SDKs know none."""
    page = await listed(ListWorkflowExecutionsResponse(executions=[row(8)]))
    assert page.rows[0].status == "paused"


async def test_server_without_pausing() -> None:
    """A server that refuses the status of paused runs is asked without it, from then on at once."""
    queries: list[str] = []

    async def respond(request: ListWorkflowExecutionsRequest, **_: object) -> ListWorkflowExecutionsResponse:
        queries.append(request.query)
        if "Paused" in request.query:
            raise RPCError("invalid ExecutionStatus value: Paused", RPCStatusCode.INVALID_ARGUMENT, b"")
        return ListWorkflowExecutionsResponse(executions=[row(1)])

    service = SimpleNamespace(workflow_service=SimpleNamespace(list_workflow_executions=respond))
    visibility = TemporalVisibility(service, "shop")  # type: ignore[arg-type] # all of the client that it uses
    for _ in range(2):
        assert [run.status for run in (await visibility.running(17, paused=True)).rows] == ["running"]
    assert queries == [OPEN_QUERY, RUNNING_QUERY, RUNNING_QUERY]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (RPCError("slow\ndown", RPCStatusCode.RESOURCE_EXHAUSTED, b""), "RESOURCE_EXHAUSTED"),
        (RuntimeError("Failed client connect: refused"), "UNAVAILABLE"),
    ],
)
async def test_errors(error: Exception, code: str) -> None:
    """What the SDK raises becomes one line with its gRPC code."""
    with pytest.raises(TemporalRequestError, match=f"^{code}: ") as caught:
        await listed(error)
    assert (caught.value.code, "\n" in str(caught.value)) == (code, False)


async def test_silent_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that takes connections and never answers is away after a while, though the SDK would wait for ever."""
    monkeypatch.setattr(rpc, "OVERALL_TIMEOUT", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        client = await Client.connect("{}:{}".format(*silent.getsockname()), lazy=True)
        with pytest.raises(TemporalRequestError, match="no connection in") as raised:
            await TemporalVisibility(client, "shop").closed(1)
    assert raised.value.code == "DEADLINE_EXCEEDED"
