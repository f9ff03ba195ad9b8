"""Requests that are counted, and paced by a budget: decorators round the protocols, so that nobody else does either."""

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from temporalio.api.history.v1 import HistoryEvent

from temporal_slo.errors import TemporalRequestError
from temporal_slo.temporal.close_events import GET_HISTORY, History
from temporal_slo.temporal.pending_activities import DESCRIBE_WORKFLOW, PendingActivity, RunRequests
from temporal_slo.temporal.rate_limit import Budget
from temporal_slo.temporal.schedules import DESCRIBE_SCHEDULE, LIST_SCHEDULES, Described, SchedulePage, ScheduleRequests
from temporal_slo.temporal.task_problems import DESCRIBE_NAMESPACE, ProblemPage, ProblemRequests
from temporal_slo.temporal.task_queues import DESCRIBE_TASK_QUEUE, LIST_WORKERS, QueueFacts, QueueRequests
from temporal_slo.temporal.visibility import COUNT_WORKFLOWS, LIST_WORKFLOWS, Page, Visibility

Requests = Counter[tuple[str, str]]
"""Requests so far, by API and gRPC code of the answer."""


class PacedVisibility:
    """Visibility within a budget.

    Args:
        inner: Answers the requests.
        budget: Paces them.
        requests: Counts them.
        bulk: Lets every other request go ahead.
    """

    def __init__(self, inner: Visibility, budget: Budget, requests: Requests, *, bulk: bool = False) -> None:
        self._inner = inner
        self._budget = budget
        self._requests = requests
        self._bulk = bulk

    async def closed(self, size: int, token: bytes = b"", until: int | None = None) -> Page:
        """Closed runs, newest close first."""
        async with turn(LIST_WORKFLOWS, self._budget, self._requests, bulk=self._bulk):
            return await self._inner.closed(size, token, until)

    async def running(self, size: int, token: bytes = b"", *, paused: bool = False) -> Page:
        """Running runs, newest start first."""
        async with turn(LIST_WORKFLOWS, self._budget, self._requests, bulk=self._bulk):
            return await self._inner.running(size, token, paused=paused)

    async def count(self, since: int, until: int) -> int:
        """How many runs closed from *since* until before *until*."""
        async with turn(COUNT_WORKFLOWS, self._budget, self._requests, bulk=self._bulk):
            return await self._inner.count(since, until)


class PacedHistory:
    """History within a budget.

    Args:
        inner: Answers the requests.
        budget: Paces them.
        requests: Counts them.
        bulk: Lets every other request go ahead.
    """

    def __init__(self, inner: History, budget: Budget, requests: Requests, *, bulk: bool = False) -> None:
        self._inner = inner
        self._budget = budget
        self._requests = requests
        self._bulk = bulk

    async def close_event(self, workflow_id: str, run_id: str) -> HistoryEvent | None:
        """Return the event that closed a run; None if it is gone."""
        async with turn(GET_HISTORY, self._budget, self._requests, bulk=self._bulk):
            return await self._inner.close_event(workflow_id, run_id)


class PacedQueues:
    """Task queues within a budget: a small one of their own, for no other kind of request has their limit.

    Args:
        inner: Answers the requests.
        budget: Paces them.
        requests: Counts them.
    """

    def __init__(self, inner: QueueRequests, budget: Budget, requests: Requests) -> None:
        self._inner = inner
        self._budget = budget
        self._requests = requests

    async def served(self) -> frozenset[str]:
        """Task queues of the workers that report themselves."""
        async with turn(LIST_WORKERS, self._budget, self._requests):
            return await self._inner.served()

    async def describe(self, task_queue: str, task_type: str) -> QueueFacts:
        """Return what there is to tell of a task queue."""
        async with turn(DESCRIBE_TASK_QUEUE, self._budget, self._requests):
            return await self._inner.describe(task_queue, task_type)


class PacedProblems:
    """Stuck runs within the budget of visibility.

    Args:
        inner: Answers the requests.
        budget: Paces them.
        requests: Counts them.
    """

    def __init__(self, inner: ProblemRequests, budget: Budget, requests: Requests) -> None:
        self._inner = inner
        self._budget = budget
        self._requests = requests

    async def reported(self) -> bool:
        """Whether the server reports them at all."""
        async with turn(DESCRIBE_NAMESPACE, self._budget, self._requests):
            return await self._inner.reported()

    async def page(self, size: int, token: bytes = b"") -> ProblemPage:
        """A page of stuck runs."""
        async with turn(LIST_WORKFLOWS, self._budget, self._requests):
            return await self._inner.page(size, token)


@asynccontextmanager
async def turn(api: str, budget: Budget, requests: Requests, *, bulk: bool = False) -> AsyncIterator[None]:
    """Wait for a turn in *budget*, and count the one request that the body makes."""
    async with budget.slot(bulk=bulk):
        try:
            yield
        except TemporalRequestError as error:
            requests[api, error.code] += 1
            raise
        requests[api, "OK"] += 1


class PacedSchedules:
    """Schedules within budgets.

    Args:
        inner: Answers the requests.
        visibility: Paces lists, which share the server's limit of visibility requests.
        history: Paces descriptions, which do not.
        requests: Counts both.
    """

    def __init__(self, inner: ScheduleRequests, visibility: Budget, history: Budget, requests: Requests) -> None:
        self._inner = inner
        self._visibility = visibility
        self._history = history
        self._requests = requests

    async def page(self, token: bytes = b"") -> SchedulePage:
        """Return a page of all schedules."""
        async with turn(LIST_SCHEDULES, self._visibility, self._requests):
            return await self._inner.page(token)

    async def describe(self, schedule_id: str) -> Described | None:
        """Return what a schedule itself tells."""
        async with turn(DESCRIBE_SCHEDULE, self._history, self._requests):
            return await self._inner.describe(schedule_id)


class PacedRuns:
    """Runs within a budget.

    Args:
        inner: Answers the requests.
        budget: Paces them.
        requests: Counts them.
    """

    def __init__(self, inner: RunRequests, budget: Budget, requests: Requests) -> None:
        self._inner = inner
        self._budget = budget
        self._requests = requests

    async def activities(self, workflow_id: str, run_id: str) -> tuple[PendingActivity, ...]:
        """Return the pending activities of a run but for paused ones."""
        async with turn(DESCRIBE_WORKFLOW, self._budget, self._requests):
            return await self._inner.activities(workflow_id, run_id)
