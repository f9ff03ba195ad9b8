import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from temporalio.api.common.v1 import WorkflowExecution, WorkflowType
from temporalio.api.workflow.v1 import WorkflowExecutionInfo
from temporalio.api.workflowservice.v1 import (
    CountWorkflowExecutionsResponse,
    ListWorkflowExecutionsRequest,
    ListWorkflowExecutionsResponse,
)
from temporalio.service import RPCError, RPCStatusCode

from temporal_slo.errors import TemporalRequestError
from temporal_slo.runs.run import Run
from temporal_slo.temporal.gateway import Gateway
from temporal_slo.temporal.request_log import RequestLog
from temporal_slo.temporal.visibility import OPEN_QUERY, RUNNING_QUERY, Page, TemporalVisibility

from .fake_service import FakeService

STARTED, DUE, CLOSED = (Timestamp(seconds=1_700_000_000 + after, nanos=123_456_000) for after in (0, 3, 10))


def row(status: int, **fields: object) -> WorkflowExecutionInfo:
    """Return a raw row as a server sends it."""
    return WorkflowExecutionInfo(
        execution=WorkflowExecution(workflow_id="w", run_id="r"),
        type=WorkflowType(name="Ride"),
        task_queue="rides",
        status=status,  # type: ignore[arg-type] # newer servers send numbers that the SDK's enum lacks
        start_time=STARTED,
        **fields,  # type: ignore[arg-type] # the caller names fields of the message
    )


async def listed(answer: ListWorkflowExecutionsResponse) -> Page:
    """Return the page that the adapter makes of a raw response."""
    service = FakeService(list_workflow_executions=answer)
    page = await TemporalVisibility(Gateway(service.client, "shop"), None).closed(17, b"here")
    (request,) = service.requests
    assert (request.namespace, request.page_size, request.next_page_token) == ("shop", 17, b"here")
    return page


async def test_row() -> None:
    """A raw row becomes a run in microseconds, with the duration that the server computed."""
    raw = row(2, execution_time=DUE, close_time=CLOSED, execution_duration=Duration(seconds=7, nanos=1_999))
    start = STARTED.ToMicroseconds()
    run = Run("r", "w", "Ride", "rides", "completed", start, start + 3_000_000, start + 10_000_000, 7_000_001)
    assert await listed(ListWorkflowExecutionsResponse(executions=[raw], next_page_token=b"on")) == Page((run,), b"on")


async def test_row_without_duration() -> None:
    """Without a duration from the server it is the time from the scheduled start to the close."""
    page = await listed(ListWorkflowExecutionsResponse(executions=[row(2, execution_time=DUE, close_time=CLOSED)]))
    assert (page.rows[0].duration, page.next_token) == (7_000_000, b"")


@pytest.mark.parametrize("status", [0, 9, 99])
async def test_status_of_a_newer_server(status: int) -> None:
    """An unknown status makes a run without status, not an error."""
    page = await listed(ListWorkflowExecutionsResponse(executions=[row(status)]))
    assert page.rows[0].status is None


async def test_paused() -> None:
    """A paused run has a status, though older SDKs have no name for it."""
    page = await listed(ListWorkflowExecutionsResponse(executions=[row(8)]))
    assert page.rows[0].status == "paused"


async def test_server_without_pausing() -> None:
    """If the server rejects the status of paused runs, this request and all later ones leave it out."""

    def respond(request: ListWorkflowExecutionsRequest) -> ListWorkflowExecutionsResponse | Exception:
        if "Paused" in request.query:
            return RPCError("invalid ExecutionStatus value: Paused", RPCStatusCode.INVALID_ARGUMENT, b"")
        return ListWorkflowExecutionsResponse(executions=[row(1)])

    service, log = FakeService(list_workflow_executions=respond), RequestLog()
    gateway = Gateway(service.client, "shop", log)
    visibility = TemporalVisibility(gateway, None)
    for _ in range(2):
        assert [run.status for run in (await visibility.running(17, paused=True)).rows] == ["running"]
    assert [request.query for request in service.requests] == [OPEN_QUERY, RUNNING_QUERY, RUNNING_QUERY]
    assert gateway.requests == {("ListWorkflowExecutions", "OK"): 2}
    assert [(entry.code, entry.rows) for entry in log.requests] == [("OK", 1), ("OK", 1)]


async def test_refused_query() -> None:
    """A query without the status of paused runs that the server rejects is an error."""
    service = FakeService(list_workflow_executions=RPCError("no", RPCStatusCode.INVALID_ARGUMENT, b""))
    for paused in (False, True):
        with pytest.raises(TemporalRequestError, match=r"^INVALID_ARGUMENT: no$"):
            await TemporalVisibility(Gateway(service.client, "shop"), None).running(17, paused=paused)


async def test_log() -> None:
    """The request log has every request as a sentence, with the rows or the runs that came back."""
    page = ListWorkflowExecutionsResponse(executions=[row(1), row(1)])
    service = FakeService(
        list_workflow_executions=page, count_workflow_executions=CountWorkflowExecutionsResponse(count=23)
    )
    log = RequestLog()
    visibility = TemporalVisibility(Gateway(service.client, "shop", log), None)
    await visibility.closed(17)
    await visibility.closed(17, b"on", until=1_700_000_000_123_456)
    await visibility.running(7)
    await visibility.running(7, b"on", paused=True)
    assert await visibility.count(1_700_000_000_000_000, 1_700_000_001_500_000) == 23
    assert [(entry.request, entry.rows) for entry in log.requests] == [
        ("closed runs, the first page of 17", 2),
        ("closed runs, a further page of 17, closed until 2023-11-14T22:13:20.123+00:00", 2),
        ("running runs, the first page of 7", 2),
        ("running and paused runs, a further page of 7", 2),
        (
            "number of runs closed from 2023-11-14T22:13:20.000+00:00 until 2023-11-14T22:13:21.500+00:00",
            23,
        ),
    ]
