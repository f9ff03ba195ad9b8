"""Failing payments page somebody: every server is real, every file is generated."""

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

from .paging import Pager, firing_since, paging, scaled_spec

ROOT = Path(__file__).parents[2]
SPEC = ROOT / "deploy" / "slos" / "volteryde.yaml"
DOWN = "TemporalSloExporterDown"
FACTOR = 30
"""Divisor of every window, period and waiting time in the small size: 5m and 1h become 10s and 2m."""
LAG = 3.0
"""Maximum seconds from the close of a booking until Prometheus has it; rule evaluation adds up to 30 s."""
TOLERANCE = 0.1


@pytest.mark.sized
@pytest.mark.timeout(2400)
async def test_page(temporal: Temporal, programs: dict[str, Path], tmp_path: Path, *, full_size: bool) -> None:
    """Failing payments page with correct labels, links and numbers; a killed exporter fires only its own alert."""
    factor = 1 if full_size else FACTOR
    namespace = TEMPORAL_NAMESPACE if full_size else "paging"
    spec = SPEC
    if not full_size:
        spec = tmp_path / "spec.yaml"
        spec.write_text(scaled_spec(SPEC.read_text(), factor).replace(TEMPORAL_NAMESPACE, namespace))
    client = await temporal.namespace(namespace)
    deadline = 60 + 900 / factor
    async with paging(tmp_path, programs, client, spec, address=temporal.address, factor=factor) as pager:
        start = time.monotonic()
        # As long as the short window, which then contains nothing else.
        await asyncio.sleep(300 / factor)
        assert [*pager.webhook.notices] == []
        down = time.time()
        pager.payments(down=True)
        page = await pager.alert(is_quick, deadline, "a page")
        report(f"paged {page.received - down:.1f} s after payments went down: {page.annotations['description']}")
        check_labels(page, namespace)
        await check_error_ratio(pager, page, LAG + 30 / factor)
        await check_links(pager, page, down)
        up = time.time()
        pager.payments(down=False)
        resolved = await pager.alert(
            lambda notice: notice.resolved and notice.labels == page.labels, deadline, "its resolution"
        )
        report(f"resolved {resolved.received - up:.1f} s after payments were up again")
        killed = time.time()
        pager.exporter.kill()
        exporter_down = await pager.alert(lambda notice: notice.labels["alertname"] == DOWN, deadline, DOWN)
        report(f"{DOWN} {exporter_down.received - killed:.1f} s after the exporter was killed")
        assert exporter_down.path == "/page"
        assert exporter_down.labels[names.NAMESPACE] == namespace
        assert exporter_down.labels[names.SEVERITY] == "page"
        assert {notice.labels["alertname"] for notice in firing_since(pager.webhook.notices, killed)} == {DOWN}
        report(f"{time.monotonic() - start:.0f} s in total, durations divided by {factor}")


def is_quick(notice: Notice) -> bool:
    """Return whether it is of the quickest tier of the failing SLO; alerts of slower tiers may arrive earlier."""
    return notice.labels.get(names.SLO) == "booking-success" and notice.labels.get(names.TIER) == "page-quick"


def report(line: str) -> None:
    """Print a measurement."""
    print(f"page: {line}")


def check_labels(page: Notice, namespace: str) -> None:
    """Check alert name, SLO, service, namespace, severity, tier and owner."""
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


async def check_error_ratio(pager: Pager, page: Notice, lag: float) -> None:
    """The error ratio in its text is that of the bookings in its short window, between firing and arrival."""
    found = re.search(r"Over (\w+), ([\d.]+)% of events were bad", page.annotations["description"])
    assert found
    window, ratio = parse_duration(found[1]), float(found[2]) / 100
    assert window == parse_duration(page.labels[names.SHORT])
    at_least = await pager.failing(page.starts_at - lag, window)
    at_most = await pager.failing(page.received, window)
    report(f"error ratio in the text {ratio:.3f}, by Temporal {at_least:.3f} to {at_most:.3f}")
    assert at_least - TOLERANCE <= ratio <= at_most + TOLERANCE


async def check_links(pager: Pager, page: Notice, down: float) -> None:
    """Its query and its command find every failed booking; its other links are valid."""
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
    """Run the command of an alert against this server and return the run ids that it lists."""
    words = shlex.split(command)
    assert words[:3] == ["temporal", "workflow", "list"]
    options = ["--address", address, "--output", "json"]
    done = subprocess.run(
        [tools.temporal(), *words[1:], *options], capture_output=True, text=True, timeout=60, check=True
    )
    return {run["execution"]["runId"] for run in json.loads(done.stdout)}
