import ast
import asyncio
import inspect
import re
import socket
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from math import inf
from pathlib import Path

import pytest
from google.protobuf.message import DecodeError
from temporalio.api.workflowservice import v1
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode, WorkflowService

import temporal_slo
from temporal_slo.errors import LedgerError, TemporalRequestError
from temporal_slo.runs.storable import NUL_SIGN
from temporal_slo.temporal import rpc as module
from temporal_slo.temporal.close_events import TemporalCloseEvents
from temporal_slo.temporal.gateway import SDK_TIMEOUT_MESSAGE, UNSENT_MESSAGE, Gateway, is_not_found
from temporal_slo.temporal.history import HistoryRequests
from temporal_slo.temporal.namespaces import namespace_lister
from temporal_slo.temporal.pending_activities import TemporalPendingActivities
from temporal_slo.temporal.rate_limit import RateLimiter
from temporal_slo.temporal.request_log import RequestLog
from temporal_slo.temporal.rpc import DESCRIBE_NAMESPACE, DESCRIBE_SCHEDULE, GET_HISTORY, LIST_WORKFLOWS, Rpc
from temporal_slo.temporal.schedules import TemporalSchedules
from temporal_slo.temporal.start_events import TemporalStartEvents
from temporal_slo.temporal.task_problems import TemporalTaskProblems
from temporal_slo.temporal.task_queues import WORKFLOW, TemporalTaskQueues
from temporal_slo.temporal.visibility import TemporalVisibility

from .fake_service import FakeService, not_found

RPCS = [value for value in vars(module).values() if isinstance(value, Rpc)]
REQUEST = v1.DescribeNamespaceRequest(namespace="shop")
PACKAGE = Path(temporal_slo.__file__).parent


def unlimited() -> RateLimiter:
    """A rate limiter that lets one request after the other through at once."""
    return RateLimiter(inf, 1)


@pytest.mark.parametrize("rpc", RPCS, ids=lambda rpc: rpc.name)
def test_calls(rpc: Rpc[v1.ListWorkersRequest, v1.ListWorkersResponse]) -> None:
    """The SDK has a method for every call, and the messages belong to it."""
    assert inspect.iscoroutinefunction(getattr(WorkflowService, rpc.method))
    assert (rpc.request.__name__, rpc.response.__name__) == (f"{rpc.name}Request", f"{rpc.name}Response")


async def test_response() -> None:
    """The response to a request is returned, and counted with the code OK."""
    response = v1.DescribeNamespaceResponse(failover_version=17)
    service = FakeService(describe_namespace=response)
    gateway, limiter = Gateway(service.client, "shop"), unlimited()
    assert await gateway.call(DESCRIBE_NAMESPACE, REQUEST, limiter=limiter) == response
    assert service.requests == [REQUEST]
    assert (gateway.requests, limiter.requests) == ({("DescribeNamespace", "OK"): 1}, 1)


@pytest.mark.parametrize("rpc", [GET_HISTORY, DESCRIBE_SCHEDULE])
async def test_options(rpc: Rpc[v1.ListWorkersRequest, v1.ListWorkersResponse]) -> None:
    """A request has the metadata and the timeout of its call."""
    service = FakeService()
    await Gateway(service.client, "shop").call(rpc, rpc.request(), limiter=None)
    assert service.options == (rpc.metadata, rpc.timeout)


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (RPCError("slow\ndown", RPCStatusCode.RESOURCE_EXHAUSTED, b""), "RESOURCE_EXHAUSTED", "shop: slow down"),
        (RPCError("no", RPCStatusCode.CANCELLED, b""), "CANCELLED", "shop: no"),
        (RPCError(SDK_TIMEOUT_MESSAGE, RPCStatusCode.CANCELLED, b""), "DEADLINE_EXCEEDED", "shop: Timeout expired"),
        (RuntimeError("Failed client connect: refused"), "UNAVAILABLE", "shop: Failed client connect: refused"),
        (not_found(), "NOT_FOUND", "shop: workflow not found"),
        (DecodeError("invalid UTF-8"), "INTERNAL", "shop: invalid UTF-8"),
    ],
)
async def test_errors(error: Exception, code: str, message: str) -> None:
    """What the SDK raises becomes one line with its gRPC code, counted once; its own timeout is a deadline."""
    gateway = Gateway(FakeService(describe_namespace=error).client, "shop")
    with pytest.raises(TemporalRequestError, match=re.escape(f"{code}: {message}")) as caught:
        await gateway.call(DESCRIBE_NAMESPACE, REQUEST, limiter=unlimited(), about="shop: ")
    assert (caught.value.code, str(caught.value)) == (code, f"{code}: {message}")
    assert gateway.requests == {("DescribeNamespace", code): 1}


@pytest.mark.parametrize(
    ("error", "backs_off"),
    [
        (RPCError("slow down", RPCStatusCode.RESOURCE_EXHAUSTED, b""), True),
        (RPCError(SDK_TIMEOUT_MESSAGE, RPCStatusCode.CANCELLED, b""), True),
        (RuntimeError("Failed client connect: refused"), True),
        (RPCError("no", RPCStatusCode.PERMISSION_DENIED, b""), False),
    ],
)
async def test_overload(error: Exception, *, backs_off: bool) -> None:
    """An error that may mean overload makes the rate limiter back off; no other does."""
    gateway, limiter = Gateway(FakeService(describe_namespace=error).client, "shop"), unlimited()
    with pytest.raises(TemporalRequestError):
        await gateway.call(DESCRIBE_NAMESPACE, REQUEST, limiter=limiter)
    assert (limiter.backoff_remaining > 0) == backs_off


@pytest.mark.parametrize("error", [RuntimeError("no loop"), TimeoutError("own"), LedgerError("disk full")])
async def test_own_error(error: Exception) -> None:
    """An error of our own code during a request is no answer of Temporal: it is neither translated nor counted."""
    gateway, limiter = Gateway(FakeService().client, "shop"), unlimited()

    async def fail() -> None:
        async with gateway.request(DESCRIBE_NAMESPACE, limiter=limiter) as send:
            await send(REQUEST)
            raise error

    with pytest.raises(type(error), match=str(error)):
        await fail()
    assert (gateway.requests, limiter.backoff_remaining) == ({}, 0)


@pytest.mark.parametrize(("failures", "code"), [(1, "OK"), (2, "CANCELLED")])
async def test_unsent(failures: int, code: str) -> None:
    """A request that was not sent is sent again, once, and counted as one request."""

    async def unsent(_: v1.DescribeNamespaceRequest) -> v1.DescribeNamespaceResponse:
        if service.methods["describe_namespace"] <= failures:
            raise RPCError(UNSENT_MESSAGE, RPCStatusCode.CANCELLED, b"")
        return v1.DescribeNamespaceResponse()

    service = FakeService(describe_namespace=unsent)
    gateway = Gateway(service.client, "shop")
    with pytest.raises(TemporalRequestError) if code != "OK" else nullcontext():
        await gateway.call(DESCRIBE_NAMESPACE, REQUEST, limiter=None)
    assert (gateway.requests, service.methods["describe_namespace"]) == ({("DescribeNamespace", code): 1}, 2)


async def test_silent_server() -> None:
    """A server that accepts connections and never responds exceeds a deadline, though the SDK would wait forever."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        client = await Client.connect("{}:{}".format(*silent.getsockname()), lazy=True)
        gateway = Gateway(client, "shop", timeout=0.2)
        with pytest.raises(TemporalRequestError, match=r"shop: no response within 0\.2 s") as raised:
            await gateway.call(DESCRIBE_NAMESPACE, REQUEST, limiter=None, about="shop: ")
    assert raised.value.code == "DEADLINE_EXCEEDED"


async def test_handled_error() -> None:
    """An error that the caller takes for an answer is counted as OK, once with what was sent after it."""
    service = FakeService(describe_namespace=RPCError("slow down", RPCStatusCode.RESOURCE_EXHAUSTED, b""))
    gateway, limiter = Gateway(service.client, "shop"), unlimited()
    async with gateway.request(DESCRIBE_NAMESPACE, limiter=limiter) as send:
        for _ in range(2):
            with pytest.raises(RPCError, match="slow down"):
                await send(REQUEST)
    assert service.methods["describe_namespace"] == 2
    assert gateway.requests == {("DescribeNamespace", "OK"): 1}
    assert (limiter.requests, limiter.backoff_remaining) == (1, 0)


async def test_cancelled() -> None:
    """A request that is cancelled is not counted, and gives its place in the rate limiter back."""

    async def hang(_: v1.DescribeNamespaceRequest) -> v1.DescribeNamespaceResponse:
        await asyncio.Event().wait()
        return v1.DescribeNamespaceResponse()

    service = FakeService(describe_namespace=hang)
    gateway, limiter = Gateway(service.client, "shop"), unlimited()
    task = asyncio.create_task(gateway.call(DESCRIBE_NAMESPACE, REQUEST, limiter=limiter))
    for _ in range(9):
        await asyncio.sleep(0)
    assert limiter.requests == 1
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert gateway.requests == {}
    async with asyncio.timeout(5), limiter.slot():
        pass


async def test_connection_of_the_moment() -> None:
    """A request uses the connection that the client has then, not the one that it had first."""
    first, second = FakeService(), FakeService()
    client = first.client
    gateway = Gateway(client, "shop")
    await gateway.call(DESCRIBE_NAMESPACE, REQUEST, limiter=None)
    client.workflow_service = second  # type: ignore[misc,assignment] # a fake, in a property
    await gateway.call(DESCRIBE_NAMESPACE, REQUEST, limiter=None)
    assert (len(first.requests), len(second.requests)) == (1, 1)


async def test_bulk_yields() -> None:
    """Bulk requests wait until no other request of the rate limiter does."""
    service, limiter = FakeService(), unlimited()
    gateway = Gateway(service.client, "shop")
    steady = TemporalVisibility(gateway, limiter)
    lists = TemporalVisibility(gateway, limiter, bulk=True)
    events = TemporalCloseEvents(HistoryRequests(gateway, limiter, bulk=True))
    async with limiter.slot():
        waiting = [
            asyncio.create_task(made) for made in (lists.closed(7), lists.count(0, 1), events.close_event("w", "r"))
        ]
        await asyncio.sleep(0)
        waiting += [asyncio.create_task(made) for made in (steady.closed(1), steady.running(1), steady.count(0, 2))]
        await asyncio.sleep(0)
    await asyncio.gather(*waiting)
    assert [type(request) for request in service.requests] == [
        v1.ListWorkflowExecutionsRequest,
        v1.ListWorkflowExecutionsRequest,
        v1.CountWorkflowExecutionsRequest,
        v1.ListWorkflowExecutionsRequest,
        v1.CountWorkflowExecutionsRequest,
        v1.GetWorkflowExecutionHistoryRequest,
    ]
    assert service.requests[3].page_size == 7


async def test_log() -> None:
    """The log has the requests with a description, with rows and code, but none that are bulk."""
    log = RequestLog()
    page = v1.ListWorkflowExecutionsResponse(executions=[{}, {}])  # type: ignore[list-item]
    service = FakeService(list_workflow_executions=page)
    gateway, request = Gateway(service.client, "shop", log), v1.ListWorkflowExecutionsRequest()
    await gateway.call(LIST_WORKFLOWS, request, limiter=None, description="a page")
    await gateway.call(LIST_WORKFLOWS, request, limiter=None)
    await gateway.call(LIST_WORKFLOWS, request, limiter=None, bulk=True, description="a bulk page")
    service.answers["list_workflow_executions"] = RPCError("no", RPCStatusCode.UNAVAILABLE, b"")
    with pytest.raises(TemporalRequestError):
        await gateway.call(LIST_WORKFLOWS, request, limiter=None, description="another page")
    logged = [(entry.request, entry.code, entry.rows) for entry in log.requests]
    assert logged == [("a page", "OK", 2), ("another page", "UNAVAILABLE", None)]


async def test_log_of_waiting_requests() -> None:
    """The logged duration leaves out the wait for the rate limiter."""
    log, limiter = RequestLog(), unlimited()
    gateway = Gateway(FakeService().client, "shop", log)
    async with limiter.slot():
        call = gateway.call(DESCRIBE_NAMESPACE, REQUEST, limiter=limiter, description="a namespace")
        task = asyncio.create_task(call)
        await asyncio.get_running_loop().run_in_executor(None, lambda: [sum(range(10**6)) for _ in range(5)])
    await task
    assert limiter.waited_seconds > log.requests[0].seconds > 0


def test_not_found() -> None:
    """Only details tell a workflow that does not exist from a namespace that does not, or a proxy's error."""
    assert is_not_found(not_found())
    assert not is_not_found(RPCError("Namespace shop is not found.", RPCStatusCode.NOT_FOUND, b""))
    assert not is_not_found(RPCError("no", RPCStatusCode.UNAVAILABLE, b""))


async def _close_event(gateway: Gateway, limiter: RateLimiter) -> object:
    return await TemporalCloseEvents(HistoryRequests(gateway, limiter)).close_event("w", "r")


Call = Callable[[Gateway, RateLimiter, RateLimiter], Awaitable[object]]

CALLS: dict[str, Call] = {
    "ListWorkflowExecutions": lambda g, limiter, _: TemporalVisibility(g, limiter).closed(7),
    "CountWorkflowExecutions": lambda g, limiter, _: TemporalVisibility(g, limiter).count(0, 1),
    "GetWorkflowExecutionHistory": lambda g, limiter, _: _close_event(g, limiter),
    "DescribeWorkflowExecution": lambda g, limiter, _: TemporalPendingActivities(g, limiter).activities("w", "r"),
    "ListWorkers": lambda g, limiter, _: TemporalTaskQueues(g, limiter).worker_task_queues(),
    "DescribeTaskQueue": lambda g, limiter, _: TemporalTaskQueues(g, limiter).describe("rides", WORKFLOW),
    "DescribeNamespace": lambda g, limiter, _: TemporalTaskProblems(g, limiter).is_supported(),
    "ListSchedules": lambda g, limiter, other: TemporalSchedules(g, limiter, other).page(),
    "DescribeSchedule": lambda g, limiter, other: TemporalSchedules(g, other, limiter).describe("daily"),
}


OF_THE_SERVER = {"ListNamespaces", "GetClusterInfo"}
"""Calls about no namespace."""


@pytest.mark.parametrize("api", [rpc.name for rpc in RPCS if rpc.name not in OF_THE_SERVER])
async def test_adapters(api: str) -> None:
    """Each adapter sends its request about the gateway's namespace, within its rate limiter and no other."""
    service, limiter, other = FakeService(), unlimited(), unlimited()
    gateway = Gateway(service.client, "shop")
    await CALLS[api](gateway, limiter, other)
    assert gateway.requests == {(api, "OK"): 1}
    assert [request.namespace for request in service.requests] == ["shop"]
    assert (limiter.requests, other.requests) == (1, 0)


MISSING = {
    "GetWorkflowExecutionHistory": None,
    "DescribeWorkflowExecution": (),
    "DescribeSchedule": None,
}


@pytest.mark.parametrize("api", MISSING)
async def test_missing(api: str) -> None:
    """A run or schedule that does not exist is an answer, counted as OK; a namespace that does not is an error."""
    method = next(rpc.method for rpc in RPCS if rpc.name == api)
    service, limiter = FakeService(**{method: not_found()}), unlimited()
    gateway = Gateway(service.client, "shop")
    assert await CALLS[api](gateway, limiter, limiter) == MISSING[api]
    assert gateway.requests == {(api, "OK"): 1}
    service.answers[method] = RPCError("Namespace shop is not found.", RPCStatusCode.NOT_FOUND, b"")
    with pytest.raises(TemporalRequestError, match="NOT_FOUND"):
        await CALLS[api](gateway, limiter, limiter)
    assert gateway.requests[api, "NOT_FOUND"] == 1


async def test_server_without_list_of_workers() -> None:
    """A server that does not implement the list of workers has none, and the request is counted as OK."""
    service = FakeService(list_workers=RPCError("unknown method", RPCStatusCode.UNIMPLEMENTED, b""))
    gateway = Gateway(service.client, "shop")
    assert await TemporalTaskQueues(gateway, None).worker_task_queues() == frozenset()
    assert gateway.requests == {("ListWorkers", "OK"): 1}
    service.answers["list_workers"] = RPCError("no", RPCStatusCode.PERMISSION_DENIED, b"")
    with pytest.raises(TemporalRequestError, match="PERMISSION_DENIED"):
        await TemporalTaskQueues(gateway, None).worker_task_queues()


@pytest.mark.parametrize("read", [lambda h: TemporalCloseEvents(h).close_event, lambda h: TemporalStartEvents(h).start])
async def test_nul_in_a_workflow_id(read: Callable[[HistoryRequests], Callable[[str, str], Awaitable[object]]]) -> None:
    """An event not found by an id that may stand for one with a NUL is looked up by that: one counted request."""
    service = FakeService(get_workflow_execution_history=not_found())
    gateway, limiter = Gateway(service.client, "shop"), unlimited()
    assert await read(HistoryRequests(gateway, limiter))(f"a{NUL_SIGN}b", "r") is None
    assert [request.execution.workflow_id for request in service.requests] == [f"a{NUL_SIGN}b", "a\0b"]
    assert (gateway.requests, limiter.requests) == ({("GetWorkflowExecutionHistory", "OK"): 1}, 1)


async def test_namespaces() -> None:
    """Registered namespaces are listed page by page, and an error becomes one line with its gRPC code."""

    def page(request: v1.ListNamespacesRequest) -> v1.ListNamespacesResponse:
        response = v1.ListNamespacesResponse(next_page_token=b"" if request.next_page_token else b"on")
        for name, state in (("shop", 1), ("deleted", 3)):
            row = response.namespaces.add().namespace_info
            row.name, row.state = f"{name}{request.next_page_token.decode()}", state  # type: ignore[assignment]
        return response

    service = FakeService(list_namespaces=page)
    client = service.client
    assert await namespace_lister(client)() == ["shop", "shopon"]
    service.answers["list_namespaces"] = RuntimeError("refused")
    with pytest.raises(TemporalRequestError, match=r"^UNAVAILABLE: refused$"):
        await namespace_lister(client)()


ROOMS = ("temporal", "exporter", "check", "ledger")
SDK_REQUESTS = re.compile(r"^(workflow_service|operator_service|list_workflows|count_workflows|get_.*handle.*)$")


def sdk_requests() -> set[tuple[str, str]]:
    """Which modules use which part of the SDK that sends requests."""
    return {
        (path.relative_to(PACKAGE).as_posix(), node.attr)
        for room in ROOMS
        for path in (PACKAGE / room).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and SDK_REQUESTS.match(node.attr)
    }


def test_every_request_passes_the_gateway() -> None:
    """No module but the gateway sends requests: the connection passes them on, and one count is for demo and tests."""
    assert sdk_requests() == {
        ("temporal/gateway.py", "workflow_service"),
        ("temporal/connection.py", "workflow_service"),
        ("temporal/visibility.py", "count_workflows"),
    }
