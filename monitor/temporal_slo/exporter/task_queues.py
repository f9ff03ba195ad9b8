"""The source of figures about task queues: what waits there, for how long, and who takes it."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from temporal_slo import names
from temporal_slo.exporter.queue_requests import TASK_TYPES, WORKFLOW, QueueFacts, QueueRequests
from temporal_slo.exporter.samples import Sample
from temporal_slo.exporter.state import State

QUEUES_MAX: Final = 100
"""Task queues that are watched; each costs two requests a reading."""

PARTITION_PREFIX: Final = "/_sys/"
"""How the server names partitions, which it describes with their queue and not alone."""


class TaskQueues:
    """Reads the task queues that the mirror knows, and those that are named.

    Temporal has no list of task queues. Those of workflows stand in the rows of visibility; one that serves nothing
    but activities is in none, so it must be named. Each is asked for workflow and for activity tasks.

    Args:
        requests: Answers.
        state: What the mirror knows.
        named: Task queues of the spec and of the settings: they come first.
        limit: How many are watched at most.
    """

    name: Final = "task_queues"

    def __init__(self, requests: QueueRequests, state: State, named: Sequence[str], *, limit: int = QUEUES_MAX) -> None:
        self._requests = requests
        self._state = state
        self._named = tuple(dict.fromkeys(named))
        self._limit = limit
        self._totals: Counter[str] = Counter()
        self._moved: dict[str, int] = {}
        self._used: set[tuple[str, str]] = set()

    async def read(self, now: int) -> Iterable[Sample]:
        """Return the figures of every watched task queue.

        Activity tasks are left out until there is a sign of them: most task queues have none, and a queue that does
        not exist has no pollers either. Workflow tasks of a watched queue there are, or have been.

        Raises:
            VisibilityError: A request failed.
        """
        known = self._known(now)
        watched = known[: self._limit]
        samples = [Sample(names.EXPORTER_TASK_QUEUES_LEFT_OUT, {}, len(known) - len(watched))]
        keys = [(queue, kind) for queue in watched for kind in TASK_TYPES]
        self._used.intersection_update(keys)
        for queue, kind in keys:
            facts = await self._requests.describe(queue, kind)
            if facts.in_use:
                self._used.add((queue, kind))
            if kind == WORKFLOW or (queue, kind) in self._used:
                samples += _samples({names.TASK_QUEUE: queue, names.TASK_TYPE: kind}, facts)
        return samples

    def _known(self, now: int) -> list[str]:
        """Return all task queues, those first that matter most: named, many open runs, a start or close of late."""
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
        found = (queue for queue in {*totals, *running} if queue and not queue.startswith(PARTITION_PREFIX))
        ranked = sorted(found, key=lambda queue: (-running[queue], -self._moved.get(queue, 0), queue))
        return list(dict.fromkeys((*self._named, *ranked)))


def _samples(labels: dict[str, str], facts: QueueFacts) -> Iterator[Sample]:
    yield Sample(names.TASK_QUEUE_POLLERS, labels, facts.pollers)
    if facts.last_poll is not None:
        yield Sample(names.TASK_QUEUE_LAST_POLL, labels, facts.last_poll)
    if facts.backlog:
        yield Sample(names.TASK_QUEUE_BACKLOG, labels, facts.backlog.tasks)
        yield Sample(names.TASK_QUEUE_BACKLOG_AGE, labels, facts.backlog.age)
        yield Sample(names.TASK_QUEUE_ADDED, labels, facts.backlog.added)
        yield Sample(names.TASK_QUEUE_DISPATCHED, labels, facts.backlog.dispatched)
