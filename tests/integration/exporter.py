"""The exporter as a child process, with its command line and its HTTP endpoints."""

from pathlib import Path

import httpx
from prometheus_client.parser import text_string_to_metric_families

from temporal_slo import names
from temporal_slo.servers.process import LOOPBACK, Child, free_port, until
from temporal_slo.servers.tools import cli_command

Series = dict[frozenset[tuple[str, str]], float]


class Exporter:
    """A running `temporal-slo exporter`.

    Args:
        folder: Folder of its log and its ledger.
        address: Address of the Temporal server.
        namespace: Temporal namespace to monitor.
        options: Further command-line options.
        port: Port to listen on; 0 for any free port.
        prefix: Command that runs the exporter, such as `prlimit`; empty to run it directly.
    """

    def __init__(
        self,
        folder: Path,
        address: str,
        namespace: str,
        *options: str,
        port: int = 0,
        prefix: tuple[str, ...] = (),
    ) -> None:
        self.target = f"{LOOPBACK}:{port or free_port()}"
        command = cli_command("exporter", "--temporal-address", address, "--temporal-namespace", namespace)
        ledger = ("--ledger", f"sqlite:///{folder / 'ledger.db'}")
        self.child = Child(
            "exporter",
            [*prefix, *command, "--listen", self.target, "--poll-interval", "200ms", *ledger, *options],
            folder / "exporter.log",
        )
        self.http = httpx.AsyncClient(base_url=f"http://{self.target}")

    async def started(self) -> "Exporter":
        """Wait until /healthz succeeds; the exporter need not be ready."""

        async def answers() -> bool:
            self.child.check()
            try:
                return (await self.http.get("/healthz")).is_success
            except httpx.TransportError:
                return False

        await until(answers, deadline=30, what="exporter")
        return self

    async def series(self, family: names.Family) -> Series:
        """Scrape and return the values of a family by labels."""
        text = (await self.http.get("/metrics")).text
        return {
            frozenset(sample.labels.items()): sample.value
            for metric in text_string_to_metric_families(text)
            for sample in metric.samples
            if sample.name == family.sample
        }

    async def value(self, family: names.Family) -> float | None:
        """Scrape and return the only value of a family; None if it has no series."""
        return next(iter((await self.series(family)).values()), None)

    async def becomes(self, family: names.Family, wanted: float) -> None:
        """Wait until the only value of a family is *wanted*."""

        async def reached() -> bool:
            return await self.value(family) == wanted

        await until(reached, deadline=60, what=f"{family.name} {wanted}")

    async def closed(self, workflow_type: str | None = None) -> dict[str, int]:
        """Scrape and return the counted closed runs by status; of one type, if given."""
        counts: dict[str, int] = {}
        for labels, value in (await self.series(names.WORKFLOWS_CLOSED)).items():
            if workflow_type in {None, dict(labels)[names.WORKFLOW_TYPE]}:
                status = dict(labels)[names.STATUS]
                counts[status] = counts.get(status, 0) + int(value)
        return counts

    async def stop(self) -> None:
        """Stop the process."""
        self.child.stop()
        await self.http.aclose()
