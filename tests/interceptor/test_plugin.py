"""Every combination of plugin, interceptor and other plugins counts each end once."""

import importlib.metadata
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from opentelemetry import trace
from temporalio.contrib.opentelemetry import OpenTelemetryPlugin, create_tracer_provider
from temporalio.plugin import SimplePlugin
from temporalio.worker import UnsandboxedWorkflowRunner, WorkerConfig
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner

import temporal_slo.interceptor
from temporal_slo import names
from temporal_slo.interceptor import SLOInterceptor, SLOPlugin, _protocol

from . import cases
from .conftest import Connect
from .drive import Drive, case_worker
from .metrics import Labels, Metrics

ENDS = {
    ("CardFails", "no", "failed", "none", "CardDeclined"): 1,
    ("Bug", "no", "completed", "none", "none"): 1,
    ("SignalFails", "no", "failed", "none", "BadSignal"): 1,
    ("Continues", "no", "continued_as_new", "none", "none"): 1,
}
USED = [cases.CardFails, cases.Bug, cases.SignalFails, cases.Continues]
ATTEMPTS = {("CardFails", "fail", "failed", "CardDeclined"): 1}
TASK_FAILURES = {("Bug", "ValueError"): 1}


def otel() -> OpenTelemetryPlugin:
    """Return the SDK's own tracing plugin."""
    return OpenTelemetryPlugin(add_temporal_spans=True)


def nothing(_: Metrics) -> list[Any]:
    """Return no plugins or interceptors."""
    return []


Make = Callable[[Metrics], Sequence[Any]]
PLUGIN: Make = lambda _: [SLOPlugin()]  # noqa: E731 a value of the table below
INTERCEPTOR: Make = lambda metrics: [SLOInterceptor(runtime=metrics.runtime)]  # noqa: E731

COMBINATIONS: dict[str, tuple[Make, Make, Make, Make]] = {
    "client": (PLUGIN, nothing, nothing, nothing),
    "worker": (nothing, nothing, PLUGIN, nothing),
    "both": (PLUGIN, nothing, PLUGIN, nothing),
    "interceptor on client": (nothing, INTERCEPTOR, nothing, nothing),
    "interceptor on worker": (nothing, nothing, nothing, INTERCEPTOR),
    "interceptor on both": (nothing, INTERCEPTOR, nothing, INTERCEPTOR),
    "plugin and interceptor": (PLUGIN, nothing, nothing, INTERCEPTOR),
    "interceptor and plugin": (nothing, INTERCEPTOR, PLUGIN, nothing),
    "before tracing": (lambda _: [SLOPlugin(), otel()], nothing, nothing, nothing),
    "after tracing": (lambda _: [otel(), SLOPlugin()], nothing, nothing, nothing),
    "worker, tracing on client": (lambda _: [otel()], nothing, PLUGIN, nothing),
}
"""Makers of the client's plugins and interceptors, and of the worker's plugins and interceptors."""


@pytest.fixture(scope="session", autouse=True)
def _tracer() -> None:
    trace.set_tracer_provider(create_tracer_provider())


async def drive_all(drive: Drive) -> None:
    """Run the workflows of `ENDS`."""
    await drive.start(cases.CardFails)
    await drive.start(cases.Bug)
    await drive.start(cases.Continues, 1)
    await (await drive.start(cases.SignalFails)).signal("poke")
    await drive.wait(follow_runs=False)


def ends_of_first_runs(metrics: Metrics, queue: str) -> dict[Labels, int]:
    """Return the ends without that of the continued run, which starts a second later, maybe after the worker's stop."""
    later = ("Continues", "no", "completed", "none", "none")
    return {labels: count for labels, count in metrics.ends(queue).items() if labels != later}


@pytest.mark.parametrize("way", COMBINATIONS)
async def test_counts_once(connect: Connect, metrics: Metrics, queue: str, way: str) -> None:
    """On client, worker or both, as plugin or interceptor, before or after tracing: each end counts once."""
    client_plugins, client_interceptors, plugins, interceptors = (make(metrics) for make in COMBINATIONS[way])
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The same plugin type")
        client = await connect(*client_plugins, interceptors=client_interceptors)
        worker = case_worker(client, queue, workflows=USED, plugins=plugins, interceptors=interceptors)
    async with worker:
        await drive_all(Drive(client, queue))
    assert ends_of_first_runs(metrics, queue) == ENDS
    assert metrics.counts(names.ACTIVITY_ATTEMPTS, queue) == ATTEMPTS
    assert metrics.counts(names.WORKFLOW_TASK_FAILURES, queue) == TASK_FAILURES
    ends = {("CardFails", "fail", "failed", "CardDeclined"): 1}
    assert metrics.counts(names.ACTIVITY_ENDS, queue) == ({} if way.startswith("interceptor on") else ends)


async def test_without_sandbox(connect: Connect, metrics: Metrics, queue: str) -> None:
    """A worker without a sandbox counts the same."""
    client = await connect(SLOPlugin())
    async with case_worker(client, queue, workflows=USED, workflow_runner=UnsandboxedWorkflowRunner()):
        await drive_all(Drive(client, queue))
    assert ends_of_first_runs(metrics, queue) == ENDS


class TeamRunner(SandboxedWorkflowRunner):
    """A user's own subclass of the runner."""

    def greeting(self) -> str:
        """A method that only this class has."""
        return "hello"


async def test_runner_keeps_its_class(connect: Connect, queue: str) -> None:
    """Other plugins still see the user's runner: its class, its fields and its methods."""
    client = await connect(SLOPlugin(), otel())
    worker = case_worker(client, queue, workflows=USED, workflow_runner=TeamRunner())
    runner = worker.config(active_config=True)["workflow_runner"]
    assert isinstance(runner, TeamRunner)
    assert runner.greeting() == "hello"
    assert {"opentelemetry", "temporal_slo.interceptor"} <= runner.restrictions.passthrough_modules
    assert type(runner).create_instance is not SandboxedWorkflowRunner.create_instance


async def test_unknown_protocol_falls_back(
    connect: Connect, metrics: Metrics, queue: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """With an SDK of another protocol ends are counted replay-safe; a log line and a metric report it."""
    monkeypatch.setattr(_protocol, "EXECUTION_ENDING", 11)
    client = await connect(SLOPlugin())
    async with case_worker(client, queue, workflows=USED):
        await drive_all(Drive(client, queue))
    assert ends_of_first_runs(metrics, queue) == ENDS
    (info,) = metrics.counts(names.WORKER_INFO, queue)
    assert info[:2] == ("replay_safe", "protocol")
    (logged,) = [record.message for record in caplog.records if "replay-safe" in record.message]
    assert logged.startswith(f"workflow ends on task queue {queue} are counted replay-safe, not exactly (protocol):")


class Replaces(SimplePlugin):
    """A plugin that replaces the runner."""

    def configure_worker(self, config: WorkerConfig) -> WorkerConfig:
        """Replace the runner."""
        config = super().configure_worker(config)
        config["workflow_runner"] = TeamRunner()
        return config


async def test_replaced_runner_is_reported(
    connect: Connect, metrics: Metrics, queue: str, caplog: pytest.LogCaptureFixture
) -> None:
    """If a later plugin replaces the runner, ends are counted replay-safe; a log line and a metric report it."""
    client = await connect(SLOPlugin(), Replaces("replaces"))
    async with case_worker(client, queue, workflows=[cases.CardFails]):
        drive = Drive(client, queue)
        await drive.start(cases.CardFails)
        await drive.wait()
    assert metrics.closed(queue) == {("CardFails", "failed"): 1}
    (info,) = metrics.counts(names.WORKER_INFO, queue)
    assert info[:2] == ("replay_safe", "runner")
    assert [r.message for r in caplog.records if "replay-safe" in r.message and "(runner)" in r.message]


async def test_vendored_code_counts(
    connect: Connect, metrics: Metrics, queue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the package's metadata only the version is unknown."""

    def missing(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", missing)
    client = await connect(SLOPlugin())
    async with case_worker(client, queue, workflows=[cases.CardFails]):
        drive = Drive(client, queue)
        await drive.start(cases.CardFails)
        await drive.wait()
    assert list(metrics.counts(names.WORKER_INFO, queue)) == [("exact", "none", "unknown")]


def test_public_names() -> None:
    """`__all__` is sorted and lists every public name."""
    public = {name for name in vars(temporal_slo.interceptor) if not name.startswith("_")}
    assert sorted(public) == temporal_slo.interceptor.__all__ == sorted(temporal_slo.interceptor.__all__)
