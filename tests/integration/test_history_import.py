"""Error budgets in a new Prometheus after the import of a history export: right immediately, and later too."""

import random
import re
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from sqlalchemy import create_engine

from temporal_slo import names
from temporal_slo.exporter.history_export.openmetrics_file import PROMTOOL_OPTION
from temporal_slo.generate.artefacts import render
from temporal_slo.generate.files import SUFFIX, write
from temporal_slo.generate.links import Links
from temporal_slo.ledger import slo_events
from temporal_slo.ledger.slo_events import Events
from temporal_slo.runs.microseconds import HOUR, MINUTE, SECOND
from temporal_slo.servers.process import until
from temporal_slo.servers.prometheus import Prometheus
from temporal_slo.servers.tools import cli_command
from temporal_slo.spec.bound import BoundSlo
from temporal_slo.spec.burn import EVALUATION_INTERVAL
from temporal_slo.spec.load import load
from tests.bench.seeding import COLUMNS, NAMESPACE, TYPES, Site, seeded

from .exporter import Exporter

DAYS = 21
DAY = 24 * HOUR
STATUS = COLUMNS.index("status")
SPEC = f"""\
version: temporal-slo/v1
service: shop
temporal_namespace: {NAMESPACE}
owner: shop-team
period: 30d
slos:
- name: done
  workflow: [{", ".join(TYPES)}]
  objective: 87
  alerting: {{page: false, ticket: false}}
  sli: {{success: {{bad: [canceled]}}}}
- name: quick
  workflow: {TYPES[3]}
  objective: 61
  alerting: {{page: false, ticket: false}}
  sli: {{latency: {{threshold: 90s}}}}
"""
RATIO, LEFT = "slo:sli_error:ratio_rate30d", names.BUDGET_REMAINING
BUDGETS = re.compile(r"(- name: \S+/budget\n  interval:) \S+")
LIVE = {"small": 9, "full": 420}
"""Seconds during which runs close while Prometheus scrapes; at full size longer than the window of the rates."""


@pytest.mark.sized
async def test_budget_after_import(programs: dict[str, Path], tmp_path: Path, *, full_size: bool) -> None:
    """SLI and budget of 30 days equal the ledger's after the import, without a step where scraping starts."""
    (tmp_path / "spec.yaml").write_text(SPEC)
    specs = load([tmp_path / "spec.yaml"])
    write(tmp_path, render(specs, Links("http://b", "http://g", "http://w")))
    rules = [path for path in tmp_path.glob(f"*{SUFFIX}") if path.name.startswith("shop")]
    if not full_size:
        evaluate_every_second(rules)
    rows = 50_000 if full_size else 3_000
    newest = int((time.time() - 70) * SECOND)
    async with seeded(tmp_path / "server", rows, newest, DAYS * DAY // rows) as site:
        options = ("--backfill", "30d", "--spec", str(tmp_path / "spec.yaml"), "--visibility-rate", "50")
        exporter = await Exporter(tmp_path, site.server.address, NAMESPACE, *options).started()
        await exporter.becomes(names.BACKFILL_COMPLETE, 1)
        import_history(programs, tmp_path)
        targets, keep = {"temporal-slo": exporter.target}, ["--storage.tsdb.retention.time=60d"]
        prometheus = Prometheus(programs["prometheus"], tmp_path, targets, rules=rules, options=keep)
        try:
            await prometheus.ready()
            before = await compare(prometheus, tmp_path, specs.slos, "after import")
            await close_live_runs(site, LIVE["full" if full_size else "small"])
            # Runs that just closed stay in the window of the rates for five more minutes.
            if full_size:
                await drained(prometheus)
                after = await compare(prometheus, tmp_path, specs.slos, "later")
                assert after["done"] != before["done"]
            else:
                await no_step(prometheus, before)
        finally:
            await prometheus.close()
            prometheus.child.stop()
            await exporter.stop()


def import_history(programs: dict[str, Path], folder: Path) -> None:
    """Export the history, and create blocks from it for Prometheus."""
    text, ledger = folder / "history.txt", f"sqlite:///{folder / 'ledger.db'}"
    command = cli_command("history-export", "--openmetrics", str(text), "--ledger", ledger)
    command += ["--spec", str(folder / "spec.yaml"), "--label", "job=temporal-slo"]
    print(subprocess.run(command, check=True, capture_output=True, text=True, timeout=300).stdout)
    blocks = [str(programs["promtool"]), "tsdb", "create-blocks-from", PROMTOOL_OPTION, "openmetrics", str(text)]
    subprocess.run([*blocks, str(folder / "prometheus")], check=True, capture_output=True, timeout=600)


def evaluate_every_second(rules: list[Path]) -> None:
    """Evaluate budgets every second; the rates below keep their interval, by which their sums are multiplied."""
    for path in rules:
        text, budgets = BUDGETS.subn(r"\1 1s", path.read_text())
        assert budgets
        path.write_text(text)


def ledger_events(folder: Path, slos: Sequence[BoundSlo]) -> dict[str, Events]:
    """Return the events of each SLO in the ledger."""
    now, found = int(time.time() * SECOND), dict[str, Events]()
    with create_engine(f"sqlite:///{folder / 'ledger.db'}").connect() as connection:
        for slo in slos:
            events = slo_events.events(connection, slo, now - 30 * DAY, now + MINUTE)
            assert events
            found[slo.name] = events
    return found


async def compare(prometheus: Prometheus, folder: Path, slos: Sequence[BoundSlo], when: str) -> dict[str, float]:
    """Compare the values in Prometheus with the ledger's; return the error ratios."""
    ratios = dict[str, float]()
    for slo in slos:
        selector = f'{{slo="{slo.name}"}}'

        async def remaining(selector: str = selector) -> float | None:
            return await prometheus.value(f"{LEFT}{selector}")

        await until(remaining, deadline=90, what=f"a budget of {slo.name}")
        truth = ledger_events(folder, slos)[slo.name]
        ratio, left = await prometheus.value(f"{RATIO}{selector}"), await remaining()
        events = await prometheus.value(
            f"sum_over_time({names.EVENTS_RATE}5m{selector}[30d]) * {EVALUATION_INTERVAL.total_seconds():g}"
        )
        share = truth.bad / (truth.good + truth.bad)
        print(f"{when}: {slo.name}: {truth}, {share:.5f}; Prometheus {events:.1f}, {ratio:.5f}, budget left {left:.4f}")
        # Prometheus extrapolates live rates to the bounds of their window.
        assert events == pytest.approx(truth.good + truth.bad, rel=0.002)
        assert ratio == pytest.approx(share, abs=0.0005)
        assert left == pytest.approx(1 - share / float(slo.error_budget), abs=0.005)
        ratios[slo.name] = ratio or 0
    return ratios


async def close_live_runs(site: Site, seconds: float) -> None:
    """Close one run per second for that many seconds; a third of them are canceled."""
    chosen, start = random.Random(11), time.monotonic()  # noqa: S311 no secret
    added = 0

    async def finished() -> bool:
        nonlocal added
        if added < time.monotonic() - start:
            rows = list(site.closed(1, int(time.time() * SECOND)))
            site.add([(*row[:STATUS], 4 if chosen.random() < 1 / 3 else 2, *row[STATUS + 1 :]) for row in rows])
            added += 1
        return time.monotonic() - start > seconds

    await until(finished, deadline=seconds + 60, what="the end of the live runs")


async def drained(prometheus: Prometheus) -> None:
    """Wait until no run is in the 5-minute window any more."""

    async def idle() -> bool:
        return await prometheus.value(f'{names.EVENTS_RATE}5m{{slo="done"}}') == 0

    await until(idle, deadline=420, what="an idle window")


async def no_step(prometheus: Prometheus, before: dict[str, float]) -> None:
    """Require that the ratio changed at most by the live runs: nine among thousands."""

    async def recorded() -> bool:
        return bool(await prometheus.value(f'{names.EVENTS_RATE}5m{{slo="done"}} > 0'))

    await until(recorded, deadline=60, what="live events")
    for name, ratio in before.items():
        now = await prometheus.value(f'{RATIO}{{slo="{name}"}}')
        assert now == pytest.approx(ratio, abs=0.003)
