"""The booking worker over services in memory, for programs that do not start the services yet."""

from typing import Final

from temporalio.client import Client
from temporalio.worker import Worker

from temporal_slo.reference.services.simulated import Services
from temporal_slo.reference.workflows.booking import TASK_QUEUE, BookRideWorkflow

MAX_CONCURRENT_ACTIVITIES: Final = 10
MAX_CONCURRENT_WORKFLOW_TASKS: Final = 10


def simulated_worker(
    client: Client,
    services: Services,
    *,
    task_queue: str = TASK_QUEUE,
    max_concurrent_activities: int = MAX_CONCURRENT_ACTIVITIES,
    max_concurrent_workflow_tasks: int = MAX_CONCURRENT_WORKFLOW_TASKS,
) -> Worker:
    """Return a worker; start it with `async with` or `run()`.

    Args:
        client: Client of the worker's namespace.
        services: Services that the activities call.
        task_queue: Task queue to poll.
        max_concurrent_activities: Maximum of concurrent activities.
        max_concurrent_workflow_tasks: Maximum of concurrent workflow tasks.
    """
    return Worker(
        client,
        task_queue=task_queue,
        workflows=[BookRideWorkflow],
        activities=services.activities,
        max_concurrent_activities=max_concurrent_activities,
        max_concurrent_workflow_tasks=max_concurrent_workflow_tasks,
    )
