"""Tracking: segments, attempts that resume, and buses that never arrive."""

import asyncio
import time
from pathlib import Path
from typing import Any

from temporal_slo.reference.activities.service_client import ServiceClient
from temporal_slo.reference.workers.fleet import fleet_worker
from temporal_slo.reference.workers.limits import DRAIN
from temporal_slo.reference.workflows.fleet import TASK_QUEUE, TRACK_POSITION, BusServiceResult, Tracking
from temporal_slo.runs.microseconds import MINUTE, SECOND
from temporal_slo.servers.process import until
from temporal_slo.spec.load import load
from tests.conftest import Temporal
from tests.exposed import exposed
from tests.integration.polling import polling
from tests.integration.test_overdue_minutes import all_visible

from .depot import DEADLINE, Bus, Depot, open_depot, scheduled, serving, worker_process
from .recorded import Recorder
from .services_process import running_services

LONG = Tracking(segment=600, interval=0.05, heartbeat_timeout=1)
SPEC = """
version: temporal-slo/v1
service: volteryde
temporal_namespace: fleet-overdue
owner: fleet-team
period: 30d
slos:
  - name: bus-not-stuck
    workflow: BusServiceWorkflow
    objective: 99.9
    sli: {overdue: {max_age: 5m}}
"""


async def test_segments(depot: Depot, recorded: Recorder) -> None:
    """A bus that travels long is tracked in segments, in runs of bounded history that carry the manifest along."""
    # The first run takes the booking; each segment needs about six events.
    bus = await depot.bus(departs_in=3, travels=4, tracking=Tracking(0.1, 0.02, 5), max_events=60)
    await bus.add("traveller")
    assert await bus.handle.result() == BusServiceResult("ARRIVED", 1)
    histories = await bus.histories()
    assert len(histories) > 2
    assert max(len(history.events) for history in histories) <= 60
    assert (await bus.manifest()).bookings == bus.recorded() == ["traveller"]
    later = [activity for history in histories[:-1] for activity in scheduled(history)]
    assert set(later) == {TRACK_POSITION}
    last, *_, first = await bus.runs()
    await recorded("fleet/continued-while-travelling", first)
    await recorded("fleet/arrived-in-a-later-run", last)


async def test_worker_killed(temporal: Temporal, tmp_path: Path, recorded: Recorder) -> None:
    """When the worker is killed while it tracks a bus, the next attempt resumes the segment from heartbeat details."""
    client = await temporal.namespace("fleet-killed")
    async with running_services(tmp_path) as services:
        depot = Depot(client, services, TASK_QUEUE)
        bus = await depot.bus(departs_in=-1, travels=600, tracking=LONG)
        await bus.start()
        worker = worker_process(temporal, depot, tmp_path)
        try:
            before = await heartbeat(bus, attempt=1, readings=5)
        finally:
            worker.kill()
        last = await heartbeat(bus, attempt=1, readings=5)
        async with serving(depot):
            after = await heartbeat(bus, attempt=2, readings=last["readings"] + 1)
            await bus.arrive()
    await recorded("fleet/worker-killed", bus.handle)
    assert after["until"] == last["until"] == before["until"]
    assert after["progress"] > last["progress"] > 0


async def heartbeat(bus: Bus, *, attempt: int, readings: int) -> dict[str, Any]:
    """Wait until an attempt of `trackPosition` has reported this many readings, and return its heartbeat details."""

    async def reported() -> dict[str, Any] | None:
        description = await bus.handle.describe()
        for pending in description.raw_description.pending_activities:
            if pending.activity_type.name == TRACK_POSITION and pending.attempt >= attempt:
                (details,) = await bus.depot.client.data_converter.decode(pending.heartbeat_details.payloads) or [{}]
                if details.get("readings", 0) >= readings:
                    return dict(details)
        return None

    return await until(reported, deadline=2 * DEADLINE, what=f"attempt {attempt} with {readings} readings")


async def test_worker_stopped(depot: Depot, recorded: Recorder) -> None:
    """A worker that stops ends the segment at once instead of using up the time to drain; another worker goes on."""
    alone = Depot(depot.client, depot.services)
    bus = await alone.bus(departs_in=-1, travels=4, tracking=LONG)
    async with ServiceClient(alone.services.url) as services:
        worker = fleet_worker(alone.client, services, task_queue=alone.task_queue)
        running = asyncio.ensure_future(worker.run())
        await bus.start()
        await heartbeat(bus, attempt=1, readings=2)
        stopped = time.monotonic()
        await worker.shutdown()
        await running
        assert time.monotonic() - stopped < DRAIN.total_seconds() / 3
    async with serving(alone):
        assert await bus.handle.result() == BusServiceResult("ARRIVED", 0)
    (history,) = await bus.histories()
    assert scheduled(history).count(TRACK_POSITION) == 2
    await recorded("fleet/worker-stopped", bus.handle)


async def test_overdue(temporal: Temporal, tmp_path: Path) -> None:
    """A bus that does not arrive makes minutes overdue of an SLO until it does; one that arrives makes none."""
    client = await temporal.namespace("fleet-overdue")
    (tmp_path / "slo.yaml").write_text(SPEC)
    async with open_depot(client, tmp_path) as depot, polling(tmp_path, temporal.connection("fleet-overdue")) as parts:
        parts.apply_slos(load([tmp_path / "slo.yaml"]).slos)
        now = int(time.time() * SECOND)
        await parts.mirror.poll(now)
        start = parts.mirror.state.positions["minutes"].position
        arriving, stuck = await depot.bus(-2, 1), await depot.bus(-2, 3600)
        await stuck.start()
        await (await arriving.start()).result()
        await tracked(stuck, segments=3)
        await all_visible(client, 1, 1)

        async def minutes(later: int) -> int:
            # The clock of the exporter is moved forward: at its own pace the test would take minutes.
            await parts.mirror.poll(start + (later + 1) * MINUTE)
            found = exposed(parts.mirror, now)
            assert found.observed_minutes == {"bus-not-stuck": later}
            return found.overdue_minutes["bus-not-stuck"]

        assert await minutes(4) == 0
        overdue = await minutes(10)
        assert overdue in {5, 6}
        assert await minutes(20) == overdue + 10
        await stuck.arrive()
        await all_visible(client, 0, 2)
        assert await minutes(30) == overdue + 10


async def tracked(bus: Bus, *, segments: int) -> None:
    """Wait until the bus is tracked in this segment of its way."""

    async def reached() -> bool:
        (history,) = await bus.histories()
        return scheduled(history).count(TRACK_POSITION) >= segments

    await until(reached, deadline=DEADLINE, what=f"segment {segments}")
