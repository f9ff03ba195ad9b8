"""The parts of the demo, started one after the other."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final
from urllib.parse import quote

import httpx
from temporalio.client import Client

from temporal_slo import names
from temporal_slo.demo.alerting import Outage, generated, outage
from temporal_slo.errors import UsageError
from temporal_slo.generate.files import ALERTMANAGER, SUFFIX
from temporal_slo.reference.services.faults import Fault
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
WORKER_PORT: Final = 9465
PROMETHEUS_PORT: Final = 9090
SERVER_INTERVAL: Final = "5s"
"""Scrape interval of the Temporal server, which has many metrics."""
ALERTMANAGER_PORT: Final = 9093
START_DEADLINE: Final = 60.0
POLL_INTERVAL: Final = "2s"
# Short, so that a stuck booking times out within a demo.
EXECUTION_TIMEOUT: Final = "20s"
# More failures than in production, so that every status appears within a minute.
MIX: Final = "confirmed=70,declined=8,cancelled_by_user=5,canceled=4,terminated=3,timed_out=5,failed=5"
HEALTHY_MIX: Final = "confirmed=95,cancelled_by_user=5"
"""Mix during an outage: nothing else consumes an error budget."""

BY_STATUS: Final = f"sum by ({names.STATUS}) ({names.WORKFLOWS_CLOSED.sample})"


@dataclass(frozen=True, slots=True)
class DemoSettings:
    """What `temporal-slo demo` runs with.

    Attributes:
        duration: How long it runs once everything is up; None until interrupted.
        temporal_address: A running server; None to start one.
        rate: Bookings started per second.
        tools: Folder of downloaded programs.
        specs: Folder of SLO specs, used if it exists.
        chaos: Fault that causes a page after a while; None for none.
    """

    duration: timedelta | None
    temporal_address: str | None
    rate: float
    tools: Path
    specs: Path
    chaos: Fault | None = None

    def __post_init__(self) -> None:
        """Refuse a fault without SLO specs: nothing would page."""
        if self.chaos and not self.specs.is_dir():
            raise UsageError("--chaos", f"no specs in {self.specs}", "run it in the project's folder")


@dataclass(frozen=True, slots=True)
class Parts:
    """The running parts of the demo.

    Attributes:
        closed_before: Runs that had closed before the exporter started, by status.
        outage: The planned outage, if any.
    """

    temporal: Client
    exporter: str
    prometheus: Prometheus
    load: Child
    closed_before: Counter[str]
    outage: Outage | None


async def start(
    settings: DemoSettings,
    processes: ProcessGroup,
    programs: Mapping[str, Path],
    webhook: Webhook | None,
    output: Print,
) -> Parts:
    """Start all parts, and return once bookings start.

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
    client, web = temporal.client, temporal.web
    where = ("--temporal-address", temporal.address, "--temporal-namespace", TEMPORAL_NAMESPACE)
    closed_before = await count_closed(client)
    spec = ("--spec", str(settings.specs)) if settings.specs.is_dir() else ()
    exporter = await _exporter(processes, (*where, *spec), output)
    worker = f"{LOOPBACK}:{free_port(WORKER_PORT)}"
    made = generated(settings.specs, processes.folder, web, webhook) if spec else None
    alertmanager = await _alertmanager(processes, programs["alertmanager"], made, output) if made and webhook else None
    server = Prometheus(
        programs["prometheus"],
        processes.folder,
        {"temporal-slo": exporter, "bookings": worker, **({"temporal": temporal.metrics} if temporal.metrics else {})},
        PROMETHEUS_PORT,
        intervals={"temporal": SERVER_INTERVAL},
        rules=[made / f"*{SUFFIX}"] if made else (),
        alertmanager=alertmanager,
    )
    processes.add(server.child)
    await server.ready()
    output(f"  Prometheus  {server.url}/api/v1/query?query={quote(BY_STATUS)}")
    planned = outage(settings.chaos, settings.specs, processes.folder, webhook) if settings.chaos and webhook else None
    processes.start_command(
        "worker", "worker", *where, "--metrics-listen", worker, *spec, *(planned.options if planned else ())
    )
    output(f"  worker      http://{worker}/metrics")
    mix = HEALTHY_MIX if planned else MIX
    options = ("--rate", str(settings.rate), "--mix", mix, "--execution-timeout", EXECUTION_TIMEOUT)
    load = processes.start_command("load", "load", *where, *options)
    output(f"  logs        {processes.folder}  (removed when the demo ends)")
    return Parts(client, exporter, server, load, closed_before, planned)


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
