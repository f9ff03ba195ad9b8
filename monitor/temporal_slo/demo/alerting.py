"""Rules, Alertmanager configuration and the outage of the demo."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

import httpx

from temporal_slo.errors import PartError, UsageError
from temporal_slo.generate.command import generate, links
from temporal_slo.servers.alertmanager import Webhook
from temporal_slo.spec.load import load
from temporal_slo.spec.model import Tier

RECEIVERS = """\
version: temporal-slo/receivers/v1
page:
- webhook: {{url: "{url}/page"}}
ticket:
- webhook: {{url: "{url}/ticket"}}
"""


class Chaos(StrEnum):
    """A fault of the demo, by its name in `--chaos`."""

    PAYMENTS_DOWN = "payments-down"

    @classmethod
    def parse(cls, name: str) -> "Chaos":
        """Return the fault called *name*.

        Raises:
            UsageError: No fault has this name.
        """
        try:
            return cls(name)
        except ValueError:
            raise UsageError("--chaos", f"unknown fault {name!r}", f"use {', '.join(cls)}") from None


FAULTS: Final[Mapping[Chaos, Mapping[str, object]]] = {
    Chaos.PAYMENTS_DOWN: {"endpoint": "payments/charge", "kind": "outage"},
}
"""Fault rules of the services."""


@dataclass(frozen=True, slots=True)
class Outage:
    """An outage of the demo, and the webhook that receives its alerts.

    Attributes:
        kind: The fault.
        services: Base URL of the services.
        webhook: Receives Alertmanager's notifications.
        tier: The tier that pages soonest.
    """

    kind: Chaos
    services: str
    webhook: Webhook
    tier: Tier

    async def begin(self) -> None:
        """Activate the fault.

        Raises:
            PartError: The services did not accept it.
        """
        await self._send("PUT", FAULTS[self.kind])

    async def end(self) -> None:
        """Deactivate the fault; raises like `begin`."""
        await self._send("DELETE")

    async def _send(self, method: str, rule: Mapping[str, object] | None = None) -> None:
        async with httpx.AsyncClient(base_url=self.services) as http:
            try:
                (await http.request(method, f"/faults/{self.kind}", json=rule)).raise_for_status()
            except httpx.HTTPError as error:
                raise PartError("services", f"fault {self.kind}: {method} failed: {error}") from error


def generated(specs: Path, folder: Path, web: str | None, webhook: Webhook | None) -> Path:
    """Generate rules and configuration from *specs*, and return their folder, which is below *folder*.

    Args:
        specs: Folder of SLO specs.
        folder: Gets the files.
        web: URL of Temporal's Web UI, if known.
        webhook: Receives pages and tickets; None to generate no Alertmanager configuration.

    Raises:
        UsageError: A spec is invalid.
    """
    receivers = None
    if webhook:
        receivers = folder / "receivers.yaml"
        receivers.write_text(RECEIVERS.format(url=webhook.url))
    generate(
        [str(specs)],
        folder / "alerts",
        links(None, None, web),
        lambda _: None,
        check=False,
        operator=False,
        receivers=str(receivers) if receivers else None,
    )
    return folder / "alerts"


def outage(kind: Chaos, specs: Path, services: str, webhook: Webhook) -> Outage:
    """Return an outage that has not begun."""
    tiers = (tier for slo in load([specs]).slos for tier in slo.tiers)
    soonest = min((tier for tier in tiers if tier.severity == "page"), key=lambda tier: tier.long)
    return Outage(kind, services, webhook, soonest)
