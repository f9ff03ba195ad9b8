"""The source of figures about task queues: what waits there, for how long, and who takes it."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from temporal_slo import names
from temporal_slo.exporter.sources.source import Source
from temporal_slo.ledger.state import State
from temporal_slo.names.samples import Sample
from temporal_slo.spec.bound import BoundSlo, task_queues
from temporal_slo.temporal.task_queues import TASK_TYPES, WORKFLOW, TaskQueueInfo, TaskQueueRequests

QUEUES_MAX: Final = 100
"""Task queues that are watched; each costs two requests a reading."""

SERVED_MAX: Final = 1000
"""Task queues that are remembered because a worker told of them."""

PARTITION_PREFIX: Final = "/_sys/"
"""How the server names partitions, which it describes with their queue and not alone."""


class TaskQueues(Source):
    """Reads the task queues that the mirror knows, that the spec names, and that workers report.

    Temporal has no list of task queues. Those of workflows stand in the rows of visibility. One that serves nothing
    but activities is in none: it is known once a worker of it was listed, which takes a server of 1.32 or newer (or
    one that is told to), an SDK that reports its workers, and up to a minute. Each name is asked for workflow and for
    activity tasks.

    Args:
        requests: Answers.
        state: What the mirror knows.
        spec: Task queues of the spec: they come first.
        limit: How many are watched at most.
    """

    name: Final = "task_queues"

    def __init__(
        self, requests: TaskQueueRequests, state: State, spec: Sequence[str], *, limit: int = QUEUES_MAX
    ) -> None:
        self._requests = requests
        self._state = state
        self._spec = tuple(spec)
        self._limit = limit
        self._totals: Counter[str] = Counter()
        self._moved: dict[str, int] = {}
        # Remembered, for a queue that lost all its workers is the one to see.
        self._served: dict[str, None] = {}
        self._used: set[tuple[str, str]] = set()

    def apply_slos(self, slos: Sequence[BoundSlo]) -> None:
        """SourceRunner the task queues of *slos* first from the next read on."""
        self._spec = task_queues(slos)

    async def read(self, now: int) -> Iterable[Sample]:
        """Return the figures of every watched task queue.

        Tasks of a type that may not exist are left out until there is a sign of them, as a queue that does not exist
        has no pollers either: those of activities, and those of workflows where only a worker told of the queue.

        Raises:
            TemporalRequestError: A request failed.
        """
        self._learn(await self._requests.worker_task_queues())
        workflows = self._of_workflows(now)
        known = list(dict.fromkeys((*workflows, *self._served)))
        watched = known[: self._limit]
        samples = [Sample(names.EXPORTER_TASK_QUEUES_OVER_LIMIT, {}, len(known) - len(watched))]
        keys = [(queue, kind) for queue in watched for kind in TASK_TYPES]
        certain = {(queue, WORKFLOW) for queue in workflows}
        self._used.intersection_update(keys)
        for queue, kind in keys:
            facts = await self._requests.describe(queue, kind)
            if facts.in_use:
                self._used.add((queue, kind))
            if (queue, kind) in certain or (queue, kind) in self._used:
                samples += _samples({names.TASK_QUEUE: queue, names.TASK_TYPE: kind}, facts)
        return samples

    def _learn(self, served: Iterable[str]) -> None:
        free = SERVED_MAX - len(self._served)
        self._served.update(dict.fromkeys(sorted(_usable(served) - self._served.keys())[:free]))

    def _of_workflows(self, now: int) -> list[str]:
        """Return those of workflows, in this order: of the spec, with many open runs, with a start or close of late."""
        started, closed = self._state.started.items(), self._state.closed.items()
        totals = Counter[str]()
        for queue, count in (
            *((key.task_queue, count) for key, count in started),
            *((key.task_queue, histogram.count) for key, histogram in closed),
        ):
            totals[queue] += count
        self._moved.update((queue, now) for queue, count in totals.items() if count != self._totals.get(queue))
        self._totals = totals
        running = Counter(run.key.task_queue for run in self._state.open.values())
        found = _usable((*totals, *running))
        ranked = sorted(found, key=lambda queue: (-running[queue], -self._moved.get(queue, 0), queue))
        return list(dict.fromkeys((*self._spec, *ranked)))


def _usable(queues: Iterable[str]) -> set[str]:
    return {queue for queue in queues if queue and not queue.startswith(PARTITION_PREFIX)}


def _samples(labels: dict[str, str], facts: TaskQueueInfo) -> Iterator[Sample]:
    yield Sample(names.TASK_QUEUE_POLLERS, labels, facts.pollers)
    if facts.last_poll is not None:
        yield Sample(names.TASK_QUEUE_LAST_POLL, labels, facts.last_poll)
    if facts.backlog:
        yield Sample(names.TASK_QUEUE_BACKLOG, labels, facts.backlog.tasks)
        yield Sample(names.TASK_QUEUE_BACKLOG_AGE, labels, facts.backlog.age)
        yield Sample(names.TASK_QUEUE_ADDED, labels, facts.backlog.added)
        yield Sample(names.TASK_QUEUE_DISPATCHED, labels, facts.backlog.dispatched)
