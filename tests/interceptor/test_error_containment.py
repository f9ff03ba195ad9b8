"""The library's own code raises, hook by hook; workflows and activities are not affected."""

import asyncio
from typing import NoReturn

import pytest
from temporalio.client import Client, WorkflowContinuedAsNewError
from temporalio.worker import ExecuteWorkflowInput, WorkflowInboundInterceptor

from temporal_slo import names
from temporal_slo.interceptor import SLOInterceptor, SLOPlugin, _activity, _host, _run, _watched, _workflow
from temporal_slo.interceptor._recorder import Recorder
from temporal_slo.interceptor._run import InterceptedRun, WorkflowRun
from temporal_slo.interceptor._watched import WatchedRun

from . import cases
from .conftest import Connect
from .drive import Drive, Handle, case_worker
from .metrics import Metrics

USED = [cases.Classified, cases.CardFails, cases.Continues, cases.SignalFails]

PLUGIN_FAULTS: list[tuple[object, str, set[str]]] = [
    (WatchedRun, "__init__", {"start"}),
    (_run, "chain_start", {"start"}),
    (WatchedRun, "_evicted", {"activation"}),
    (WatchedRun, "_resolved", {"completion"}),
    (WatchedRun, "_end_of", {"completion"}),
    (_watched, "failure_type", {"completion"}),
    (WorkflowRun, "count_end", {"count"}),
    (_watched, "call_outcome_function", {"outcome"}),
    (_workflow, "pass_on_start", {"continue_as_new"}),
    (_activity, "_labels", {"activity_start", "activity_end"}),
    (Recorder, "info", {"configure"}),
    (Recorder, "observe", {"activity_start", "count"}),
    (Recorder, "count", set()),  # the counting of errors fails itself
    (Recorder, "error", set()),
]
INTERCEPTOR_FAULTS: list[tuple[object, str, set[str]]] = [
    (InterceptedRun, "__init__", {"start"}),
    (InterceptedRun, "_is_ignored", {"end"}),
    (InterceptedRun, "_end", {"end"}),
    (_workflow, "pass_on_start", {"continue_as_new"}),
    (_host.Host, "recorder", set()),
]


def broken(*_: object, **__: object) -> NoReturn:
    """Raise, as a bug in the library would."""
    raise RuntimeError("customer 4711")


async def results(client: Client, task_queue: str) -> list[object]:
    """Run workflows; return the result or the error of each, and the events of its history."""
    drive = Drive(client, task_queue)
    async with case_worker(client, task_queue, workflows=USED):
        await drive.start(cases.Classified, "OK")
        await drive.start(cases.CardFails)
        await drive.start(cases.Continues, 1)
        await drive.start(cases.SignalFails, start_signal="poke")
        await drive.wait(follow_runs=False)
    return [await outcome(client, handle) for handle in drive.handles]


async def outcome(client: Client, handle: Handle) -> tuple[object, list[str | None]]:
    """Return the result or the error of a workflow's first run, and the events of its history."""
    result = (await asyncio.gather(handle.result(follow_runs=False), return_exceptions=True))[0]
    shown = type(result) if isinstance(result, WorkflowContinuedAsNewError) else repr(getattr(result, "cause", result))
    first = client.get_workflow_handle(handle.id, run_id=handle.first_execution_run_id)
    return shown, [event.WhichOneof("attributes") for event in (await first.fetch_history()).events]


@pytest.fixture(scope="module")
async def expected(plain: Client) -> list[object]:
    """Results and histories of the workflows without the library."""
    return await results(plain, "without-the-library")


@pytest.mark.parametrize(
    ("owner", "name", "hooks"), PLUGIN_FAULTS, ids=[f"{fault[1]}-{index}" for index, fault in enumerate(PLUGIN_FAULTS)]
)
async def test_plugin_errors_are_contained(
    *,
    connect: Connect,
    metrics: Metrics,
    queue: str,
    expected: list[object],
    monkeypatch: pytest.MonkeyPatch,
    owner: object,
    name: str,
    hooks: set[str],
) -> None:
    """Whichever part of the plugin raises, workflows and activities end as without it, and the error is counted."""
    before = metrics.counts(names.WORKER_ERRORS)
    monkeypatch.setattr(owner, name, broken)
    client = await connect(SLOPlugin(outcomes={"Classified": lambda _: "good"}))
    assert await results(client, queue) == expected
    after = metrics.counts(names.WORKER_ERRORS)
    assert {key[0] for key in after if after[key] != before.get(key, 0)} == hooks


@pytest.mark.parametrize(
    ("owner", "name", "hooks"), INTERCEPTOR_FAULTS, ids=[f"{fault[1]}" for fault in INTERCEPTOR_FAULTS]
)
async def test_interceptor_errors_are_contained(
    *,
    connect: Connect,
    metrics: Metrics,
    queue: str,
    expected: list[object],
    monkeypatch: pytest.MonkeyPatch,
    owner: object,
    name: str,
    hooks: set[str],
) -> None:
    """Whichever part of the interceptor raises, workflows end as without it, and the error is counted."""
    before = metrics.counts(names.WORKER_ERRORS)
    monkeypatch.setattr(owner, name, broken)
    client = await connect(interceptors=[SLOInterceptor(runtime=metrics.runtime)])
    assert await results(client, queue) == expected
    after = metrics.counts(names.WORKER_ERRORS)
    assert {key[0] for key in after if after[key] != before.get(key, 0)} == hooks


class Endless(WorkflowInboundInterceptor):
    """The last interceptor of a chain, whose workflow never ends."""

    def __init__(self) -> None:
        """Have no next interceptor."""

    async def execute_workflow(self, input: ExecuteWorkflowInput) -> None:  # noqa: A002, ARG002 the SDK's
        """Wait forever."""
        await asyncio.Future()


async def test_garbage_collected_instance_is_silent(metrics: Metrics, caplog: pytest.LogCaptureFixture) -> None:
    """A run whose coroutine is closed outside any workflow counts nothing and is no error."""
    before = metrics.counts(names.WORKER_ERRORS), metrics.counts(names.WORKFLOW_ENDS)
    inbound = _workflow.WorkflowInbound(Endless())
    inbound._run = object.__new__(InterceptedRun)  # noqa: SLF001 as init would leave it
    running = inbound.execute_workflow(ExecuteWorkflowInput(type=object, run_fn=broken, args=(), headers={}))
    running.send(None)
    running.close()
    assert (metrics.counts(names.WORKER_ERRORS), metrics.counts(names.WORKFLOW_ENDS)) == before
    assert not caplog.records
