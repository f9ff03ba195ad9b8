"""The checked system: a real Temporal server, exporter, worker and Prometheus."""

import asyncio
import json
import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from temporalio import activity, workflow
from temporalio.client import Client

from temporal_slo.check import command
from temporal_slo.check.prometheus import PrometheusAccess
from temporal_slo.generate.artefacts import render
from temporal_slo.generate.files import SUFFIX
from temporal_slo.generate.links import Links
from temporal_slo.servers.process import LOOPBACK, until
from temporal_slo.servers.prometheus import Prometheus
from temporal_slo.spec.load import load
from tests.conftest import Temporal
from tests.integration.exporter import Exporter

NAMESPACE = "check-shop"
QUEUE = "check-rides"
CLOSED_BEFORE = "CheckClosedBefore"
"""A workflow type whose only run closed before the exporter started."""

DEADLINE = 60.0
RETENTION = "--storage.tsdb.retention.time=40d"

SPEC = f"""\
version: temporal-slo/v1
service: shop
temporal_namespace: {NAMESPACE}
owner: rides
period: 30d
slos:
  - name: ride-success
    workflow: CheckRide
    task_queue: {QUEUE}
    objective: 99.5
    outcome: {{from: status, good: [CONFIRMED], bad: [FAILED]}}
    sli: {{success: {{bad: [failed, timed_out, bad_outcome]}}}}
  - name: ride-latency
    workflow: CheckRide
    objective: 99
    sli: {{latency: {{threshold: 90s}}}}
  - name: ride-stuck
    workflow: CheckRide
    objective: 99.9
    sli: {{overdue: {{max_age: 15m}}}}
  - name: ride-activities
    workflow: CheckRide
    objective: 99
    sli: {{activity_success: {{activities: [check_pay]}}}}
"""


@activity.defn(name="check_pay")
async def pay() -> None:
    """Do nothing."""


@workflow.defn(name="CheckRide")
class Ride:
    """Executes one activity and completes with a good outcome."""

    @workflow.run
    async def run(self) -> dict[str, str]:
        """Return the outcome."""
        await workflow.execute_activity(pay, start_to_close_timeout=timedelta(minutes=1))
        return {"status": "CONFIRMED"}


@dataclass(frozen=True)
class System:
    """The parts of the checked system.

    Attributes:
        temporal: The Temporal server.
        client: Client of its namespace.
        exporter: The exporter.
        worker: Address of the worker's metrics.
        spec: Path of the spec.
        programs: Paths of programs by name.
    """

    temporal: Temporal
    client: Client
    exporter: Exporter
    worker: str
    spec: Path
    programs: Mapping[str, Path]

    @property
    def jobs(self) -> list[dict[str, Any]]:
        """Scrape jobs of all parts."""
        targets = {"exporter": self.exporter.target, "worker": self.worker, "server": self.temporal.server.metrics}
        return [job(name, target) for name, target in targets.items()]

    async def check(self, prometheus: str, *specs: Path, only: Sequence[str] = command.SYSTEMS) -> tuple[bool, str]:
        """Run the check; return whether it succeeded, and its output."""
        output: list[str] = []
        timeout = timedelta(seconds=30)
        chosen = command.CheckSettings(
            paths=specs or (self.spec,),
            access=PrometheusAccess.of(prometheus, None, timeout),
            connection=self.temporal.connection(NAMESPACE),
            timeout=timeout,
            systems=only,
        )
        return await command.run(chosen, output.append), "\n".join(output)

    async def check_until(
        self,
        prometheus: str,
        *wanted: str,
        specs: Sequence[Path] = (),
        only: Sequence[str] = command.SYSTEMS,
        ok: bool = False,
    ) -> str:
        """Run the check until its output has all *wanted* texts and its result is *ok*; return the output."""
        outputs: list[str] = []

        async def as_wanted() -> bool:
            succeeded, text = await self.check(prometheus, *specs, only=only)
            outputs.append(text)
            return succeeded is ok and all(part in text for part in wanted)

        try:
            await until(as_wanted, deadline=DEADLINE, what=f"{wanted}")
        except TimeoutError as error:
            raise AssertionError(f"{error}\n{outputs[-1]}") from error
        return outputs[-1]


def job(name: str, target: str, **labels: str) -> dict[str, Any]:
    """Return a scrape job with one target and its labels."""
    return {"job_name": name, "static_configs": [{"targets": [target], "labels": labels}]}


def rule_files(folder: Path, spec: str) -> Path:
    """Generate the rules of a spec, evaluated every second, and return their directory."""
    folder.mkdir()
    (folder / "spec.yaml").write_text(spec)
    for name, text in render(load([folder / "spec.yaml"]), Links("", "", "")).items():
        if name.endswith(SUFFIX):
            # A shorter interval than generated is accepted, and saves time.
            (folder / name).write_text(text.replace("interval: 30s", "interval: 1s"))
    return folder


async def prometheus(
    system: System,
    folder: Path,
    jobs: Sequence[Mapping[str, Any]],
    rules: Sequence[Path] = (),
    options: Sequence[str] = (RETENTION,),
) -> Prometheus:
    """Start a Prometheus with these scrape jobs and rule files."""
    folder.mkdir(exist_ok=True)
    started = Prometheus(system.programs["prometheus"], folder, {}, options=options)
    try:
        await started.ready()
        configure(started, folder, jobs, rules)
    except BaseException:
        started.child.stop()
        raise
    return started


def configure(running: Prometheus, folder: Path, jobs: Sequence[Mapping[str, Any]], rules: Sequence[Path]) -> None:
    """Reload a running Prometheus with other scrape jobs and rule files."""
    every = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
    config = {"global": every, "scrape_configs": list(jobs), "rule_files": [str(path) for path in rules]}
    (folder / "prometheus.yaml").write_text(json.dumps(config))
    os.kill(running.child.pid, signal.SIGHUP)


async def ride(system: System, count: int) -> None:
    """Execute *count* workflows."""
    rides = (system.client.execute_workflow(Ride.run, id=os.urandom(8).hex(), task_queue=QUEUE) for _ in range(count))
    await asyncio.gather(*rides)


class StubTarget:
    """Serves fixed metrics.

    Args:
        text: Metrics in the text format.
    """

    def __init__(self, text: str) -> None:
        self._body = text.encode()
        self._server: asyncio.Server | None = None
        self.target = ""

    async def start(self) -> "StubTarget":
        """Start to listen on a free port."""
        self._server = await asyncio.start_server(self._respond, LOOPBACK, 0)
        self.target = f"{LOOPBACK}:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def _respond(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        head = f"HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: {len(self._body)}\r\n"
        writer.write(f"{head}Connection: close\r\n\r\n".encode() + self._body)
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    async def stop(self) -> None:
        """Stop to listen."""
        if self._server:
            self._server.close()
            await self._server.wait_closed()
