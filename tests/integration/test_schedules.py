"""Schedules that are really paused, late, or leave actions out, on real Temporal servers."""

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
"""Actions, and requests for them, that a schedule of an ordinary server holds."""

NAMESPACE: Final = "schedules"
Figures = dict[tuple[names.Family, str], float]


@dataclass
class Watched:
    """A namespace whose schedules are read."""

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
        """Make a schedule that acts *every* so many seconds, with the smallest catch-up window there is."""
        schedule = Schedule(
            action=ScheduleActionStartWorkflow("Unattended", id=f"workflow-{name}", task_queue="nobody"),
            spec=ScheduleSpec(intervals=[ScheduleIntervalSpec(every=timedelta(seconds=every))]),
            policy=SchedulePolicy(overlap=overlap, catchup_window=timedelta(seconds=10)),
            state=state or ScheduleState(),
        )
        return await self.client.create_schedule(name, schedule)

    async def figures(self) -> Figures:
        """Read once."""
        samples = await self.source.read(int(time.time() * SECOND))
        return {
            (family, labels.get(names.SCHEDULE_ID, "")): value
            for family, labels, value in samples
            if isinstance(value, int | float)
        }

    async def show(self, what: str, holds: Callable[[Figures], bool]) -> Figures:
        """Read until *holds* is true of what is read."""

        async def shown() -> Figures | None:
            figures = await self.figures()
            return figures if holds(figures) else None

        return await until(shown, deadline=60, what=what)


def above(value: float, family: names.Family, name: str) -> Callable[[Figures], bool]:
    """Return what tells whether a schedule's figure is above *value*."""
    return lambda figures: figures.get((family, name), value) > value


def shown_as(value: float, family: names.Family, name: str) -> Callable[[Figures], bool]:
    """Return what tells whether a schedule's figure is *value*."""
    return lambda figures: figures.get((family, name)) == value


@pytest.fixture
async def watched(temporal: Temporal) -> AsyncIterator[Watched]:
    """A namespace of the session's server, whose schedules go with the test."""
    client = await temporal.namespace(NAMESPACE)
    yield Watched(client)
    async for schedule in await client.list_schedules():
        await client.get_schedule_handle(schedule.id).delete()


@asynccontextmanager
async def server(folder: Path, *settings: str) -> AsyncIterator[Watched]:
    """The namespace `default` of a server of its own, which finds what an earlier one left in *folder*."""
    options = ["--headless", *(part for setting in settings for part in ("--dynamic-config-value", setting))]
    running = TemporalServer(folder, durable=True, options=options)
    try:
        client = await running.ready()
        await ensure_namespace(client, "default")
        yield Watched(client)
    finally:
        running.child.stop()


async def test_schedules(watched: Watched) -> None:
    """Pauses, overlaps, full buffers, ends and deletions of schedules show as what they are."""
    await watched.create("paused", 1, state=ScheduleState(paused=True))
    await watched.create("overlapping", 1)
    await watched.create("exhausted", 1, state=ScheduleState(limited_actions=True, remaining_actions=1))
    daily = await watched.create("daily", DAY)
    never = datetime(2020, 1, 1, 0, 0, 1, tzinfo=UTC)
    await daily.backfill(*[ScheduleBackfill(start_at=never, end_at=never)] * (BUFFER + 17))

    await watched.show("17 dropped actions", shown_as(17, names.SCHEDULE_BUFFER_DROPPED, "daily"))
    await watched.show("an action of the exhausted one", above(0, names.SCHEDULE_LAST_ACTION, "exhausted"))
    figures = await watched.show("skipped actions", above(1, names.SCHEDULE_OVERLAP_SKIPPED, "overlapping"))
    assert [figures[names.SCHEDULE_PAUSED, name] for name in ("paused", "overlapping", "daily")] == [1, 0, 0]
    assert abs(figures[names.SCHEDULE_LAST_ACTION, "overlapping"] - time.time()) < 60
    assert (names.SCHEDULE_LAST_ACTION, "paused") not in figures
    # The row of a paused schedule, and the time of the only action, lie in the past by now.
    for name in ("paused", "overlapping", "exhausted", "daily"):
        assert figures[names.SCHEDULE_OVERDUE, name] == 0
        assert figures[names.SCHEDULE_MISSED_CATCHUP, name] == 0

    await daily.delete()
    figures = await watched.show("a deletion", lambda figures: (names.SCHEDULE_PAUSED, "daily") not in figures)
    assert not [family for family, name in figures if name == "daily"]


async def test_pages(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    """Schedules of all pages are listed, and one that is gone or whose namespace is not known is told apart."""
    monkeypatch.setattr(schedules, "PAGE_SIZE", 2)
    for name in "cab":
        await watched.create(name, DAY)
    watched.source = Schedules(TemporalSchedules(Gateway(watched.client, NAMESPACE), None, None), limit=2)
    figures = await watched.show("3 schedules", shown_as(1, names.EXPORTER_SCHEDULES_OVER_LIMIT, ""))
    assert sorted(name for family, name in figures if family is names.SCHEDULE_PAUSED) == ["a", "b"]
    assert await TemporalSchedules(Gateway(watched.client, NAMESPACE), None, None).describe("never was") is None
    with pytest.raises(TemporalRequestError, match="NOT_FOUND"):
        await TemporalSchedules(Gateway(watched.client, "never-was"), None, None).describe("a")


async def test_buffered(watched: Watched) -> None:
    """An action that waits for the workflow before it is no overdue one, but shows."""
    await watched.create("waiting", 1, ScheduleOverlapPolicy.BUFFER_ONE)
    figures = await watched.show("a waiting action", shown_as(1, names.SCHEDULE_BUFFERED, "waiting"))
    assert figures[names.SCHEDULE_OVERDUE, "waiting"] == 0


async def test_outage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A schedule that the server does not run becomes overdue, though nobody describes it; then it has missed much."""
    monkeypatch.setattr(schedules, "DESCRIBE_SCHEDULE", replace(DESCRIBE_SCHEDULE, timeout=timedelta(seconds=1)))
    async with server(tmp_path) as watched:
        await watched.create("frequent", 1)
        await watched.create("paused", 1, state=ScheduleState(paused=True))
        await watched.show("an action", above(0, names.SCHEDULE_LAST_ACTION, "frequent"))
    stopped = time.time()
    async with server(tmp_path, "worker.perNamespaceWorkerCount=0") as watched:
        figures = await watched.show("an overdue schedule", above(11, names.SCHEDULE_OVERDUE, "frequent"))
        assert figures[names.SCHEDULE_OVERDUE, "frequent"] <= time.time() - stopped + 5
        assert figures[names.SCHEDULE_OVERDUE, "paused"] == 0
        assert figures[names.EXPORTER_SCHEDULES_UNDESCRIBED, ""] == 2
        assert (names.SCHEDULE_MISSED_CATCHUP, "frequent") not in figures
    async with server(tmp_path) as watched:
        figures = await watched.show("missed actions", above(0, names.SCHEDULE_MISSED_CATCHUP, "frequent"))
        figures = await watched.show("a schedule on time", shown_as(0, names.SCHEDULE_OVERDUE, "frequent"))
        assert figures[names.SCHEDULE_MISSED_CATCHUP, "paused"] == 0


async def test_other_scheduler(tmp_path: Path) -> None:
    """Schedules of the server's newer kind, without a workflow behind each, tell the same."""
    small = json.dumps({"MaxBufferSize": 3, "MinCatchupWindow": "10s", "MaxActionsPerExecution": 5, "IdleTime": "1h"})
    settings = ["history.enableChasm=true", "history.enableCHASMSchedulerCreation=true"]
    percent = "history.chasmSchedulerCreationRolloutPercent=100"
    async with server(tmp_path, *settings, percent, f"scheduler.tweakables={small}") as watched:
        await watched.create("paused", 1, state=ScheduleState(paused=True))
        await watched.create("overlapping", 1)
        await watched.create("buffering", 1, ScheduleOverlapPolicy.BUFFER_ALL)
        await watched.show("dropped actions", above(0, names.SCHEDULE_BUFFER_DROPPED, "buffering"))
        figures = await watched.show("skipped actions", above(0, names.SCHEDULE_OVERLAP_SKIPPED, "overlapping"))
        assert figures[names.SCHEDULE_PAUSED, "paused"] == 1
        assert figures[names.SCHEDULE_BUFFERED, "buffering"] > 0
        behind = "TemporalNamespaceDivision = 'TemporalScheduler' AND WorkflowType = 'temporal-sys-scheduler-workflow'"
        assert (await watched.client.count_workflows(behind)).count == 0
        await asyncio.gather(*(watched.client.get_schedule_handle(name).delete() for name in ("paused", "buffering")))
        await watched.show("deletions", lambda figures: (names.SCHEDULE_PAUSED, "paused") not in figures)
