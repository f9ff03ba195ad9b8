"""Error ratios on real servers while runs wait for their close event: overload, downtime, and an outage meanwhile."""

import asyncio
import itertools
import json
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pytest
from temporalio import workflow
from temporalio.client import Client, WorkflowFailureError
from temporalio.exceptions import ApplicationError
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from temporal_slo import names
from temporal_slo.cli.main import main
from temporal_slo.servers.process import free_port, until
from temporal_slo.servers.prometheus import Prometheus
from tests.conftest import Temporal

from .exporter import Exporter
from .paging import scaled_waiting_times

NAMESPACE: Final = "bias"
TRUE_RATIO: Final = 0.02
TOLERANCE: Final = 0.005
BURN_RATE: Final = 14.4
"""Burn rate of the fastest page, over an hour, which is longer than the test, and over five minutes."""
OBJECTIVE: Final = 0.99
FASTER: Final = 30
"""Factor by which the waiting times of the rules are divided."""


@dataclass(frozen=True)
class Size:
    """Size of the test.

    Attributes:
        rate: Runs that start in a second, if the machine can.
        history_rate: Requests for close events in a second: less than what runs need.
        phase: Runs that close in each situation.
        late: Seconds by which the page may come later than the textbook has it.
    """

    rate: float
    history_rate: float
    phase: int
    late: float


SMALL: Final = Size(rate=30, history_rate=12, phase=900, late=20)
FULL: Final = Size(rate=500, history_rate=50, phase=60_000, late=120)


@workflow.defn(name="BiasedRide")
class BiasedRide:
    """Completes with the status in its argument, or fails."""

    @workflow.run
    async def run(self, status: str) -> dict[str, str]:
        """Return a result with the status."""
        if status == "FAILED":
            raise ApplicationError("no", type="NoBus", non_retryable=True)
        return {"status": status}


def spec(folder: Path) -> Path:
    """Write a spec with one success SLO, and return its path."""
    slo = {
        "name": "rides",
        "workflow": "BiasedRide",
        "objective": f"{100 * OBJECTIVE:g}",
        "outcome": {"from": "status", "good": ["OK"], "bad": ["NO"]},
        "sli": {"success": {"bad": ["failed", "bad_outcome"]}},
    }
    about = {"version": "temporal-slo/v1", "service": "bias", "temporal_namespace": NAMESPACE, "owner": "tests"}
    # JSON is YAML.
    (folder / "spec.yaml").write_text(json.dumps({**about, "period": "30d", "slos": [slo]}))
    return folder / "spec.yaml"


@dataclass
class Load:
    """Starts runs at a rate, of which a part is bad in a fixed order: half of the bad ones fail.

    Attributes:
        bad_every: One run in so many is bad.
        closed: Time of each close, and whether the run was bad.
    """

    client: Client
    rate: float
    bad_every: int = round(1 / TRUE_RATIO)
    closed: deque[tuple[float, bool]] = field(default_factory=deque)

    async def run(self) -> None:
        """Start runs until cancelled."""
        slots, started = asyncio.Semaphore(100), time.monotonic()
        async with asyncio.TaskGroup() as tasks:
            for number in itertools.count(1):
                await asyncio.sleep(max(0.0, started + number / self.rate - time.monotonic()))
                await slots.acquire()
                tasks.create_task(self._one(number)).add_done_callback(lambda _: slots.release())

    async def _one(self, number: int) -> None:
        bad, kind = number % self.bad_every == 0, number // self.bad_every % 2
        status = ("FAILED" if kind else "NO") if bad else "OK"
        try:
            await self.client.execute_workflow("BiasedRide", status, id=f"ride-{number}", task_queue=NAMESPACE)
        except WorkflowFailureError:
            assert status == "FAILED"
        self.closed.append((time.time(), bad))

    def ratio(self) -> float:
        """Return the true error ratio of all runs so far."""
        return sum(bad for _, bad in self.closed) / len(self.closed)


@dataclass(frozen=True)
class Scene:
    """Running servers and load."""

    load: Load
    prometheus: Prometheus
    exporter: Callable[[], Exporter]
    restart: Callable[[], Awaitable[Exporter]]

    async def recorded(self) -> float | None:
        """Return the recorded error ratio of five minutes."""
        return await self.prometheus.value(f"{names.ERROR_RATIO}5m")

    async def pages(self) -> dict[frozenset[tuple[str, str]], float]:
        """Return how often a page was firing."""
        selector = f'ALERTS{{alertname="{names.ALERT_BURN}",alertstate="firing",{names.SEVERITY}="page"}}'
        return await self.prometheus.query(f"count_over_time({selector}[1h])")

    async def pending(self) -> float:
        """Return the number of runs that wait for their close event."""
        return await self.exporter().value(names.EXPORTER_PENDING_RUNS) or 0.0

    async def unbiased(self, runs: int) -> None:
        """Check the recorded ratio while so many runs close, and that nothing pages."""
        end, ratios = len(self.load.closed) + runs, list[float]()

        async def over() -> bool:
            # Too few runs have no ratio to compare with.
            if len(self.load.closed) >= 4 / TOLERANCE and (ratio := await self.recorded()) is not None:
                ratios.append(ratio)
            return len(self.load.closed) >= end

        await until(over, deadline=900, what=f"{runs} runs")
        print(f"recorded {min(ratios):.4f} to {max(ratios):.4f}, true {self.load.ratio():.4f}, {end} runs")
        assert all(abs(ratio - TRUE_RATIO) <= TOLERANCE for ratio in ratios)
        assert await self.pages() == {}


@asynccontextmanager
async def scene(temporal: Temporal, programs: dict[str, Path], folder: Path, size: Size) -> AsyncIterator[Scene]:
    """An exporter that can request fewer close events than the load needs, and Prometheus with generated rules."""
    client = await temporal.namespace(NAMESPACE)
    path, log = spec(folder), folder / "generate.log"
    with log.open("w") as output:
        assert main(["generate", str(path), "--out", str(folder / "alerts")], {}, output, output) == 0, log.read_text()
    for rules in (folder / "alerts").glob("*.rules.yaml"):
        rules.write_text(scaled_waiting_times(rules.read_text(), FASTER))
    port = free_port()

    def start() -> Exporter:
        options = ("--spec", str(path), "--history-rate", f"{size.history_rate:g}", "--visibility-rate", "20")
        return Exporter(folder, temporal.address, NAMESPACE, *options, port=port)

    exporter = start()

    async def restart() -> Exporter:
        nonlocal exporter
        await exporter.http.aclose()
        exporter = await start().started()
        return exporter

    prometheus = Prometheus(
        programs["prometheus"], folder, {"exporter": exporter.target}, rules=[folder / "alerts" / "*.rules.yaml"]
    )
    try:
        await exporter.started()
        await exporter.becomes(names.EXPORTER_UP, 1)
        await prometheus.ready()
        async with Worker(
            client, task_queue=NAMESPACE, workflows=[BiasedRide], workflow_runner=UnsandboxedWorkflowRunner()
        ):
            load = Load(client, size.rate)
            task = asyncio.create_task(load.run())
            try:
                yield Scene(load, prometheus, lambda: exporter, restart)
            finally:
                task.cancel()
                await asyncio.wait([task])
    except BaseException:
        print(exporter.child.tail(40))
        raise
    finally:
        prometheus.child.stop()
        await prometheus.close()
        await exporter.stop()


@pytest.mark.sized
@pytest.mark.timeout(1800)
async def test_unbiased_while_runs_wait(
    temporal: Temporal, programs: dict[str, Path], tmp_path: Path, *, full_size: bool
) -> None:
    """At a true 2 % the recorded ratio is within half a point, and nothing pages; an outage pages soon enough."""
    size = FULL if full_size else SMALL
    async with scene(temporal, programs, tmp_path, size) as running:
        load = running.load
        await running.unbiased(size.phase)
        assert await running.pending() > len(load.closed) / 10
        # Downtime: all that closes meanwhile is read at once, and waits.
        running.exporter().child.kill()
        closed = len(load.closed)
        await until(lambda: _closed(load, closed + size.phase / 2), deadline=600, what="runs during downtime")
        await running.restart()
        await running.exporter().becomes(names.EXPORTER_UP, 1)
        await running.unbiased(size.phase // 2)

        outage = time.time()
        load.bad_every = 2
        textbook = await _textbook(load)
        await until(lambda: _paged(running), deadline=size.late, what="a page")
        print(f"page {time.time() - outage:.0f} s into the outage, textbook {textbook - outage:.0f} s")


async def _textbook(load: Load) -> float:
    """Wait until the true error ratio of all runs exceeds the threshold of the fastest page, and return the time."""
    await until(lambda: _exceeds(load, BURN_RATE * (1 - OBJECTIVE)), deadline=900, what="the threshold")
    return time.time()


async def _paged(running: Scene) -> bool:
    return bool(await running.pages())


async def _closed(load: Load, runs: float) -> bool:
    return len(load.closed) > runs


async def _exceeds(load: Load, ratio: float) -> bool:
    return load.ratio() > ratio
