"""All that stands between a failing payment and a page: real servers, with generated rules and configuration."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import yaml
from temporalio.client import Client, WorkflowExecution, WorkflowHandle

from temporal_slo.cli.main import main
from temporal_slo.durations import format_duration, parse_duration
from temporal_slo.reference.services.faults import Fault
from temporal_slo.reference.workflows.booking import BookingResult, BookRideWorkflow
from temporal_slo.servers.alertmanager import Alertmanager, Notice, Webhook
from temporal_slo.servers.process import LOOPBACK, Child, free_port, until
from temporal_slo.servers.process_group import ProcessGroup
from temporal_slo.servers.prometheus import Prometheus

HELD = {"interval", "for", "group_wait", "group_interval", "repeat_interval"}
"""Keys of generated files whose values are durations."""

RECEIVERS = """\
version: temporal-slo/receivers/v1
page:
- webhook: {{url: "{url}/page"}}
ticket:
- webhook: {{url: "{url}/ticket"}}
"""


@dataclass(frozen=True)
class Pager:
    """What runs, and what came of it.

    Attributes:
        client: Of the watched Temporal namespace.
        address: Of Temporal.
        chaos: The worker's chaos file.
        exporter: Its process.
        load: The process that books.
        webhook: What Alertmanager tells.
        prometheus: What evaluates the rules.
    """

    client: Client
    address: str
    chaos: Path
    exporter: Child
    load: Child
    webhook: Webhook
    prometheus: Prometheus

    def payments(self, *, down: bool) -> None:
        """Let the worker refuse every payment, or none."""
        self.chaos.write_text(Fault.PAYMENTS_DOWN if down else "")

    async def told(self, what: Callable[[Notice], bool], deadline: float, said: str) -> Notice:
        """Wait for an alert that is *what* is wanted, and return it."""

        async def there() -> Notice | None:
            return next(filter(what, self.webhook.notices), None)

        try:
            return await until(there, deadline=deadline, what=said)
        except TimeoutError:
            print(*self.webhook.notices, sep="\n")
            raise

    async def closed(self, since: float, before: float) -> list[WorkflowExecution]:
        """Return the runs that completed in a span of Unix time."""
        query = "ExecutionStatus = 'Completed'"
        runs = [run async for run in self.client.list_workflows(query)]
        return [run for run in runs if run.close_time and since < run.close_time.timestamp() <= before]

    async def statuses(self, runs: list[WorkflowExecution]) -> list[str]:
        """Return what the results of *runs* say, in their order."""
        handles: list[WorkflowHandle[BookRideWorkflow, BookingResult]] = [
            self.client.get_workflow_handle_for(BookRideWorkflow.run, run.id, run_id=run.run_id) for run in runs
        ]
        return [(await handle.result()).status for handle in handles]

    async def failing(self, until: float, window: timedelta) -> float:
        """Return the true share of failed bookings among those that are promised, closed in the *window* before."""
        statuses = await self.statuses(await self.closed(until - window.total_seconds(), until))
        promised = [status for status in statuses if status != "CANCELLED"]
        return promised.count("FAILED") / len(promised)


def quicker(text: str, factor: int) -> str:
    """Return a generated file with all its waiting times divided by *factor*; nothing else is changed."""
    return yaml.safe_dump(_divided(yaml.safe_load(text), factor), sort_keys=False, width=10_000)


def _divided(part: Any, factor: int) -> Any:  # noqa: ANN401 of whatever YAML there is
    if isinstance(part, list):
        return [_divided(item, factor) for item in part]
    if not isinstance(part, dict):
        return part
    return {
        key: format_duration(parse_duration(value) / factor) if key in HELD else _divided(value, factor)
        for key, value in part.items()
    }


def generated(folder: Path, spec: Path, webhook: Webhook, factor: int) -> Path:
    """Make rules and Alertmanager's configuration by the command, and return their folder."""
    (folder / "receivers.yaml").write_text(RECEIVERS.format(url=webhook.url))
    out = folder / "alerts"
    with (folder / "generate.log").open("w") as log:
        options = ["--out", str(out), "--receivers", str(folder / "receivers.yaml")]
        assert main(["generate", str(spec), *options], {}, log, log) == 0
    for path in out.glob("*.yaml"):
        if factor > 1:
            path.write_text(quicker(path.read_text(), factor))
    return out


@asynccontextmanager
async def paging(
    folder: Path, programs: dict[str, Path], client: Client, spec: Path, *, address: str, factor: int
) -> AsyncIterator[Pager]:
    """Run all of it, with waiting times divided by *factor*, until bookings end well."""
    chaos = folder / "chaos"
    where = ("--temporal-address", address, "--temporal-namespace", client.namespace)
    target = f"{LOOPBACK}:{free_port()}"
    with Webhook() as webhook, ProcessGroup(folder) as processes:
        made = generated(folder, spec, webhook, factor)
        watching = ("--poll-interval", "500ms", "--ledger", f"sqlite:///{folder / 'ledger.db'}", "--spec", str(spec))
        exporter = processes.start_command("exporter", "exporter", *where, "--listen", target, *watching)
        alertmanager = Alertmanager(programs["alertmanager"], folder, made / "alertmanager.yaml")
        processes.add(alertmanager.child)
        rules = [made / "*.rules.yaml"]
        prometheus = Prometheus(
            programs["prometheus"], folder, {"exporter": target}, rules=rules, alertmanager=alertmanager.target
        )
        processes.add(prometheus.child)
        try:
            await alertmanager.ready()
            await prometheus.ready()
            processes.start_command("worker", "worker", *where, "--chaos-file", str(chaos))
            load = processes.start_command(
                "load", "load", *where, "--rate", "6", "--mix", "confirmed=9,cancelled_by_user=1"
            )
            pager = Pager(client, address, chaos, exporter, load, webhook, prometheus)
            await processes.wait_until(
                lambda: _counted(pager), deadline=60, part="load", what="bookings that Prometheus knows of"
            )
            yield pager
        except BaseException:
            for log in folder.glob("*.log"):
                print(log.name, *log.read_text(errors="replace").splitlines()[-20:], sep="\n")
            raise
        finally:
            await prometheus.close()


async def _counted(pager: Pager) -> bool:
    return bool(await pager.prometheus.value('sum(temporal_slo_workflows_closed_total{outcome="good"}) > 10'))


def scaled(text: str, factor: int) -> str:
    """Return a spec whose tiers are the default ones, and whose period is 30 days, both divided by *factor*."""
    rows = [
        f"- {{name: {name}, severity: {severity}, long: {_part(long, factor)}, short: {_part(short, factor)}, "
        f"budget: {budget}}}"
        for name, severity, long, short, budget in TIERS
    ]
    period = _part("30d", factor)
    return text.replace("period: 30d\n", "\n".join([f"period: {period}", STALE, "windows:", *rows]) + "\n")


STALE = "causes: {exporter_stale: 15s}"
"""Ranges in alerts are no waiting times, which are divided in what is generated."""

TIERS = (
    ("page-quick", "page", "1h", "5m", 2),
    ("page-slow", "page", "6h", "30m", 5),
    ("ticket-quick", "ticket", "1d", "2h", 10),
    ("ticket-slow", "ticket", "3d", "6h", 10),
)


def _part(duration: str, factor: int) -> str:
    return format_duration(parse_duration(duration) / factor)


def since(notices: list[Notice], moment: float) -> Iterator[Notice]:
    """Yield the alerts that began to fire after a moment."""
    return (notice for notice in notices if notice.starts_at > moment and not notice.resolved)
