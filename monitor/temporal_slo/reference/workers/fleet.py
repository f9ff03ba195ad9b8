"""The worker of the task queue `fleet-tasks`: bus services, their activities, and the schedule that starts them."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleAlreadyRunningError,
    ScheduleIntervalSpec,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleSpec,
)
from temporalio.service import RPCError
from temporalio.worker import Worker, WorkerDeploymentConfig

from temporal_slo.errors import UsageError
from temporal_slo.interceptor import SLOPlugin
from temporal_slo.reference.activities.fleet import FleetActivities
from temporal_slo.reference.activities.service_client import ServiceClient
from temporal_slo.reference.workers.limits import DRAIN, MAX_CONCURRENT_WORKFLOW_TASKS
from temporal_slo.reference.workflows.fleet import TASK_QUEUE, BusServiceWorkflow
from temporal_slo.reference.workflows.schedules import OpenManifestsRequest, OpenManifestsWorkflow

MAX_CONCURRENT_ACTIVITIES: Final = 100
"""More than in the other workers: `trackPosition` occupies a slot for as long as a bus travels, and does little."""

SCHEDULE: Final = "open-manifests"
DAY: Final = timedelta(days=1)


def fleet_worker(
    client: Client,
    services: ServiceClient,
    *,
    task_queue: str = TASK_QUEUE,
    max_concurrent_activities: int = MAX_CONCURRENT_ACTIVITIES,
    max_concurrent_workflow_tasks: int = MAX_CONCURRENT_WORKFLOW_TASKS,
    spec: Sequence[str] | None = None,
    deployment: WorkerDeploymentConfig | None = None,
) -> Worker:
    """Return a worker; start it with `async with` or `run()`.

    Args:
        client: Client of the worker's namespace.
        services: Client of the services that the activities call.
        task_queue: Task queue to poll.
        max_concurrent_activities: Maximum of concurrent activities: at least one per travelling bus, and some more.
        max_concurrent_workflow_tasks: Maximum of concurrent workflow tasks.
        spec: SLO spec files or directories, for latency objectives and outcomes; None for none.
        deployment: Version of the code that this worker runs; None for none.
    """
    activities = FleetActivities(services)
    return Worker(
        client,
        task_queue=task_queue,
        workflows=[BusServiceWorkflow, OpenManifestsWorkflow],
        activities=[
            activities.open_manifest,
            activities.add_to_manifest,
            activities.seal_manifest,
            activities.track_position,
            activities.list_buses,
            activities.start_bus_service,
        ],
        max_concurrent_activities=max_concurrent_activities,
        max_concurrent_workflow_tasks=max_concurrent_workflow_tasks,
        graceful_shutdown_timeout=DRAIN,
        deployment_config=deployment,
        plugins=[SLOPlugin(spec=spec)],
    )


async def create_schedule(client: Client, task_queue: str = TASK_QUEUE) -> None:
    """Create the schedule that starts the bus services of the next day, unless it exists.

    An existing schedule stays as it is, also if an operator has changed or paused it.

    Args:
        client: Client of the worker's namespace.
        task_queue: Task queue of the fleet worker.

    Raises:
        UsageError: Temporal refuses the schedule.
    """
    schedule = Schedule(
        ScheduleActionStartWorkflow(
            OpenManifestsWorkflow.run, OpenManifestsRequest(), id=SCHEDULE, task_queue=task_queue
        ),
        # At midnight UTC, when the first booking for the next day may come.
        ScheduleSpec(intervals=[ScheduleIntervalSpec(every=DAY)]),
        # A run that was missed for longer would start services that the next run starts as well.
        SchedulePolicy(overlap=ScheduleOverlapPolicy.SKIP, catchup_window=DAY),
    )
    try:
        await client.create_schedule(SCHEDULE, schedule)
    except ScheduleAlreadyRunningError:
        return
    except RPCError as error:
        raise UsageError(
            f"schedule {SCHEDULE} in {client.namespace}", str(error), "allow the worker to create schedules"
        ) from error
