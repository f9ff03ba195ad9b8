"""What the demo prints of an outage, from the notifications that a webhook receives."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from temporal_slo import names
from temporal_slo.demo.alerting import Chaos, outage
from temporal_slo.demo.outage_report import OutageReport
from temporal_slo.errors import PartError
from temporal_slo.servers.alertmanager import Notice, Webhook
from temporal_slo.servers.process import until

from .reference.services_process import ServicesUnderTest, running_services

SPECS = Path(__file__).parents[1] / "deploy" / "slos"


def notice(slo: str, tier: str, *, resolved: bool = False) -> Notice:
    """A notification about one tier of one SLO."""
    labels = {names.SLO: slo, names.TIER: tier, names.SEVERITY: tier.partition("-")[0]}
    return Notice("/page", resolved, labels, {"summary": f"{slo} burns", "description": "Badly."}, 0, 0)


@pytest.fixture
def webhook() -> Iterator[Webhook]:
    """A webhook that only the test notifies."""
    with Webhook() as webhook:
        yield webhook


@pytest.fixture
async def services(tmp_path: Path) -> AsyncIterator[ServicesUnderTest]:
    """Services that only the demo's outage calls."""
    async with running_services(tmp_path) as services:
        yield services


async def faults(services: ServicesUnderTest) -> list[str]:
    """Return the names of the active faults."""
    return [fault["name"] for fault in (await services.http.get("/faults")).json()["faults"]]


async def test_outage_report(services: ServicesUnderTest, webhook: Webhook) -> None:
    """The fault lasts until the quickest tier pages; the report, until all pages of that tier are resolved."""
    lines: list[str] = []
    planned = outage(Chaos.PAYMENTS_DOWN, SPECS, services.url, webhook)
    running = asyncio.ensure_future(OutageReport(planned, time.monotonic(), lines.append, healthy_for=0).run())

    async def prints(count: int, *notices: Notice) -> list[str]:
        """Send *notices* to the webhook, and return the lines that are printed then."""
        before = len(lines)
        webhook.notices += notices

        async def enough() -> bool:
            return len(lines) >= before + count

        await until(enough, deadline=10, what=f"{count} lines")
        return [line[10:].partition(".")[0] for line in lines[before:]]

    assert (await prints(1))[0].startswith("FAULT    payments-down")
    assert await prints(1, notice("a", "page-slow")) == ["PAGE     a burns (page-slow)"]
    assert await faults(services) == ["payments-down"]
    page, over = await prints(2, notice("a", "page-quick"))
    assert (page, over[:8]) == ("PAGE     a burns (page-quick)", "FIXED   ")
    assert await faults(services) == []
    assert await prints(1, notice("b", "page-quick")) == ["PAGE     b burns (page-quick)"]
    assert await prints(1, notice("a", "page-quick", resolved=True)) == ["RESOLVED a burns (page-quick)"]
    assert not running.done()
    _, note = await prints(2, notice("b", "page-quick", resolved=True))
    assert note.startswith("NOTE     slower tiers")
    await running


async def test_services_down(tmp_path: Path, webhook: Webhook) -> None:
    """If the services do not accept the fault, the demo names them."""
    async with running_services(tmp_path) as services:
        planned = outage(Chaos.PAYMENTS_DOWN, SPECS, services.url, webhook)
    with pytest.raises(PartError, match="services: fault payments-down: PUT failed"):
        await planned.begin()
