"""Who would be woken in the demo, and by what: generated rules and configuration, and an outage that can be had."""

from dataclasses import dataclass
from pathlib import Path

from temporal_slo.generate.command import generate, links
from temporal_slo.reference.services.faults import Chaos
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
    """What goes wrong, and who is told.

    Attributes:
        kind: The chaos.
        file: The worker's chaos file.
        webhook: Gets what Alertmanager tells.
        tier: The tier that pages soonest.
    """

    kind: Chaos
    file: Path
    webhook: Webhook
    tier: Tier

    @property
    def options(self) -> tuple[str, ...]:
        """Options of the worker."""
        return ("--chaos-file", str(self.file))

    def begin(self) -> None:
        """Let it go wrong from now on."""
        self.file.write_text(self.kind)

    def end(self) -> None:
        """Let all be well again."""
        self.file.unlink()


def generated(specs: Path, folder: Path, web: str | None, webhook: Webhook | None) -> Path:
    """Make what `temporal-slo generate` makes of *specs*, and return the folder below *folder* that it is in.

    Args:
        specs: Folder of SLO specs.
        folder: Gets the files.
        web: Temporal's Web UI, if it is known.
        webhook: Gets pages and tickets; None for no configuration of Alertmanager.

    Raises:
        UsageError: A spec is bad.
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


def outage(kind: Chaos, specs: Path, folder: Path, webhook: Webhook) -> Outage:
    """Return the outage of that kind, which has not begun."""
    tiers = (tier for slo in load([specs]).slos for tier in slo.tiers)
    soonest = min((tier for tier in tiers if tier.severity == "page"), key=lambda tier: tier.long)
    return Outage(kind, folder / "chaos", webhook, soonest)
