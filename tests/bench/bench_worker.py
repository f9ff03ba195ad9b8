"""CPU cost of the worker library: `python -m tests.bench.bench_worker [rounds] [workflows]`."""

import asyncio
import functools
import os
import random
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from temporalio.client import Client
from temporalio.contrib.opentelemetry import OpenTelemetryPlugin, TracingInterceptor, create_tracer_provider
from temporalio.worker import Worker

from temporal_slo.interceptor import Objective, SLOPlugin, _activity, _host, _workflow, prometheus_runtime
from temporal_slo.interceptor._run import WorkflowRun
from temporal_slo.interceptor._watched import WatchedRun
from temporal_slo.servers.process import LOOPBACK, free_port, until
from temporal_slo.servers.temporal import TemporalServer

from .drained import Drained, step

CONTROL: Final = "nothing"
CONTROL_AGAIN: Final = "nothing again"
OURS: Final = "SLOPlugin"
TRACING: Final = "TracingInterceptor"
OTEL: Final = "OpenTelemetryPlugin"
DEFAULTS: Final = ["12", "150"]
CONFIGS: Final = (CONTROL, CONTROL_AGAIN, OURS, TRACING, OTEL)

HOOKS: Final[Sequence[tuple[type, str]]] = (
    (WatchedRun, "before"),
    (WatchedRun, "after"),
    (WorkflowRun, "returned"),
    (_host.Host, "watched_run"),
    (_workflow.WorkflowInbound, "init"),
    (_activity.ActivityInbound, "_count_start"),
    (_activity.ActivityInbound, "_count_end"),
)
"""All of our code that runs for a workflow with activities."""


class NoExporter(SpanExporter):
    """Discards spans."""

    def export(self, spans: Sequence[object]) -> SpanExportResult:
        """See base class."""
        del spans
        return SpanExportResult.SUCCESS


@dataclass
class Costs:
    """CPU milliseconds of the worker process per workflow.

    Attributes:
        rounds: One value per round, by configuration; ours includes the timers in its hooks.
        hooks: Time in our hooks, one value per round.
    """

    rounds: dict[str, list[float]] = field(default_factory=lambda: {config: [] for config in CONFIGS})
    hooks: list[float] = field(default_factory=list)

    def baseline(self) -> list[float]:
        """Return the cost without plugins by round, the mean of its two measurements."""
        return [(a + b) / 2 for a, b in zip(self.rounds[CONTROL], self.rounds[CONTROL_AGAIN], strict=True)]

    def ratios(self, config: str) -> list[float]:
        """Return the ratio to the cost without plugins, by round."""
        return [cost / base for base, cost in zip(self.baseline(), self.rounds[config], strict=True)]

    def added(self, config: str) -> float:
        """Return the milliseconds that a configuration adds per workflow, median of the rounds."""
        pairs = zip(self.baseline(), self.rounds[config], strict=True)
        return statistics.median(cost - base for base, cost in pairs)

    def share(self) -> float:
        """Return the time in our hooks, as a share of a workflow without them."""
        return statistics.median(own / base for base, own in zip(self.baseline(), self.hooks, strict=True))

    def table(self) -> str:
        """Return the results as a table."""
        lines = [f"{'configuration':<22}{'ms/workflow':>12}{'added ms':>10}{'ratio':>8}{'min':>7}{'max':>7}"]
        for config, values in self.rounds.items():
            ratios = self.ratios(config)
            lines.append(
                f"{config:<22}{statistics.median(values):>12.2f}{self.added(config):>10.2f}"
                f"{statistics.median(ratios):>8.3f}{min(ratios):>7.3f}{max(ratios):>7.3f}"
            )
        own, tracing = statistics.median(self.hooks), self.added(TRACING)
        lines.append(f"in our hooks, by timers: {own:.3f} ms/workflow, {self.share():.1%} of a workflow without them")
        lines.append(
            f"added over {TRACING}'s {tracing:.2f} ms: {own / tracing:.2f} by timers,"
            f" {self.added(OURS) / tracing:.2f} by pairs"
        )
        return "\n".join(lines)


def extensions(config: str) -> tuple[list[Any], list[Any]]:
    """Return the plugins and interceptors of a configuration."""
    if config == OURS:
        return [SLOPlugin(objectives=[Objective(slo="fast", workflow="Drained", threshold=timedelta(seconds=9))])], []
    if config == TRACING:
        provider = TracerProvider()
        provider.add_span_processor(BatchSpanProcessor(NoExporter()))
        return [], [TracingInterceptor(tracer=provider.get_tracer("bench"), always_create_workflow_spans=True)]
    return ([OpenTelemetryPlugin(add_temporal_spans=True)], []) if config == OTEL else ([], [])


@contextmanager
def timed() -> Iterator[list[float]]:
    """Time our hooks with the CPU clock of their thread; yield the list of seconds."""
    spent: list[float] = []
    originals = [(owner, name, getattr(owner, name)) for owner, name in HOOKS]

    def timing(hook: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(hook)
        def call(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 any hook
            started = time.thread_time()
            try:
                return hook(*args, **kwargs)
            finally:
                spent.append(time.thread_time() - started)

        return call

    for owner, name, hook in originals:
        setattr(owner, name, timing(hook))
    try:
        yield spent
    finally:
        for owner, name, hook in originals:
            setattr(owner, name, hook)


async def drain(starter: Client, client: Client, workflows: int) -> float:
    """Start workflows, then run a worker until all completed; return its CPU milliseconds per workflow."""
    queue = f"bench-{uuid.uuid4().hex[:8]}"
    start = functools.partial(starter.start_workflow, Drained.run, task_queue=queue)
    for first in range(0, workflows, 20):
        await asyncio.gather(*(start(id=f"{queue}-{i}") for i in range(first, min(first + 20, workflows))))

    async def done() -> bool:
        return (
            await starter.count_workflows(f"TaskQueue='{queue}' AND ExecutionStatus='Completed'")
        ).count >= workflows

    worker = Worker(client, task_queue=queue, workflows=[Drained], activities=[step])
    before = time.process_time()
    async with worker:
        await until(done, deadline=120, what="all workflows")
        took = time.process_time() - before
    return took * 1000 / workflows


async def measure(address: str, rounds: int, workflows: int) -> Costs:
    """Run every configuration in every round, in random order."""
    trace.set_tracer_provider(create_tracer_provider())  # required once per process by OpenTelemetryPlugin
    runtime = prometheus_runtime(bind_address=f"{LOOPBACK}:{free_port()}")
    starter = await Client.connect(address, runtime=runtime)
    clients = {}
    for config in CONFIGS:
        plugins, interceptors = extensions(config)
        clients[config] = await Client.connect(address, runtime=runtime, plugins=plugins, interceptors=interceptors)
    costs = Costs()
    await drain(starter, clients[CONTROL], workflows)  # warm-up: loads modules
    for number in range(rounds):
        for config in random.Random(number).sample(CONFIGS, len(CONFIGS)):  # noqa: S311 an order, no secret
            with timed() as spent:
                costs.rounds[config].append(await drain(starter, clients[config], workflows))
            if config == OURS:
                costs.hooks.append(sum(spent) * 1000 / workflows)
    return costs


async def main(rounds: int, workflows: int) -> None:
    """Print the table; the worker is pinned to one processor, the server to another."""
    cpus = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cpus[0]})  # children inherit it
    with tempfile.TemporaryDirectory() as folder:
        server = TemporalServer(Path(folder), options=["--headless", "--namespace", "default"])
        try:
            await server.ready()
            os.sched_setaffinity(0, {cpus[-1]})
            print((await measure(server.address, rounds, workflows)).table())
        finally:
            server.child.stop()


if __name__ == "__main__":
    asyncio.run(main(*map(int, (sys.argv[1:] + DEFAULTS[len(sys.argv) - 1 :])[:2])))
    sys.stdout.flush()
    os._exit(0)
