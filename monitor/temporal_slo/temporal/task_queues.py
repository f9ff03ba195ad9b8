"""Task queues: the protocol, and the adapter for a Temporal server."""

from dataclasses import dataclass
from typing import Final, Protocol

from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import (
    DescribeTaskQueueRequest,
    DescribeTaskQueueResponse,
    ListWorkersRequest,
)
from temporalio.service import RPCError, RPCStatusCode

from temporal_slo.temporal.gateway import Gateway
from temporal_slo.temporal.rate_limit import RateLimiter
from temporal_slo.temporal.rpc import DESCRIBE_TASK_QUEUE, LIST_WORKERS

WORKERS_MAX: Final = 1000
"""Workers listed, in one request."""

WORKFLOW: Final = "workflow"
ACTIVITY: Final = "activity"
TASK_TYPES: Final = {
    WORKFLOW: TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW,
    ACTIVITY: TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY,
}
"""The task types that are monitored; a task queue name has one queue of each."""


@dataclass(frozen=True, slots=True)
class Backlog:
    """The backlog of a task queue, as the server estimates it.

    Attributes:
        tasks: Tasks in the backlog, without those in the sticky queues of single workers.
        age: Age of the oldest task in seconds; 0 without tasks.
        added: Tasks added per second.
        dispatched: Tasks dispatched to workers per second.
    """

    tasks: int
    age: float
    added: float
    dispatched: float


@dataclass(frozen=True, slots=True)
class TaskQueueInfo:
    """A task queue of one task type.

    Attributes:
        backlog: The backlog; None if the server is too old to report it.
        pollers: Workers that polled in the last five minutes.
        last_poll: Time of the last poll, Unix time in seconds; None without pollers.
    """

    backlog: Backlog | None
    pollers: int
    last_poll: float | None

    @property
    def in_use(self) -> bool:
        """Whether tasks are added or workers poll."""
        return bool(self.pollers or (self.backlog and (self.backlog.tasks or self.backlog.added)))


class TaskQueueRequests(Protocol):
    """The task queues of one Temporal namespace. Both methods raise TemporalRequestError if the request fails."""

    async def worker_task_queues(self) -> frozenset[str]:
        """Return the task queues of the workers that send heartbeats, as recent SDKs do once a minute."""
        ...

    async def describe(self, task_queue: str, task_type: str) -> TaskQueueInfo:
        """Return the backlog and the pollers of a task queue.

        Args:
            task_queue: Need not exist: to the server a queue without tasks and workers is the same as none.
            task_type: One of TASK_TYPES.
        """
        ...


class TemporalTaskQueues:
    """Task queues from a Temporal server.

    A request takes a server about 2 ms. It makes the matching service load every partition of an unused queue, and
    keeps them loaded while requests come more often than queues are unloaded (five minutes). It adds no pollers. The
    values are up to five seconds old.

    Args:
        gateway: Sends the requests.
        limiter: Rate limiter of the requests, which share the server's limit with no others; None for no limit.
    """

    def __init__(self, gateway: Gateway, limiter: RateLimiter | None) -> None:
        self._gateway = gateway
        self._limiter = limiter

    async def worker_task_queues(self) -> frozenset[str]:
        """Return the task queues of the workers that send heartbeats; none if the server keeps no list of workers."""
        request = ListWorkersRequest(namespace=self._gateway.namespace, page_size=WORKERS_MAX)
        async with self._gateway.request(LIST_WORKERS, limiter=self._limiter) as send:
            try:
                response = await send(request)
            except RPCError as error:
                if error.status is RPCStatusCode.UNIMPLEMENTED:
                    return frozenset()
                raise
        return frozenset(worker.worker_heartbeat.task_queue for worker in response.workers_info)

    async def describe(self, task_queue: str, task_type: str) -> TaskQueueInfo:
        """Return the backlog and the pollers of a task queue."""
        request = DescribeTaskQueueRequest(
            namespace=self._gateway.namespace,
            task_queue=TaskQueue(name=task_queue),
            task_queue_type=TASK_TYPES[task_type],
            report_stats=True,
        )
        about = f"task queue {task_queue!r}: "
        response = await self._gateway.call(DESCRIBE_TASK_QUEUE, request, limiter=self._limiter, about=about)
        last = max((poller.last_access_time.ToMicroseconds() for poller in response.pollers), default=None)
        return TaskQueueInfo(_backlog(response), len(response.pollers), None if last is None else last / 1_000_000)


def _backlog(response: DescribeTaskQueueResponse) -> Backlog | None:
    if not response.HasField("stats"):
        return None
    stats = response.stats
    return Backlog(
        tasks=stats.approximate_backlog_count,
        age=stats.approximate_backlog_age.ToMicroseconds() / 1_000_000,
        added=stats.tasks_add_rate,
        dispatched=stats.tasks_dispatch_rate,
    )
