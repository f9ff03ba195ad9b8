"""The worker of the task queue `booking-tasks`: the booking workflow and its activities."""

from collections.abc import Sequence
from datetime import timedelta

from temporalio.client import Client
from temporalio.worker import Worker, WorkerDeploymentConfig

from temporal_slo.interceptor import SLOPlugin
from temporal_slo.reference.activities.booking import BookingActivities
from temporal_slo.reference.activities.service_client import ServiceClient
from temporal_slo.reference.workers.limits import DRAIN, MAX_CONCURRENT_ACTIVITIES, MAX_CONCURRENT_WORKFLOW_TASKS
from temporal_slo.reference.workflows import fleet
from temporal_slo.reference.workflows.booking import TASK_QUEUE, BookRideWorkflow


def booking_worker(
    client: Client,
    services: ServiceClient,
    *,
    task_queue: str = TASK_QUEUE,
    fleet_queue: str = fleet.TASK_QUEUE,
    max_concurrent_activities: int = MAX_CONCURRENT_ACTIVITIES,
    max_concurrent_workflow_tasks: int = MAX_CONCURRENT_WORKFLOW_TASKS,
    drain: timedelta = DRAIN,
    spec: Sequence[str] | None = None,
    deployment: WorkerDeploymentConfig | None = None,
) -> Worker:
    """Return a worker; start it with `async with` or `run()`.

    Args:
        client: Client of the worker's namespace.
        services: Client of the services that the activities call.
        task_queue: Task queue to poll.
        fleet_queue: Task queue of the bus workflows, which take the bookings.
        max_concurrent_activities: Maximum of concurrent activities.
        max_concurrent_workflow_tasks: Maximum of concurrent workflow tasks.
        drain: Time that running activities have to finish when the worker stops.
        spec: SLO spec files or directories, for latency objectives and outcomes; None for none.
        deployment: Version of the code that this worker runs; None for none.
    """
    activities = BookingActivities(services, client, fleet_queue)
    return Worker(
        client,
        task_queue=task_queue,
        workflows=[BookRideWorkflow],
        activities=[
            activities.reserve_seat,
            activities.release_seat,
            activities.process_payment,
            activities.refund_payment,
            activities.confirm_booking,
            activities.assign_to_manifest,
            activities.send_booking_confirmation,
        ],
        max_concurrent_activities=max_concurrent_activities,
        max_concurrent_workflow_tasks=max_concurrent_workflow_tasks,
        graceful_shutdown_timeout=drain,
        deployment_config=deployment,
        plugins=[SLOPlugin(spec=spec)],
    )
