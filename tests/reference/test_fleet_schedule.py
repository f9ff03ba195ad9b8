import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from temporalio import activity
from temporalio.client import (
    Client,
    ScheduleActionExecutionStartWorkflow,
    ScheduleOverlapPolicy,
    ScheduleState,
    ScheduleUpdate,
    ScheduleUpdateInput,
    WorkflowFailureError,
    WorkflowHandle,
)
from temporalio.exceptions import ApplicationError
from temporalio.worker import Worker

from temporal_slo.errors import UsageError
from temporal_slo.reference.activities.fleet import FleetActivities
from temporal_slo.reference.activities.service_client import ServiceClient
from temporal_slo.reference.services.fleet import BUSES
from temporal_slo.reference.workers.fleet import SCHEDULE, create_schedule
from temporal_slo.reference.workflows.fleet import TASK_QUEUE, BusServiceRequest
from temporal_slo.reference.workflows.schedules import (
    BUSES_NOT_STARTED,
    START_BUS_SERVICE,
    OpenedManifests,
    OpenManifestsRequest,
    OpenManifestsWorkflow,
)
from temporal_slo.servers.process import until
from tests.conftest import Temporal

from .depot import DEADLINE, OPEN, QUICK, Depot, open_depot, worker_process
from .recorded import Recorder
from .services_process import running_services


@pytest.fixture
async def daily(temporal: Temporal, tmp_path: Path) -> AsyncIterator[Depot]:
    """A depot in a Temporal namespace of its own, on the task queue that the schedule uses."""
    client = await temporal.namespace(f"daily-{tmp_path.name.replace('_', '-')}")
    async with open_depot(client, tmp_path, TASK_QUEUE) as depot:
        yield depot


async def test_schedule_created_once(daily: Depot) -> None:
    """Workers that start at the same time or later create one daily schedule, which skips a run while one is open."""
    client = daily.client
    await asyncio.gather(*(create_schedule(client) for _ in range(4)))
    await create_schedule(client)
    described = await client.get_schedule_handle(SCHEDULE).describe()
    (interval,) = described.schedule.spec.intervals
    assert interval.every == timedelta(days=1)
    assert {action.time() for action in described.info.next_action_times} == {datetime.min.time()}
    assert described.schedule.policy.overlap is ScheduleOverlapPolicy.SKIP

    async def listed() -> list[str]:
        return [schedule.id async for schedule in await client.list_schedules()]

    assert await until(listed, deadline=DEADLINE, what="the schedule is listed") == [SCHEDULE]


async def test_schedule_changed_by_operator(daily: Depot) -> None:
    """A schedule that an operator has paused stays paused when a worker starts."""

    def paused(described: ScheduleUpdateInput) -> ScheduleUpdate:
        schedule = described.description.schedule
        return ScheduleUpdate(replace(schedule, state=ScheduleState(paused=True, note="bus strike")))

    await create_schedule(daily.client)
    handle = daily.client.get_schedule_handle(SCHEDULE)
    await handle.update(paused)
    await create_schedule(daily.client)
    assert (await handle.describe()).schedule.state.note == "bus strike"


async def test_schedule_refused(temporal: Temporal) -> None:
    """A schedule that Temporal refuses to create is a usage error that says where and why."""
    missing = Client(temporal.client.service_client, namespace="no-such-namespace")
    with pytest.raises(UsageError, match="schedule open-manifests in no-such-namespace"):
        await create_schedule(missing)


async def test_manifests_opened(daily: Depot, recorded: Recorder) -> None:
    """The schedule starts the bus service of every bus for the next day; triggered again, it starts none twice."""
    await create_schedule(daily.client)
    schedule = daily.client.get_schedule_handle(SCHEDULE)
    for number in (1, 2):
        await schedule.trigger()
        handle = await triggered(daily, number)
        opened = await handle.result()
        assert opened == OpenedManifests(day_after((await handle.describe()).start_time), list(BUSES))
    await daily.services.called(OPEN, times=len(BUSES))
    rows = daily.services.rows("SELECT bus_id FROM manifests WHERE service_date = ?", opened.service_date)
    assert sorted(row["bus_id"] for row in rows) == sorted(BUSES)
    assert len(await daily.services.calls(OPEN)) == len(BUSES)
    await recorded("schedules/manifests-opened", handle)


async def triggered(depot: Depot, number: int) -> WorkflowHandle[OpenManifestsWorkflow, OpenedManifests]:
    """Wait until the schedule has started this many workflows, and return the last one."""

    async def last() -> WorkflowHandle[OpenManifestsWorkflow, OpenedManifests] | None:
        actions = (await depot.client.get_schedule_handle(SCHEDULE).describe()).info.recent_actions
        if len(actions) < number:
            return None
        started = actions[-1].action
        assert isinstance(started, ScheduleActionExecutionStartWorkflow)
        return depot.client.get_workflow_handle_for(OpenManifestsWorkflow.run, started.workflow_id)

    return await until(last, deadline=DEADLINE, what="the schedule has started its workflow")


def day_after(time: datetime) -> str:
    """Return the date of the day after."""
    return (time + timedelta(days=1)).date().isoformat()


async def test_some_buses_not_started(depot: Depot, recorded: Recorder) -> None:
    """A bus service that cannot be started fails the daily workflow, which names the bus and has started all others."""
    attempts: list[str] = []

    @activity.defn(name=START_BUS_SERVICE)
    async def start_bus_service(request: BusServiceRequest) -> None:
        # Temporal itself has no reason to refuse one start out of twelve.
        attempts.append(request.bus.bus_id)
        if request.bus.bus_id == "bus-3":
            raise ApplicationError("flat tyre")

    queue = f"{depot.task_queue}-daily"
    async with (
        ServiceClient(depot.services.url) as services,
        Worker(
            depot.client,
            task_queue=queue,
            workflows=[OpenManifestsWorkflow],
            activities=[FleetActivities(services).list_buses, start_bus_service],
        ),
    ):
        with pytest.raises(WorkflowFailureError) as raised:
            await depot.client.execute_workflow(
                OpenManifestsWorkflow.run, OpenManifestsRequest(QUICK), id=queue, task_queue=queue
            )
    cause = raised.value.cause
    assert isinstance(cause, ApplicationError)
    assert cause.type == BUSES_NOT_STARTED
    assert cause.message.startswith("1 of 12 bus services of ")
    assert cause.message.endswith(" were not started: bus-3: flat tyre")
    assert sorted(attempts) == sorted([*BUSES, "bus-3"])
    await recorded("schedules/bus-not-started", depot.client.get_workflow_handle(queue))


async def test_worker_command(temporal: Temporal, tmp_path: Path) -> None:
    """`temporal-slo worker fleet` creates the schedule before it starts."""
    client = await temporal.namespace("fleet-command")
    async with running_services(tmp_path) as services:
        worker = worker_process(temporal, Depot(client, services, TASK_QUEUE), tmp_path)
        try:
            bus = await Depot(client, services, TASK_QUEUE).bus(-2, 1)
            await bus.start()
            await bus.handle.result()
            assert (await client.get_schedule_handle(SCHEDULE).describe()).id == SCHEDULE
        finally:
            worker.stop()
    assert worker.exit_code == 0
