"""What the exporter asks of task queues and of stuck workflow tasks, and the adapters that ask a real server."""

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
from temporal_slo.temporal.rate_limit import Budget
from temporal_slo.temporal.rpc import DESCRIBE_TASK_QUEUE, LIST_WORKERS

WORKERS_MAX: Final = 1000
"""Workers whose task queues are read, in one request."""

WORKFLOW: Final = "workflow"
ACTIVITY: Final = "activity"
TASK_TYPES: Final = {
    WORKFLOW: TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW,
    ACTIVITY: TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY,
}
"""The types of tasks that are watched; a task queue's name stands for a queue of each."""


@dataclass(frozen=True, slots=True)
class Backlog:
    """The tasks of a queue, as the server estimates them.

    Attributes:
        tasks: How many wait; without those in the queues of single workers, which exist beside it.
        age: Seconds that the oldest has waited; 0 if none waits.
        added: Tasks a second that came.
        dispatched: Tasks a second that workers took.
    """

    tasks: int
    age: float
    added: float
    dispatched: float


@dataclass(frozen=True, slots=True)
class QueueFacts:
    """What the server tells of a task queue and one type of tasks.

    Attributes:
        backlog: None if the server is too old to tell.
        pollers: Workers that asked for tasks in the last five minutes.
        last_poll: When one last did, Unix time in seconds; None if none did.
    """

    backlog: Backlog | None
    pollers: int
    last_poll: float | None

    @property
    def in_use(self) -> bool:
        """Whether there is any sign that someone adds tasks or takes them."""
        return bool(self.pollers or (self.backlog and (self.backlog.tasks or self.backlog.added)))


class QueueRequests(Protocol):
    """The task queues of one Temporal namespace. Both methods raise TemporalRequestError if there is no answer."""

    async def served(self) -> frozenset[str]:
        """Task queues of the workers that report themselves, as SDKs of late do once a minute."""
        ...

    async def describe(self, task_queue: str, task_type: str) -> QueueFacts:
        """Return what there is to tell of a task queue.

        Args:
            task_queue: Need not exist: the server cannot tell a queue without tasks and workers from none.
            task_type: One of TASK_TYPES.
        """
        ...


class TemporalQueues:
    """Task queues of a real server.

    A request costs about 2 ms there. It makes matching load every partition of a queue that nobody uses, and keeps them
    loaded as long as requests come more often than queues are unloaded (five minutes); it makes no pollers. The
    server answers with figures up to five seconds old.

    Args:
        gateway: Sends the requests.
        limiter: Rate limiter of all requests: one of their own, for no other kind of request shares their limit.
    """

    def __init__(self, gateway: Gateway, limiter: Budget | None) -> None:
        self._gateway = gateway
        self._limiter = limiter

    async def served(self) -> frozenset[str]:
        """Task queues of the workers that report themselves; none if the server keeps no list of them."""
        request = ListWorkersRequest(namespace=self._gateway.namespace, page_size=WORKERS_MAX)
        async with self._gateway.request(LIST_WORKERS, limiter=self._limiter) as send:
            try:
                response = await send(request)
            except RPCError as error:
                if error.status is RPCStatusCode.UNIMPLEMENTED:
                    return frozenset()
                raise
        return frozenset(worker.worker_heartbeat.task_queue for worker in response.workers_info)

    async def describe(self, task_queue: str, task_type: str) -> QueueFacts:
        """Return what there is to tell of a task queue."""
        request = DescribeTaskQueueRequest(
            namespace=self._gateway.namespace,
            task_queue=TaskQueue(name=task_queue),
            task_queue_type=TASK_TYPES[task_type],
            report_stats=True,
        )
        about = f"task queue {task_queue!r}: "
        response = await self._gateway.call(DESCRIBE_TASK_QUEUE, request, limiter=self._limiter, about=about)
        last = max((poller.last_access_time.ToMicroseconds() for poller in response.pollers), default=None)
        return QueueFacts(_backlog(response), len(response.pollers), None if last is None else last / 1_000_000)


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
