"""Everything together on one machine: Temporal, worker, load, exporter, Prometheus; started, watched, stopped."""

import asyncio
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final
from urllib.parse import quote

import httpx
from temporalio.client import Client
from temporalio.service import RPCError

from temporal_slo import names
from temporal_slo.errors import PartError
from temporal_slo.exporter.visibility import STATUS_NAMES, count_closed
from temporal_slo.reference.booking import TEMPORAL_NAMESPACE
from temporal_slo.servers import tools
from temporal_slo.servers.process import LOOPBACK, Child, free_port
from temporal_slo.servers.prometheus import Prometheus
from temporal_slo.servers.stage import Stage
from temporal_slo.servers.temporal import TemporalServer, ensure_namespace, try_connect

Say = Callable[[str], None]

TEMPORAL_PORT: Final = 7233
EXPORTER_PORT: Final = 9464
WORKER_PORT: Final = 9465
PROMETHEUS_PORT: Final = 9090
START_DEADLINE: Final = 60.0
AGREE_DEADLINE: Final = 60.0
REPORT_INTERVAL: Final = 10.0
WATCH_INTERVAL: Final = 0.5
POLL_INTERVAL: Final = "2s"
# Short, so that a booking that hangs shows as timed out while somebody looks on.
EXECUTION_TIMEOUT: Final = "20s"
# More goes wrong than in a good shop, so that every ending shows within a minute.
MIX: Final = "confirmed=70,declined=8,cancelled_by_user=5,canceled=4,terminated=3,timed_out=5,failed=5"

BY_STATUS: Final = f"sum by ({names.STATUS}) ({names.WORKFLOWS_CLOSED.sample})"
RUNNING: Final = f"sum({names.WORKFLOWS_RUNNING.sample})"
OLDEST: Final = f"max({names.WORKFLOW_OLDEST_RUNNING_AGE.sample})"
SHOWN: Final = ("failed", "timed_out", "canceled", "terminated", "completed")
BAD: Final = f'sum({names.WORKFLOWS_CLOSED.sample}{{{names.OUTCOME}="bad"}})'
HEADER: Final = "   after  running  oldest" + "".join(f"{status:>12}" for status in SHOWN) + "   of them bad"


@dataclass(frozen=True, slots=True)
class DemoSettings:
    """What `temporal-slo demo` runs with.

    Attributes:
        duration: How long it runs once all is up; None for ever.
        temporal_address: A server that already runs; None to start one.
        rate: Bookings started a second.
        tools: Folder for fetched programs.
        specs: Folder of SLO specs, used if it is there.
    """

    duration: timedelta | None
    temporal_address: str | None
    rate: float
    tools: Path
    specs: Path


@dataclass(frozen=True, slots=True)
class Parts:
    """The running parts that the demo talks to.

    Attributes:
        closed_before: Runs that had closed when the exporter began to watch.
    """

    temporal: Client
    exporter: str
    prometheus: Prometheus
    load: Child
    closed_before: Counter[str]


async def run(settings: DemoSettings, say: Say) -> None:
    """Run the demo until its time is over or a signal comes (INT, TERM, HUP); then stop all that it started.

    Args:
        settings: What to run.
        say: Prints a line.

    Raises:
        PartError: A part is not healthy; names it.
        UsageError: A program is missing.
    """
    main = asyncio.ensure_future(_run(settings, say))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, main.cancel)
    await asyncio.wait([main])
    if not main.cancelled():
        main.result()


async def _run(settings: DemoSettings, say: Say) -> None:
    programs = await asyncio.to_thread(tools.ensure, settings.tools, say)
    with tempfile.TemporaryDirectory(prefix="temporal-slo-demo-") as folder, Stage(Path(folder)) as stage:
        try:
            parts = await _start(settings, stage, programs["prometheus"], say)
            await _watch(parts, stage, settings.duration, say)
            await _prove(parts, stage, say)
        except RPCError as error:
            stage.check()
            raise PartError("Temporal", f"did not answer: {error.status.name}: {error}") from error
        except httpx.HTTPError as error:
            stage.check()
            raise PartError("Prometheus", f"did not answer: {error}") from error
        except TimeoutError as error:
            raise PartError("demo", str(error)) from error
        finally:
            say("stopping …")


async def _start(settings: DemoSettings, stage: Stage, prometheus: Path, say: Say) -> Parts:
    address, client = await _temporal(settings, stage, say)
    where = ("--temporal-address", address, "--temporal-namespace", TEMPORAL_NAMESPACE)
    closed_before = await count_closed(client)
    exporter = f"{LOOPBACK}:{free_port(EXPORTER_PORT)}"
    worker = f"{LOOPBACK}:{free_port(WORKER_PORT)}"
    options = ("--poll-interval", POLL_INTERVAL, "--ledger", f"sqlite:///{stage.folder / 'ledger.db'}")
    spec = ("--spec", str(settings.specs)) if settings.specs.is_dir() else ()
    stage.own("exporter", "exporter", *where, "--listen", exporter, *options, *spec)
    await stage.until(lambda: _ready(exporter), deadline=START_DEADLINE, part="exporter", what="ready")
    say(f"  exporter    http://{exporter}/metrics")
    targets = {"temporal-slo": exporter, "bookings": worker}
    server = Prometheus(prometheus, stage.folder, targets, PROMETHEUS_PORT)
    stage.add(server.child)
    await server.ready()
    say(f"  Prometheus  {server.url}/api/v1/query?query={quote(BY_STATUS)}")
    stage.own("worker", "worker", *where, "--metrics-listen", worker, *spec)
    say(f"  worker      http://{worker}/metrics")
    mix = ("--rate", str(settings.rate), "--mix", MIX, "--execution-timeout", EXECUTION_TIMEOUT)
    load = stage.own("load", "load", *where, *mix)
    say(f"  logs        {stage.folder}  (until this ends)")
    return Parts(client, exporter, server, load, closed_before)


async def _temporal(settings: DemoSettings, stage: Stage, say: Say) -> tuple[str, Client]:
    if settings.temporal_address is not None:
        address, page = settings.temporal_address, ""
        client = await stage.until(
            lambda: try_connect(address), deadline=START_DEADLINE, part="Temporal", what=f"an answer from {address}"
        )
    else:
        server = TemporalServer(stage.folder, TEMPORAL_PORT, options=["--namespace", TEMPORAL_NAMESPACE])
        address, page = server.address, f"{server.ui}/namespaces/{TEMPORAL_NAMESPACE}/workflows  "
        try:
            client = await server.ready()
        finally:
            stage.add(server.child)
    await ensure_namespace(client, TEMPORAL_NAMESPACE)
    say(f"  Temporal    {page}(gRPC {address})")
    return address, Client(client.service_client, namespace=TEMPORAL_NAMESPACE)


async def _watch(parts: Parts, stage: Stage, duration: timedelta | None, say: Say) -> None:
    began = time.monotonic()
    end = began + duration.total_seconds() if duration else float("inf")
    say(f"Bookings start; {f'this ends after {duration.total_seconds():g} s' if duration else 'Ctrl-C ends this'}.")
    say("What Prometheus has:")
    say(HEADER)
    report = began + REPORT_INTERVAL
    while (now := time.monotonic()) < end:
        stage.check()
        if now >= report:
            say(await _row(parts.prometheus, now - began))
            report += REPORT_INTERVAL
        await asyncio.sleep(min(WATCH_INTERVAL, end - now))
    say(await _row(parts.prometheus, time.monotonic() - began))


async def _row(prometheus: Prometheus, after: float) -> str:
    closed = await _closed(prometheus)
    cells = [_cell(await prometheus.value(RUNNING), 9), _cell(await prometheus.value(OLDEST), 7, "s")]
    cells += [_cell(closed.get(status), 12) for status in SHOWN]
    cells += [_cell(await prometheus.value(BAD), 14)]
    return f"{after:7.0f}s{''.join(cells)}"


def _cell(value: float | None, width: int, unit: str = "") -> str:
    # No data is not zero.
    return f"{'-' if value is None else f'{value:.0f}{unit}':>{width}}"


async def _closed(prometheus: Prometheus) -> Counter[str]:
    series = await prometheus.query(BY_STATUS)
    return Counter({dict(labels)[names.STATUS]: int(value) for labels, value in series.items()})


async def _prove(parts: Parts, stage: Stage, say: Say) -> None:
    """Stop the load and hold what Prometheus has against Temporal's own count."""
    stage.check()
    if trouble := await _trouble(parts.exporter):
        raise PartError("exporter", f"not ready: {trouble}")
    stage.retire(parts.load)
    if parts.load.exit_code:
        raise PartError("load", f"ended with exit code {parts.load.exit_code}\n{parts.load.tail()}")
    seen: dict[str, Counter[str]] = {}

    async def agree() -> bool:
        seen["Temporal"] = await count_closed(parts.temporal)
        seen["Temporal"].subtract(parts.closed_before)
        seen["Prometheus"] = await _closed(parts.prometheus)
        return +seen["Temporal"] == +seen["Prometheus"]

    try:
        await stage.until(agree, deadline=AGREE_DEADLINE, part="exporter", what="as many closed runs as Temporal")
    except PartError as error:
        raise PartError(error.part, f"{error}: {_counts(seen)}") from error
    if not seen["Temporal"]["completed"]:
        raise PartError("worker", "no booking was completed")
    say(f"Temporal counts the same closed runs as Prometheus: {_counts(seen)}")


def _counts(seen: dict[str, Counter[str]]) -> str:
    return "; ".join(
        f"{who} {', '.join(f'{counts[status]} {status}' for status in STATUS_NAMES.values() if counts[status])}"
        for who, counts in seen.items()
    )


async def _ready(exporter: str) -> bool:
    return not await _trouble(exporter)


async def _trouble(exporter: str) -> str | None:
    """Return why the exporter is not ready, or None if it is."""
    async with httpx.AsyncClient() as http:
        try:
            answer = await http.get(f"http://{exporter}/readyz")
        except httpx.TransportError as error:
            return f"no answer: {error}"
        return None if answer.is_success else str(answer.json()["reason"])
