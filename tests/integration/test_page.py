"""Payments fail, and whoever is on call is woken: every server is real, every file is generated."""

import asyncio
import json
import re
import shlex
import subprocess
import time
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from temporal_slo import names
from temporal_slo.durations import parse_duration
from temporal_slo.reference.workflows.booking import TEMPORAL_NAMESPACE
from temporal_slo.servers import tools
from temporal_slo.servers.alertmanager import Notice
from tests.conftest import Temporal

from .paging import Pager, paging, scaled, since

ROOT = Path(__file__).parents[2]
SPEC = ROOT / "deploy" / "slos" / "volteryde.yaml"
DOWN = "TemporalSloExporterDown"
FACTOR = 30
"""In the small size every window, period and waiting time is divided by it: 5m/1h are 10s/2m."""
LAG = 3.0
"""Seconds from the end of a booking until Prometheus has it; rules may be evaluated half a minute later."""
NEAR = 0.1


@pytest.mark.sized
@pytest.mark.timeout(2400)
async def test_page(temporal: Temporal, programs: dict[str, Path], tmp_path: Path, *, full_size: bool) -> None:
    """Failing payments page with true labels, links and numbers, and a dead exporter with its own alert alone."""
    factor = 1 if full_size else FACTOR
    namespace = TEMPORAL_NAMESPACE if full_size else "paging"
    spec = SPEC
    if not full_size:
        spec = tmp_path / "spec.yaml"
        spec.write_text(scaled(SPEC.read_text(), factor).replace(TEMPORAL_NAMESPACE, namespace))
    client = await temporal.namespace(namespace)
    patience = 60 + 900 / factor
    async with paging(tmp_path, programs, client, spec, address=temporal.address, factor=factor) as pager:
        began = time.monotonic()
        # As long as the short window: its share then tells of nothing else.
        await asyncio.sleep(300 / factor)
        assert [*pager.webhook.notices] == []
        down = time.time()
        pager.payments(down=True)
        page = await pager.told(is_quick, patience, "a page")
        told(f"paged {page.received - down:.1f} s after payments went down: {page.annotations['description']}")
        right_labels(page, namespace)
        await right_number(pager, page, LAG + 30 / factor)
        await right_runs(pager, page, down)
        up = time.time()
        pager.payments(down=False)
        over = await pager.told(lambda notice: notice.resolved and notice.labels == page.labels, patience, "its end")
        told(f"resolved {over.received - up:.1f} s after they were up again")
        killed = time.time()
        pager.exporter.kill()
        blind = await pager.told(lambda notice: notice.labels["alertname"] == DOWN, patience, DOWN)
        told(f"{DOWN} {blind.received - killed:.1f} s after the exporter was killed")
        assert (blind.path, blind.labels[names.NAMESPACE], blind.labels[names.SEVERITY]) == ("/page", namespace, "page")
        assert {notice.labels["alertname"] for notice in since(pager.webhook.notices, killed)} == {DOWN}
        told(f"{time.monotonic() - began:.0f} s in all, durations divided by {factor}")


def is_quick(notice: Notice) -> bool:
    """Whether it is of the quickest tier of the SLO that fails; slower ones may come before, and are then silenced."""
    return notice.labels.get(names.SLO) == "booking-success" and notice.labels.get(names.TIER) == "page-quick"


def told(what: str) -> None:
    """Print a figure."""
    print(f"page: {what}")


def right_labels(page: Notice, namespace: str) -> None:
    """It says what fails where, how urgent it is, and whose it is."""
    wanted = {
        "alertname": names.ALERT_BURN,
        names.SLO: "booking-success",
        names.SERVICE: "volteryde",
        names.NAMESPACE: namespace,
        names.SEVERITY: "page",
        names.TIER: "page-quick",
        names.OWNER: "bookings-team",
    }
    assert wanted.items() <= page.labels.items()
    assert page.path == "/page"
    assert not page.resolved


async def right_number(pager: Pager, page: Notice, lag: float) -> None:
    """The share in its text is that of the bookings which closed in its short window, between firing and coming."""
    found = re.search(r"Over (\w+), ([\d.]+)% of events were bad", page.annotations["description"])
    assert found
    window, share = parse_duration(found[1]), float(found[2]) / 100
    assert window == parse_duration(page.labels[names.SHORT])
    at_least = await pager.failing(page.starts_at - lag, window)
    at_most = await pager.failing(page.received, window)
    told(f"its text says {share:.3f}; of Temporal's bookings {at_least:.3f} to {at_most:.3f}")
    assert at_least - NEAR <= share <= at_most + NEAR


async def right_runs(pager: Pager, page: Notice, down: float) -> None:
    """Its query finds every failed booking, by the SDK and by the command as it stands; its other links lead on."""
    (query,) = parse_qs(urlsplit(page.annotations["executions_url"]).query)["query"]
    closed = await pager.closed(down, time.time())
    statuses = await pager.statuses(closed)
    failed = {run.run_id for run, status in zip(closed, statuses, strict=True) if status == "FAILED"}
    assert failed
    assert failed <= {run.run_id async for run in pager.client.list_workflows(query)}
    assert failed <= listed(page.annotations["executions_command"], pager.address)
    assert "var-slo=booking-success" in page.annotations["dashboard_url"]
    path, _, anchor = page.annotations["runbook_url"].partition("#")
    headings = re.findall(r"^#+ (\w+)$", (ROOT / path).read_text(), re.MULTILINE)
    assert anchor in {heading.lower() for heading in headings}


def listed(command: str, address: str) -> set[str]:
    """Run the command of an alert, for this server and in JSON, and return the runs that it lists."""
    words = shlex.split(command)
    assert words[:3] == ["temporal", "workflow", "list"]
    more = ["--address", address, "--output", "json"]
    done = subprocess.run([tools.temporal(), *words[1:], *more], capture_output=True, text=True, timeout=60, check=True)
    return {run["execution"]["runId"] for run in json.loads(done.stdout)}
