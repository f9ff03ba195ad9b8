"""A local stack of everything that dashboards show, including the failures that they must show."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final

import httpx
from temporalio import activity, workflow
from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleIntervalSpec,
    ScheduleSpec,
)
from temporalio.common import RetryPolicy
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from temporal_slo.generate.artefacts import render
from temporal_slo.generate.command import links
from temporal_slo.generate.files import SUFFIX
from temporal_slo.interceptor import SLOPlugin, prometheus_runtime
from temporal_slo.reference.workflows.booking import TEMPORAL_NAMESPACE
from temporal_slo.servers.process import LOOPBACK, free_port
from temporal_slo.servers.process_group import ProcessGroup
from temporal_slo.servers.prometheus import Prometheus
from temporal_slo.servers.temporal import TemporalServer, ensure_namespace
from temporal_slo.spec.load import load

from .rendered import ROOT

SPECS: Final = ROOT / "deploy" / "slos"
TRIGGER: Final = "system.numConsecutiveWorkflowTaskProblemsToTriggerSearchAttribute=1"
QUEUE: Final = "failing"
MIX: Final = (
    "booking.confirmed=60,booking.declined=8,booking.cancelled_by_user=5,booking.canceled=4,booking.terminated=3,"
    "booking.timed_out=10,booking.failed=10"
)
SOURCES: Final = "task_queues=2s,task_problems=2s,schedules=2s,retry_storms=2s,calendar=2s"
FAST_RETRIES: Final = RetryPolicy(initial_interval=timedelta(milliseconds=20), backoff_coefficient=1)
RULES_INTERVAL: Final = "2s"


@workflow.defn
class BuggyWorkflow:
    """Raises an exception that fails the workflow task instead of the workflow."""

    @workflow.run
    async def run(self) -> None:
        """Fail the workflow task."""
        raise RuntimeError("a bug")


@workflow.defn
class RetryStormWorkflow:
    """Runs an activity that is retried forever."""

    @workflow.run
    async def run(self) -> None:
        """Await the activity."""
        await workflow.execute_activity(
            unavailable, start_to_close_timeout=timedelta(hours=1), retry_policy=FAST_RETRIES
        )


@workflow.defn
class ManyStepsWorkflow:
    """Takes many steps, so that it is evicted from a small sticky cache and replayed."""

    @workflow.run
    async def run(self) -> None:
        """Sleep a hundred times."""
        for _ in range(100):
            await workflow.sleep(1)


@activity.defn
async def unavailable() -> None:
    """Fail."""
    raise ApplicationError("the service is unavailable", type="Unavailable")


@dataclass
class LiveStack:
    """The running stack.

    Attributes:
        prometheus: Scrapes all processes.
        processes: Supervises them.
    """

    prometheus: Prometheus
    processes: ProcessGroup


@asynccontextmanager
async def live_stack(folder: Path, program: Path) -> AsyncIterator[LiveStack]:
    """Run Temporal, exporter, workers, load, failing workflows, and Prometheus with the reference rules."""
    with ProcessGroup(folder) as processes:
        server = TemporalServer(folder, options=["--headless", "--dynamic-config-value", TRIGGER])
        processes.add(server.child)
        client = await server.ready()
        await ensure_namespace(client, TEMPORAL_NAMESPACE)
        exporter, worker, failing, services = (f"{LOOPBACK}:{free_port()}" for _ in range(4))
        where = ("--temporal-address", server.address, "--temporal-namespace", TEMPORAL_NAMESPACE)
        spec = ("--spec", str(SPECS))
        ledger = ("--ledger", f"sqlite:///{folder / 'ledger.db'}", "--poll-interval", "500ms")
        processes.start_command(
            "exporter", "exporter", *where, "--listen", exporter, *ledger, "--sources", SOURCES, *spec
        )
        # Runs closed before the exporter is ready would be found only by an audit, half an hour later.
        await processes.wait_until(lambda: responds(exporter, "/readyz"), deadline=60, part="exporter", what="ready")
        targets = {"temporal-slo": exporter, "bookings": worker, "failing": failing, "temporal": server.metrics}
        prometheus = Prometheus(program, folder, targets, rules=write_rules(folder))
        processes.add(prometheus.child)
        await prometheus.ready()
        books, services_url = str(folder / "books.db"), ("--services", f"http://{services}")
        processes.start_command("services", "services", "--listen", services, "--books", books)
        await processes.wait_until(lambda: responds(services, "/healthz"), deadline=60, part="services", what="healthy")
        processes.start_command("worker", "worker", *where, *services_url, "--metrics-listen", worker, *spec)
        pace = ("--rate", "6", "--mix", MIX, "--execution-timeout", "20s")
        processes.start_command("load", "load", *where, *services_url, *pace)
        async with failing_workflows(server.address, failing):
            yield LiveStack(prometheus, processes)
        await prometheus.close()


async def responds(server: str, path: str) -> bool:
    """Whether *server* responds with success."""
    async with httpx.AsyncClient() as http:
        try:
            return (await http.get(f"http://{server}{path}")).is_success
        except httpx.TransportError:
            return False


def write_rules(folder: Path) -> list[Path]:
    """Write the rules of the reference specs with a short evaluation interval, and return the files."""
    files = render(load([SPECS]), links(None, None, None))
    written = []
    for name, text in files.items():
        if name.endswith(SUFFIX):
            (folder / name).write_text(text.replace("interval: 30s", f"interval: {RULES_INTERVAL}"))
            written.append(folder / name)
    return written


@asynccontextmanager
async def failing_workflows(address: str, metrics: str) -> AsyncIterator[None]:
    """Run a worker whose workflows fail, with too small a sticky cache, and create a schedule without pollers."""
    for name in ("temporalio.activity", "temporalio.workflow", "temporalio.worker"):
        # The failures are intended; each would log a traceback.
        logging.getLogger(name).setLevel(logging.CRITICAL)
    runtime = prometheus_runtime(bind_address=metrics)
    client = await Client.connect(address, namespace=TEMPORAL_NAMESPACE, runtime=runtime, plugins=[SLOPlugin()])
    action = ScheduleActionStartWorkflow("Nobody", id="scheduled", task_queue="without-pollers")
    intervals = ScheduleSpec(intervals=[ScheduleIntervalSpec(every=timedelta(seconds=5))])
    await client.create_schedule("nightly", Schedule(action=action, spec=intervals))
    with suppress(RPCError):
        await client.get_workflow_handle("nobody").describe()
    worker = Worker(
        client,
        task_queue=QUEUE,
        workflows=[BuggyWorkflow, RetryStormWorkflow, ManyStepsWorkflow],
        activities=[unavailable],
        workflow_runner=UnsandboxedWorkflowRunner(),
        max_cached_workflows=2,
        graceful_shutdown_timeout=timedelta(0),
    )
    async with worker:
        starts = [BuggyWorkflow, RetryStormWorkflow, *[ManyStepsWorkflow] * 6]
        await asyncio.gather(
            *(
                client.start_workflow(workflow_class.__name__, id=f"failing-{number}", task_queue=QUEUE)
                for number, workflow_class in enumerate(starts)
            )
        )
        yield
