"""Everything from a failing payment to a page: real servers with generated rules and configuration."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import yaml
from temporalio.client import Client, WorkflowExecution, WorkflowHandle

from temporal_slo.cli.main import main
from temporal_slo.durations import format_duration, parse_duration
from temporal_slo.reference.workflows.booking import BookingResult, BookRideWorkflow
from temporal_slo.servers.alertmanager import Alertmanager, Notice, Webhook
from temporal_slo.servers.process import LOOPBACK, Child, free_port, until
from temporal_slo.servers.process_group import ProcessGroup
from temporal_slo.servers.prometheus import Prometheus

WAITING_TIMES = {"interval", "for", "group_wait", "group_interval", "repeat_interval"}
"""Keys of generated files whose values are waiting times."""

RECEIVERS = """\
version: temporal-slo/receivers/v1
page:
- webhook: {{url: "{url}/page"}}
ticket:
- webhook: {{url: "{url}/ticket"}}
"""


@dataclass(frozen=True)
class Pager:
    """The running processes, and the alerts that they sent.

    Attributes:
        client: Client of the monitored Temporal namespace.
        address: Address of the Temporal server.
        services: Base URL of the services.
        exporter: Exporter process.
        load: Process that starts bookings.
        webhook: Receiver of Alertmanager's notifications.
        prometheus: Prometheus that evaluates the rules.
    """

    client: Client
    address: str
    services: str
    exporter: Child
    load: Child
    webhook: Webhook
    prometheus: Prometheus

    def payments(self, *, down: bool) -> None:
        """Make all payments fail, or none."""
        url = f"{self.services}/faults/payments-down"
        # Rejected, not unavailable: bookings fail at once, so that the windows can be short.
        rule = {"endpoint": "payments/charge", "kind": "reject"}
        (httpx.put(url, json=rule) if down else httpx.delete(url)).raise_for_status()

    async def alert(self, matches: Callable[[Notice], bool], deadline: float, what: str) -> Notice:
        """Wait for an alert that matches, and return it."""

        async def received() -> Notice | None:
            return next(filter(matches, self.webhook.notices), None)

        try:
            return await until(received, deadline=deadline, what=what)
        except TimeoutError:
            print(*self.webhook.notices, sep="\n")
            raise

    async def closed(self, since: float, before: float) -> list[WorkflowExecution]:
        """Return the bookings that completed in a range of Unix time."""
        query = "ExecutionStatus = 'Completed' AND WorkflowType = 'BookRideWorkflow'"
        runs = [run async for run in self.client.list_workflows(query)]
        return [run for run in runs if run.close_time and since < run.close_time.timestamp() <= before]

    async def statuses(self, runs: list[WorkflowExecution]) -> list[str]:
        """Return the statuses in the results of *runs*, in order."""
        handles: list[WorkflowHandle[BookRideWorkflow, BookingResult]] = [
            self.client.get_workflow_handle_for(BookRideWorkflow.run, run.id, run_id=run.run_id) for run in runs
        ]
        return [(await handle.result()).status for handle in handles]

    async def failing(self, until: float, window: timedelta) -> float:
        """Return the true error ratio of bookings closed in the *window* before *until*, without cancelled ones."""
        statuses = await self.statuses(await self.closed(until - window.total_seconds(), until))
        included = [status for status in statuses if status != "CANCELLED"]
        return included.count("FAILED") / len(included)


def scaled_waiting_times(text: str, factor: int) -> str:
    """Return a generated file with all waiting times divided by *factor*, and no other change."""
    return yaml.safe_dump(_divided(yaml.safe_load(text), factor), sort_keys=False, width=10_000)


def _divided(part: Any, factor: int) -> Any:  # noqa: ANN401 any YAML value
    if isinstance(part, list):
        return [_divided(item, factor) for item in part]
    if not isinstance(part, dict):
        return part
    return {
        key: format_duration(parse_duration(value) / factor) if key in WAITING_TIMES else _divided(value, factor)
        for key, value in part.items()
    }


def generated(folder: Path, spec: Path, webhook: Webhook, factor: int) -> Path:
    """Generate the rules and the Alertmanager configuration with the command, and return their folder."""
    (folder / "receivers.yaml").write_text(RECEIVERS.format(url=webhook.url))
    out = folder / "alerts"
    with (folder / "generate.log").open("w") as log:
        options = ["--out", str(out), "--receivers", str(folder / "receivers.yaml")]
        assert main(["generate", str(spec), *options], {}, log, log) == 0
    for path in out.glob("*.yaml"):
        if factor > 1:
            path.write_text(scaled_waiting_times(path.read_text(), factor))
    return out


@asynccontextmanager
async def paging(
    folder: Path, programs: dict[str, Path], client: Client, spec: Path, *, address: str, factor: int
) -> AsyncIterator[Pager]:
    """Start all processes, with waiting times divided by *factor*, and wait for good bookings in Prometheus."""
    services = f"{LOOPBACK}:{free_port()}"
    temporal = ("--temporal-address", address, "--temporal-namespace", client.namespace)
    target = f"{LOOPBACK}:{free_port()}"
    with Webhook() as webhook, ProcessGroup(folder) as processes:
        alerts = generated(folder, spec, webhook, factor)
        polling = ("--poll-interval", "500ms", "--ledger", f"sqlite:///{folder / 'ledger.db'}", "--spec", str(spec))
        exporter = processes.start_command("exporter", "exporter", *temporal, "--listen", target, *polling)
        alertmanager = Alertmanager(programs["alertmanager"], folder, alerts / "alertmanager.yaml")
        processes.add(alertmanager.child)
        rules = [alerts / "*.rules.yaml"]
        prometheus = Prometheus(
            programs["prometheus"], folder, {"exporter": target}, rules=rules, alertmanager=alertmanager.target
        )
        processes.add(prometheus.child)
        try:
            await alertmanager.ready()
            await prometheus.ready()
            books = ("--books", str(folder / "services.db"))
            processes.start_command("services", "services", "--listen", services, *books)
            await processes.wait_until(lambda: _healthy(services), deadline=60, part="services", what="healthy")
            url = ("--services", f"http://{services}")
            processes.start_command("worker", "worker", *temporal, *url)
            mix = "booking.confirmed=9,booking.cancelled_by_user=1"
            load = processes.start_command("load", "load", *temporal, *url, "--rate", "6", "--mix", mix)
            pager = Pager(client, address, f"http://{services}", exporter, load, webhook, prometheus)
            await processes.wait_until(
                lambda: _counted(pager), deadline=60, part="load", what="good bookings in Prometheus"
            )
            yield pager
        except BaseException:
            for log in folder.glob("*.log"):
                print(log.name, *log.read_text(errors="replace").splitlines()[-20:], sep="\n")
            raise
        finally:
            await prometheus.close()


async def _healthy(services: str) -> bool:
    async with httpx.AsyncClient() as http:
        try:
            return (await http.get(f"http://{services}/healthz")).is_success
        except httpx.TransportError:
            return False


async def _counted(pager: Pager) -> bool:
    return bool(await pager.prometheus.value('sum(temporal_slo_workflows_closed_total{outcome="good"}) > 10'))


def scaled_spec(text: str, factor: int) -> str:
    """Return a spec with the default tiers and a period of 30 days, all divided by *factor*."""
    rows = [
        f"- {{name: {name}, severity: {severity}, long: {_scaled(long, factor)}, short: {_scaled(short, factor)}, "
        f"budget: {budget}}}"
        for name, severity, long, short, budget in TIERS
    ]
    period = _scaled("30d", factor)
    return text.replace("period: 30d\n", "\n".join([f"period: {period}", STALE, "windows:", *rows]) + "\n")


STALE = "causes: {exporter_stale: 15s}"
"""A range in alert expressions: dividing the waiting times of generated files does not change it."""

TIERS = (
    ("page-quick", "page", "1h", "5m", 2),
    ("page-slow", "page", "6h", "30m", 5),
    ("ticket-quick", "ticket", "1d", "2h", 10),
    ("ticket-slow", "ticket", "3d", "6h", 10),
)


def _scaled(duration: str, factor: int) -> str:
    return format_duration(parse_duration(duration) / factor)


def firing_since(notices: list[Notice], start: float) -> Iterator[Notice]:
    """Yield the alerts that started to fire after a Unix time."""
    return (notice for notice in notices if notice.starts_at > start and not notice.resolved)
