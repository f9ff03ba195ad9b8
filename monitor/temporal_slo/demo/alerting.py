"""Rules, Alertmanager configuration and the outage of the demo."""

from dataclasses import dataclass
from pathlib import Path

from temporal_slo.generate.command import generate, links
from temporal_slo.reference.services.faults import Fault
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


@dataclass(frozen=True, slots=True)
class Outage:
    """An outage of the demo, and the webhook that receives its alerts.

    Attributes:
        kind: The fault.
        file: The worker's fault file.
        webhook: Receives Alertmanager's notifications.
        tier: The tier that pages soonest.
    """

    kind: Fault
    file: Path
    webhook: Webhook
    tier: Tier

    @property
    def options(self) -> tuple[str, ...]:
        """Options of the worker."""
        return ("--chaos-file", str(self.file))

    def begin(self) -> None:
        """Activate the fault."""
        self.file.write_text(self.kind)

    def end(self) -> None:
        """Deactivate the fault."""
        self.file.unlink()


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


def outage(kind: Fault, specs: Path, folder: Path, webhook: Webhook) -> Outage:
    """Return an outage that has not begun."""
    tiers = (tier for slo in load([specs]).slos for tier in slo.tiers)
    soonest = min((tier for tier in tiers if tier.severity == "page"), key=lambda tier: tier.long)
    return Outage(kind, folder / "chaos", webhook, soonest)
