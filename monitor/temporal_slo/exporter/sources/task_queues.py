"""Data source of task queues: backlog, rates and pollers."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from temporal_slo import names
from temporal_slo.exporter.sources.source import Source
from temporal_slo.ledger.state import State
from temporal_slo.names.samples import Sample
from temporal_slo.names.values import OTHER
from temporal_slo.spec.bound import BoundSlo, task_queues
from temporal_slo.temporal.task_queues import TASK_TYPES, WORKFLOW, TaskQueueInfo, TaskQueueRequests

QUEUES_MAX: Final = 100
"""Task queues monitored; each costs two requests per read."""

WORKER_QUEUES_MAX: Final = 1000
"""Task queues reported by workers that are remembered."""

PARTITION_PREFIX: Final = "/_sys/"
"""Prefix of the server's names of partitions, which are part of the description of their task queue."""


class TaskQueues(Source):
    """Reads the task queues of workflow runs, of the SLO specs, and of workers.

    Temporal cannot list task queues. Task queues of workflows are in the rows of visibility. A task queue for
    activities only is known after a worker of it was listed, up to a minute after its start: this needs Temporal 1.32
    or newer (or a server configured to list workers) and an SDK that sends worker heartbeats. Each task queue is
    described for workflow tasks and for activity tasks.

    Args:
        requests: Describes task queues.
        state: Holds the runs by task queue.
        spec_queues: Task queues of the SLO specs, which come first.
        limit: Maximum number of monitored task queues.
    """

    name: Final = "task_queues"

    def __init__(
        self, requests: TaskQueueRequests, state: State, spec_queues: Sequence[str], *, limit: int = QUEUES_MAX
    ) -> None:
        self._requests = requests
        self._state = state
        self._spec_queues = tuple(spec_queues)
        self._limit = limit
        # Runs started and closed so far, and when that number last changed, in microseconds of Unix time.
        self._totals: Counter[str] = Counter()
        self._last_activity: dict[str, int] = {}
        # Kept when no worker reports them any more: a task queue that lost all its workers must stay visible.
        self._worker_queues: dict[str, None] = {}
        self._in_use: set[tuple[str, str]] = set()

    def apply_slos(self, slos: Sequence[BoundSlo]) -> None:
        """Put the task queues of *slos* first from the next read on."""
        self._spec_queues = task_queues(slos)

    async def read(self, now: int) -> Iterable[Sample]:
        """Return the samples of all monitored task queues.

        To the server a task queue that does not exist is one without pollers. Therefore activity tasks, and workflow
        tasks of a task queue known only from workers, are exposed after the first sign of use.

        Raises:
            TemporalRequestError: A request failed.
        """
        self._remember(await self._requests.worker_task_queues())
        workflow_queues = self._workflow_queues(now)
        known = list(dict.fromkeys((*workflow_queues, *self._worker_queues)))
        monitored = known[: self._limit]
        samples = [Sample(names.EXPORTER_TASK_QUEUES_OVER_LIMIT, {}, len(known) - len(monitored))]
        keys = [(queue, task_type) for queue in monitored for task_type in TASK_TYPES]
        exposed = {(queue, WORKFLOW) for queue in workflow_queues}
        self._in_use.intersection_update(keys)
        for queue, task_type in keys:
            info = await self._requests.describe(queue, task_type)
            if info.in_use:
                self._in_use.add((queue, task_type))
            if (queue, task_type) in exposed or (queue, task_type) in self._in_use:
                samples += _samples({names.TASK_QUEUE: queue, names.TASK_TYPE: task_type}, info)
        return samples

    def _remember(self, worker_queues: Iterable[str]) -> None:
        free = WORKER_QUEUES_MAX - len(self._worker_queues)
        self._worker_queues.update(
            dict.fromkeys(sorted(_describable(worker_queues) - self._worker_queues.keys())[:free])
        )

    def _workflow_queues(self, now: int) -> list[str]:
        """Return the task queues of workflows: those of the specs, then by open runs, then by last start or close."""
        started, closed = self._state.started.items(), self._state.closed.items()
        totals = Counter[str]()
        for queue, count in (
            *((key.task_queue, count) for key, count in started),
            *((key.task_queue, histogram.count) for key, histogram in closed),
        ):
            totals[queue] += count
        self._last_activity.update((queue, now) for queue, count in totals.items() if count != self._totals.get(queue))
        self._totals = totals
        running = Counter(run.key.task_queue for run in self._state.open.values())
        found = _describable((*totals, *running))
        ranked = sorted(found, key=lambda queue: (-running[queue], -self._last_activity.get(queue, 0), queue))
        return list(dict.fromkeys((*self._spec_queues, *ranked)))


def _describable(queues: Iterable[str]) -> set[str]:
    # `other` stands for task queues beyond the limit of labels.
    return {queue for queue in queues if queue not in {"", OTHER} and not queue.startswith(PARTITION_PREFIX)}


def _samples(labels: dict[str, str], info: TaskQueueInfo) -> Iterator[Sample]:
    yield Sample(names.TASK_QUEUE_POLLERS, labels, info.pollers)
    if info.last_poll is not None:
        yield Sample(names.TASK_QUEUE_LAST_POLL, labels, info.last_poll)
    if info.backlog:
        yield Sample(names.TASK_QUEUE_BACKLOG, labels, info.backlog.tasks)
        yield Sample(names.TASK_QUEUE_BACKLOG_AGE, labels, info.backlog.age)
        yield Sample(names.TASK_QUEUE_ADDED, labels, info.backlog.added)
        yield Sample(names.TASK_QUEUE_DISPATCHED, labels, info.backlog.dispatched)
