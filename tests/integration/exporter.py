"""The exporter as its users run it: a process with a command line and an HTTP port."""

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
        folder: Gets its log.
        address: Temporal's.
        namespace: Temporal namespace to watch.
        options: Further options.
        port: Where it listens; a free one if 0.
    """

    def __init__(self, folder: Path, address: str, namespace: str, *options: str, port: int = 0) -> None:
        self.target = f"{LOOPBACK}:{port or free_port()}"
        command = cli_command("exporter", "--temporal-address", address, "--temporal-namespace", namespace)
        ledger = ("--ledger", f"sqlite:///{folder / 'ledger.db'}")
        self.child = Child(
            "exporter",
            [*command, "--listen", self.target, "--poll-interval", "200ms", *ledger, *options],
            folder / "exporter.log",
        )
        self.http = httpx.AsyncClient(base_url=f"http://{self.target}")

    async def started(self) -> "Exporter":
        """Wait until it answers; it need not be ready."""

        async def answers() -> bool:
            self.child.check()
            try:
                return (await self.http.get("/healthz")).is_success
            except httpx.TransportError:
                return False

        await until(answers, deadline=30, what="exporter")
        return self

    async def series(self, family: names.Family) -> Series:
        """Scrape and return the values of one family, by labels."""
        text = (await self.http.get("/metrics")).text
        return {
            frozenset(sample.labels.items()): sample.value
            for metric in text_string_to_metric_families(text)
            for sample in metric.samples
            if sample.name == family.sample
        }

    async def value(self, family: names.Family) -> float | None:
        """Scrape and return the only value of one family; None if it has none."""
        return next(iter((await self.series(family)).values()), None)

    async def becomes(self, family: names.Family, wanted: float) -> None:
        """Wait until the only value of one family is *wanted*."""

        async def reached() -> bool:
            return await self.value(family) == wanted

        await until(reached, deadline=60, what=f"{family.name} {wanted}")

    async def closed(self) -> dict[str, int]:
        """Scrape and return the closed runs by status."""
        counts: dict[str, int] = {}
        for labels, value in (await self.series(names.WORKFLOWS_CLOSED)).items():
            status = dict(labels)[names.STATUS]
            counts[status] = counts.get(status, 0) + int(value)
        return counts

    async def stop(self) -> None:
        """Stop it."""
        self.child.stop()
        await self.http.aclose()
