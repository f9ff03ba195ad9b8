"""The story that the demo tells of an outage, by what a webhook gets."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from temporal_slo import names
from temporal_slo.demo.alerting import outage
from temporal_slo.demo.story import Story
from temporal_slo.reference.services.faults import Chaos
from temporal_slo.servers.alertmanager import Notice, Webhook
from temporal_slo.servers.process import until

SPECS = Path(__file__).parents[1] / "deploy" / "slos"


def notice(slo: str, tier: str, *, resolved: bool = False) -> Notice:
    """What Alertmanager tells of one tier of one SLO."""
    labels = {names.SLO: slo, names.TIER: tier, names.SEVERITY: tier.partition("-")[0]}
    return Notice("/page", resolved, labels, {"summary": f"{slo} burns", "description": "Badly."}, 0, 0)


@pytest.fixture
def webhook() -> Iterator[Webhook]:
    """A webhook that nobody but the test tells anything."""
    with Webhook() as webhook:
        yield webhook


async def test_story(tmp_path: Path, webhook: Webhook) -> None:
    """Chaos lasts until the quickest tier pages; the story, until all its pages are resolved, whatever else burns."""
    lines: list[str] = []
    planned = outage(Chaos.PAYMENTS_DOWN, SPECS, tmp_path, webhook)
    told = asyncio.ensure_future(Story(planned, time.monotonic(), lines.append, well_for=0).tell())

    async def says(count: int, *notices: Notice) -> list[str]:
        """Let the webhook get *notices*, and return what the story then says in so many lines."""
        begun = len(lines)
        webhook.notices += notices

        async def enough() -> bool:
            return len(lines) >= begun + count

        await until(enough, deadline=10, what=f"{count} lines")
        return [line[10:].partition(".")[0] for line in lines[begun:]]

    assert (await says(1))[0].startswith("CHAOS    payments-down")
    assert await says(1, notice("a", "page-slow")) == ["PAGE     a burns (page-slow)"]
    assert planned.file.read_text() == "payments-down"
    page, over = await says(2, notice("a", "page-quick"))
    assert (page, over[:8]) == ("PAGE     a burns (page-quick)", "WELL    ")
    assert not planned.file.exists()
    assert await says(1, notice("b", "page-quick")) == ["PAGE     b burns (page-quick)"]
    assert await says(1, notice("a", "page-quick", resolved=True)) == ["RESOLVED a burns (page-quick)"]
    assert not told.done()
    _, note = await says(2, notice("b", "page-quick", resolved=True))
    assert note.startswith("NOTE     slower tiers")
    await told
