"""The parts of the demo, started one after the other."""

from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Final
from urllib.parse import quote

import httpx
from temporalio.client import Client

from temporal_slo import names
from temporal_slo.demo.alerting import Chaos, Outage, generated, outage
from temporal_slo.demo.application import DEMO_KEY, Application, start_application
from temporal_slo.errors import UsageError
from temporal_slo.generate.files import ALERTMANAGER, SUFFIX
from temporal_slo.reference.workflows.booking import TEMPORAL_NAMESPACE
from temporal_slo.servers.alertmanager import Alertmanager, Webhook
from temporal_slo.servers.process import LOOPBACK, Child, free_port
from temporal_slo.servers.process_group import ProcessGroup
from temporal_slo.servers.prometheus import Prometheus
from temporal_slo.servers.temporal import TemporalServer, ensure_namespace, try_connect
from temporal_slo.temporal.visibility import count_closed

Print = Callable[[str], None]

TEMPORAL_PORT: Final = 7233
EXPORTER_PORT: Final = 9464
PROMETHEUS_PORT: Final = 9090
SERVER_INTERVAL: Final = "5s"
"""Scrape interval of the Temporal server, which has many metrics."""
ALERTMANAGER_PORT: Final = 9093
START_DEADLINE: Final = 60.0
POLL_INTERVAL: Final = "2s"
# Short, so that a stuck bus times out within a demo.
EXECUTION_TIMEOUT: Final = "20s"
# More failures than in production, so that every status appears within a minute.
MIX: Final = (
    "booking.confirmed=50,booking.declined=6,booking.cancelled_by_user=4,booking.canceled=3,booking.terminated=3,"
    "booking.timed_out=4,booking.failed=3,topup.credited=10,topup.paid_twice=1,topup.approved=2,topup.rejected=1,"
    "topup.declined=2,topup.expired=1,topup.failed=2,bus.arrived=6,bus.stuck=2"
)
HEALTHY_MIX: Final = "booking.confirmed=82,booking.cancelled_by_user=4,topup.credited=11,bus.arrived=3"
"""Mix during an outage: nothing else consumes an error budget."""

WORKFLOWS: Final = ("BookRideWorkflow", "WalletTopUpWorkflow", "BusServiceWorkflow", "OpenManifestsWorkflow")
"""The workflow types of the reference application."""

BY_STATUS: Final = f"sum by ({names.WORKFLOW_TYPE}, {names.STATUS}) ({names.WORKFLOWS_CLOSED.sample})"


@dataclass(frozen=True, slots=True)
class DemoSettings:
    """What `temporal-slo demo` runs with.

    Attributes:
        duration: How long it runs once everything is up; None until interrupted.
        temporal_address: A running server; None to start one.
        rate: Workflows started per second.
        tools: Folder of downloaded programs.
        specs: Folder of SLO specs, used if it exists.
        chaos: Fault that causes a page after a while; None for none.
        paystack_key: Secret key of Paystack's webhooks.
    """

    duration: timedelta | None
    temporal_address: str | None
    rate: float
    tools: Path
    specs: Path
    chaos: Chaos | None = None
    paystack_key: str = field(default=DEMO_KEY, repr=False)

    def __post_init__(self) -> None:
        """Refuse a fault without SLO specs: nothing would page."""
        if self.chaos and not self.specs.is_dir():
            raise UsageError("--chaos", f"no specs in {self.specs}", "run it in the project's folder")


Closed = Counter[tuple[str, str]]
"""Numbers of closed runs, by workflow type and status."""


@dataclass(frozen=True, slots=True)
class Parts:
    """The running parts of the demo.

    Attributes:
        closed_before: Runs that had closed before the exporter started, by workflow type and status.
        outage: The planned outage, if any.
    """

    temporal: Client
    exporter: str
    prometheus: Prometheus
    load: Child
    closed_before: Closed
    outage: Outage | None


async def start(
    settings: DemoSettings,
    processes: ProcessGroup,
    programs: Mapping[str, Path],
    webhook: Webhook | None,
    output: Print,
) -> Parts:
    """Start all parts, and return once workflows start.

    Args:
        settings: What to start.
        processes: Owns the processes.
        programs: Prometheus and Alertmanager, by name.
        webhook: Receives the pages; None without Alertmanager.
        output: Prints a line for each part.

    Raises:
        PartError: A part is not healthy.
    """
    temporal = await _temporal(settings, processes, output)
    where = ("--temporal-address", temporal.address, "--temporal-namespace", TEMPORAL_NAMESPACE)
    closed_before = await closed_in(temporal.client)
    spec = ("--spec", str(settings.specs)) if settings.specs.is_dir() else ()
    exporter = await _exporter(processes, (*where, *spec), output)
    application = await start_application(processes, where, spec, settings.paystack_key, output)
    made = generated(settings.specs, processes.folder, temporal.web, webhook) if spec else None
    alertmanager = await _alertmanager(processes, programs["alertmanager"], made, output) if made and webhook else None
    targets = {"temporal-slo": exporter, **application.workers}
    server = Prometheus(
        programs["prometheus"],
        processes.folder,
        {**targets, **({"temporal": temporal.metrics} if temporal.metrics else {})},
        PROMETHEUS_PORT,
        intervals={"temporal": SERVER_INTERVAL},
        rules=[made / f"*{SUFFIX}"] if made else (),
        alertmanager=alertmanager,
    )
    processes.add(server.child)
    await server.ready()
    output(f"  Prometheus  {server.url}/api/v1/query?query={quote(BY_STATUS)}")
    planned = None
    if settings.chaos and webhook:
        planned = outage(settings.chaos, settings.specs, application.services, webhook)
    load = _load(processes, (*where, "--rate", str(settings.rate)), application, HEALTHY_MIX if planned else MIX)
    return Parts(temporal.client, exporter, server, load, closed_before, planned)


def _load(processes: ProcessGroup, options: tuple[str, ...], application: Application, mix: str) -> Child:
    urls = ("--services", application.services, "--api", application.api)
    return processes.start_command(
        "load", "load", *options, *urls, "--mix", mix, "--execution-timeout", EXECUTION_TIMEOUT
    )


async def closed_in(client: Client, types: Collection[str] = WORKFLOWS) -> Closed:
    """Return the server's count of closed runs by workflow type and status."""
    counts = {workflow_type: await count_closed(client, workflow_type) for workflow_type in types}
    return Counter({(of, status): count for of, by in counts.items() for status, count in by.items()})


async def _exporter(processes: ProcessGroup, watching: tuple[str, ...], output: Print) -> str:
    exporter = f"{LOOPBACK}:{free_port(EXPORTER_PORT)}"
    options = ("--poll-interval", POLL_INTERVAL, "--ledger", f"sqlite:///{processes.folder / 'ledger.db'}")
    processes.start_command("exporter", "exporter", *watching, "--listen", exporter, *options)
    await processes.wait_until(lambda: _ready(exporter), deadline=START_DEADLINE, part="exporter", what="ready")
    output(f"  exporter    http://{exporter}/metrics")
    return exporter


async def _alertmanager(processes: ProcessGroup, program: Path, made: Path, output: Print) -> str:
    server = Alertmanager(program, processes.folder, made / ALERTMANAGER, ALERTMANAGER_PORT)
    processes.add(server.child)
    await server.ready()
    output(f"  alerts      {server.url}/api/v2/alerts")
    return server.target


@dataclass(frozen=True, slots=True)
class _Temporal:
    """A Temporal server. Of one that was already running, Web UI and metrics are unknown."""

    address: str
    client: Client
    web: str | None = None
    metrics: str | None = None


async def _temporal(settings: DemoSettings, processes: ProcessGroup, output: Print) -> _Temporal:
    if settings.temporal_address is not None:
        address, web, metrics = settings.temporal_address, None, None
        client = await processes.wait_until(
            lambda: try_connect(address), deadline=START_DEADLINE, part="Temporal", what=f"a response from {address}"
        )
    else:
        server = TemporalServer(processes.folder, TEMPORAL_PORT, options=["--namespace", TEMPORAL_NAMESPACE])
        try:
            client = await server.ready()
        finally:
            processes.add(server.child)
        address, web, metrics = server.address, server.ui, server.metrics
    await ensure_namespace(client, TEMPORAL_NAMESPACE)
    page = f"{web}/namespaces/{TEMPORAL_NAMESPACE}/workflows  " if web else ""
    output(f"  Temporal    {page}(gRPC {address})")
    return _Temporal(address, Client(client.service_client, namespace=TEMPORAL_NAMESPACE), web, metrics)


async def _ready(exporter: str) -> bool:
    return not await readiness_error(exporter)


async def readiness_error(exporter: str) -> str | None:
    """Return why the exporter is not ready, or None if it is."""
    async with httpx.AsyncClient() as http:
        try:
            answer = await http.get(f"http://{exporter}/readyz")
        except httpx.TransportError as error:
            return f"no response: {error}"
        return None if answer.is_success else str(answer.json()["reason"])
