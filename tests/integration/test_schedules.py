"""Schedules that are paused, overdue or skip actions, on real Temporal servers."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import pytest
from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleBackfill,
    ScheduleHandle,
    ScheduleIntervalSpec,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleSpec,
    ScheduleState,
)

from temporal_slo import names
from temporal_slo.errors import TemporalRequestError
from temporal_slo.exporter.sources.schedules import Schedules
from temporal_slo.runs.microseconds import SECOND
from temporal_slo.servers.process import until
from temporal_slo.servers.temporal import TemporalServer, ensure_namespace
from temporal_slo.temporal import schedules
from temporal_slo.temporal.gateway import Gateway
from temporal_slo.temporal.rpc import DESCRIBE_SCHEDULE
from temporal_slo.temporal.schedules import TemporalSchedules
from tests.conftest import Temporal

DAY: Final = 86_400
BUFFER: Final = 1000
"""Default limit of buffered actions per schedule."""

NAMESPACE: Final = "schedules"
Values = dict[tuple[names.Family, str], float]


@dataclass
class MonitoredNamespace:
    """A namespace and the source of its schedules."""

    client: Client
    source: Schedules = field(init=False)

    def __post_init__(self) -> None:
        self.source = Schedules(TemporalSchedules(Gateway(self.client, self.client.namespace), None, None))

    async def create(
        self,
        name: str,
        every: int,
        overlap: ScheduleOverlapPolicy = ScheduleOverlapPolicy.SKIP,
        state: ScheduleState | None = None,
    ) -> ScheduleHandle:
        """Create a schedule with an action *every* so many seconds and the smallest possible catch-up window."""
        schedule = Schedule(
            action=ScheduleActionStartWorkflow("Unattended", id=f"workflow-{name}", task_queue="no-workers"),
            spec=ScheduleSpec(intervals=[ScheduleIntervalSpec(every=timedelta(seconds=every))]),
            policy=SchedulePolicy(overlap=overlap, catchup_window=timedelta(seconds=10)),
            state=state or ScheduleState(),
        )
        return await self.client.create_schedule(name, schedule)

    async def values(self) -> Values:
        """Read once and return the numeric values by family and schedule."""
        samples = await self.source.read(int(time.time() * SECOND))
        return {
            (family, labels.get(names.SCHEDULE_ID, "")): value
            for family, labels, value in samples
            if isinstance(value, int | float)
        }

    async def becomes(self, what: str, condition: Callable[[Values], bool]) -> Values:
        """Read until *condition* is true, and return the values."""

        async def met() -> Values | None:
            values = await self.values()
            return values if condition(values) else None

        return await until(met, deadline=60, what=what)


def above(value: float, family: names.Family, name: str) -> Callable[[Values], bool]:
    """Return the condition that a schedule's metric is above *value*."""
    return lambda values: values.get((family, name), value) > value


def equals(value: float, family: names.Family, name: str) -> Callable[[Values], bool]:
    """Return the condition that a schedule's metric is *value*."""
    return lambda values: values.get((family, name)) == value


@pytest.fixture
async def monitored(temporal: Temporal) -> AsyncIterator[MonitoredNamespace]:
    """A namespace of the session's server, whose schedules are deleted after the test."""
    client = await temporal.namespace(NAMESPACE)
    yield MonitoredNamespace(client)
    async for schedule in await client.list_schedules():
        await client.get_schedule_handle(schedule.id).delete()


@asynccontextmanager
async def server(folder: Path, *settings: str) -> AsyncIterator[MonitoredNamespace]:
    """The namespace `default` of a new server, which keeps its database in *folder*."""
    options = ["--headless", *(part for setting in settings for part in ("--dynamic-config-value", setting))]
    running = TemporalServer(folder, durable=True, options=options)
    try:
        client = await running.ready()
        await ensure_namespace(client, "default")
        yield MonitoredNamespace(client)
    finally:
        running.child.stop()


async def test_schedules(monitored: MonitoredNamespace) -> None:
    """Paused, overlapping, full, exhausted and deleted schedules are reported as such."""
    await monitored.create("paused", 1, state=ScheduleState(paused=True))
    await monitored.create("overlapping", 1)
    await monitored.create("exhausted", 1, state=ScheduleState(limited_actions=True, remaining_actions=1))
    daily = await monitored.create("daily", DAY)
    never = datetime(2020, 1, 1, 0, 0, 1, tzinfo=UTC)
    await daily.backfill(*[ScheduleBackfill(start_at=never, end_at=never)] * (BUFFER + 17))

    await monitored.becomes("17 dropped actions", equals(17, names.SCHEDULE_BUFFER_DROPPED, "daily"))
    await monitored.becomes("an action of the exhausted one", above(0, names.SCHEDULE_LAST_ACTION, "exhausted"))
    values = await monitored.becomes("skipped actions", above(1, names.SCHEDULE_OVERLAP_SKIPPED, "overlapping"))
    assert [values[names.SCHEDULE_PAUSED, name] for name in ("paused", "overlapping", "daily")] == [1, 0, 0]
    assert abs(values[names.SCHEDULE_LAST_ACTION, "overlapping"] - time.time()) < 60
    assert (names.SCHEDULE_LAST_ACTION, "paused") not in values
    # The next action of the paused and of the exhausted schedule is in the past.
    for name in ("paused", "overlapping", "exhausted", "daily"):
        assert values[names.SCHEDULE_OVERDUE, name] == 0
        assert values[names.SCHEDULE_MISSED_CATCHUP, name] == 0

    await daily.delete()
    values = await monitored.becomes("a deletion", lambda values: (names.SCHEDULE_PAUSED, "daily") not in values)
    assert not [family for family, name in values if name == "daily"]


async def test_pages(monitored: MonitoredNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Schedules of all pages are listed; an unknown schedule is None, an unknown namespace is an error."""
    monkeypatch.setattr(schedules, "PAGE_SIZE", 2)
    for name in "cab":
        await monitored.create(name, DAY)
    monitored.source = Schedules(TemporalSchedules(Gateway(monitored.client, NAMESPACE), None, None), limit=2)
    values = await monitored.becomes("3 schedules", equals(1, names.EXPORTER_SCHEDULES_OVER_LIMIT, ""))
    assert sorted(name for family, name in values if family is names.SCHEDULE_PAUSED) == ["a", "b"]
    assert await TemporalSchedules(Gateway(monitored.client, NAMESPACE), None, None).describe("unknown") is None
    with pytest.raises(TemporalRequestError, match="NOT_FOUND"):
        await TemporalSchedules(Gateway(monitored.client, "no-such-namespace"), None, None).describe("a")


async def test_buffered(monitored: MonitoredNamespace) -> None:
    """An action that waits for the previous workflow is buffered, not overdue."""
    await monitored.create("waiting", 1, ScheduleOverlapPolicy.BUFFER_ONE)
    values = await monitored.becomes("a waiting action", equals(1, names.SCHEDULE_BUFFERED, "waiting"))
    assert values[names.SCHEDULE_OVERDUE, "waiting"] == 0


async def test_outage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A schedule that the server does not run is overdue, even if not described; later it has missed actions."""
    monkeypatch.setattr(schedules, "DESCRIBE_SCHEDULE", replace(DESCRIBE_SCHEDULE, timeout=timedelta(seconds=1)))
    async with server(tmp_path) as monitored:
        await monitored.create("frequent", 1)
        await monitored.create("paused", 1, state=ScheduleState(paused=True))
        await monitored.becomes("an action", above(0, names.SCHEDULE_LAST_ACTION, "frequent"))
    stopped = time.time()
    async with server(tmp_path, "worker.perNamespaceWorkerCount=0") as monitored:
        values = await monitored.becomes("an overdue schedule", above(11, names.SCHEDULE_OVERDUE, "frequent"))
        assert values[names.SCHEDULE_OVERDUE, "frequent"] <= time.time() - stopped + 5
        assert values[names.SCHEDULE_OVERDUE, "paused"] == 0
        assert values[names.EXPORTER_SCHEDULES_UNDESCRIBED, ""] == 2
        assert (names.SCHEDULE_MISSED_CATCHUP, "frequent") not in values
    async with server(tmp_path) as monitored:
        values = await monitored.becomes("missed actions", above(0, names.SCHEDULE_MISSED_CATCHUP, "frequent"))
        values = await monitored.becomes("a schedule on time", equals(0, names.SCHEDULE_OVERDUE, "frequent"))
        assert values[names.SCHEDULE_MISSED_CATCHUP, "paused"] == 0


async def test_chasm_scheduler(tmp_path: Path) -> None:
    """Schedules of the newer CHASM scheduler, which has no scheduler workflows, are reported the same way."""
    small = json.dumps({"MaxBufferSize": 3, "MinCatchupWindow": "10s", "MaxActionsPerExecution": 5, "IdleTime": "1h"})
    settings = ["history.enableChasm=true", "history.enableCHASMSchedulerCreation=true"]
    percent = "history.chasmSchedulerCreationRolloutPercent=100"
    async with server(tmp_path, *settings, percent, f"scheduler.tweakables={small}") as monitored:
        await monitored.create("paused", 1, state=ScheduleState(paused=True))
        await monitored.create("overlapping", 1)
        await monitored.create("buffering", 1, ScheduleOverlapPolicy.BUFFER_ALL)
        await monitored.becomes("dropped actions", above(0, names.SCHEDULE_BUFFER_DROPPED, "buffering"))
        values = await monitored.becomes("skipped actions", above(0, names.SCHEDULE_OVERLAP_SKIPPED, "overlapping"))
        assert values[names.SCHEDULE_PAUSED, "paused"] == 1
        assert values[names.SCHEDULE_BUFFERED, "buffering"] > 0
        query = "TemporalNamespaceDivision = 'TemporalScheduler' AND WorkflowType = 'temporal-sys-scheduler-workflow'"
        assert (await monitored.client.count_workflows(query)).count == 0
        await asyncio.gather(*(monitored.client.get_schedule_handle(name).delete() for name in ("paused", "buffering")))
        await monitored.becomes("deletions", lambda values: (names.SCHEDULE_PAUSED, "paused") not in values)
