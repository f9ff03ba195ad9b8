"""Fakes of the protocols in `temporal_slo.temporal`, for tests without a Temporal server."""

import asyncio
import json
import sys
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from temporalio.api.history.v1 import HistoryEvent

from temporal_slo.errors import TemporalRequestError
from temporal_slo.names.values import PAUSED
from temporal_slo.runs.run import STATUS_NAMES, Run
from temporal_slo.temporal.pending_activities import PendingActivity
from temporal_slo.temporal.schedules import PAGE_SIZE as SCHEDULE_PAGE_SIZE
from temporal_slo.temporal.schedules import ListedSchedule, ScheduleDescription, SchedulePage
from temporal_slo.temporal.start_events import Start
from temporal_slo.temporal.task_problems import Problem, ProblemPage
from temporal_slo.temporal.task_queues import Backlog, TaskQueueInfo
from temporal_slo.temporal.visibility import PAGE_SIZE_MAX, Page

UNUSED_TASK_QUEUE: Final = TaskQueueInfo(Backlog(0, 0.0, 0.0, 0.0), 0, None)
"""A task queue without tasks and pollers."""


class FixedClock:
    """A clock that advances only on request; Unix time in seconds.

    Args:
        now: Initial time.
    """

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        """Return the time."""
        return self.now

    def forward(self, seconds: float) -> None:
        """Move the clock forward by *seconds*."""
        self.now += seconds


class FakeVisibility:
    """Visibility of the runs that a test adds, listed in the order and the pages of a Temporal server.

    Args:
        runs: Initial runs.
        page_limit: The largest page; a small one makes many pages of few runs.

    Attributes:
        runs: Runs by id.
        requests: Name of each request so far.
        errors: Raised by the next requests, in order; None for a request that succeeds.
        open_runs_first: Whether it lists open runs first, as PostgreSQL does.
    """

    open_runs_first = False

    def __init__(self, runs: Iterable[Run] = (), page_limit: int = PAGE_SIZE_MAX) -> None:
        self._page_limit = page_limit
        self.runs = {run.run_id: run for run in runs}
        self.requests: list[str] = []
        self.errors: deque[Exception | None] = deque()

    def put(self, *runs: Run) -> None:
        """Add runs, or replace those with the same id."""
        self.runs.update({run.run_id: run for run in runs})

    async def closed(self, size: int, token: bytes = b"", until: int | None = None) -> Page:
        """Return closed runs, newest close first, whatever their status."""
        self._record("closed" if until is None else "closed until")
        last = sys.maxsize if until is None else until
        rows = (run for run in self.runs.values() if 0 < run.close_time <= last)
        return _page(rows, _close_order, min(size, self._page_limit), token)

    async def closed_with(self, status: str, size: int, token: bytes = b"", until: int | None = None) -> Page:
        """Return closed runs of one status, newest close first."""
        self._record(f"closed with {status}")
        last = sys.maxsize if until is None else until
        name = STATUS_NAMES[status]
        rows = (run for run in self.runs.values() if run.status == name and 0 < run.close_time <= last)
        return _page(rows, _close_order, min(size, self._page_limit), token)

    async def passes_open_runs(self) -> bool:
        """Return whether it lists open runs first."""
        return self.open_runs_first

    async def running(self, size: int, token: bytes = b"", *, paused: bool = False) -> Page:
        """Return open runs, newest start first, whatever their status, but paused ones only on request."""
        self._record("running")
        rows = (run for run in self.runs.values() if not run.close_time and (paused or run.status != PAUSED))
        return _page(rows, lambda run: (run.start_time, run.run_id), min(size, self._page_limit), token)

    async def count(self, since: int, until: int) -> int:
        """Return the number of runs closed from *since* until before *until*, whatever their status."""
        self._record("count")
        return sum(since <= run.close_time < until for run in self.runs.values())

    def _record(self, request: str) -> None:
        self.requests.append(request)
        error = self.errors.popleft() if self.errors else None
        if error:
            raise error


class FakeCloseEvents:
    """Close events that a test adds.

    Args:
        default: Close event of the runs that are not in `events`; None if they do not exist.

    Attributes:
        events: Close events by run id: None for a run that does not exist, an error to raise it.
        permits: Each response takes one; None to respond at once.
        requests: Workflow id and run id of each request so far.
        responses: Number of requests that were responded to.
    """

    def __init__(self, default: HistoryEvent | None = None) -> None:
        self._default = default
        self.events: dict[str, HistoryEvent | TemporalRequestError | None] = {}
        self.permits: asyncio.Semaphore | None = None
        self.requests: list[tuple[str, str]] = []
        self.responses = 0

    async def close_event(self, workflow_id: str, run_id: str) -> HistoryEvent | None:
        """Return the event that closed a run; None if the run does not exist."""
        self.requests.append((workflow_id, run_id))
        if self.permits:
            await self.permits.acquire()
        self.responses += 1
        event = self.events.get(run_id, self._default)
        if isinstance(event, TemporalRequestError):
            raise event
        return event


class FakeStartEvents:
    """Start events that a test adds; all other runs do not exist.

    Attributes:
        starts: How runs started, by run id; an error to raise it.
        requests: Workflow id and run id of each request so far.
    """

    def __init__(self) -> None:
        self.starts: dict[str, Start | TemporalRequestError] = {}
        self.requests: list[tuple[str, str]] = []

    async def start(self, workflow_id: str, run_id: str) -> Start | None:
        """Return how a run started; None if the run does not exist."""
        self.requests.append((workflow_id, run_id))
        start = self.starts.get(run_id)
        if isinstance(start, TemporalRequestError):
            raise start
        return start


class FakeTaskQueues:
    """Task queues that a test adds; all others have no tasks and no pollers.

    Attributes:
        task_queues: Task queues by name and task type.
        with_workers: Names of the task queues whose workers send heartbeats.
        errors: Raised for these names.
        requests: Name and task type of each task queue described so far.
    """

    def __init__(self) -> None:
        self.task_queues: dict[tuple[str, str], TaskQueueInfo] = {}
        self.with_workers: frozenset[str] = frozenset()
        self.errors: dict[str, TemporalRequestError] = {}
        self.requests: list[tuple[str, str]] = []

    async def worker_task_queues(self) -> frozenset[str]:
        """Return the task queues of the workers that send heartbeats."""
        return self.with_workers

    async def describe(self, task_queue: str, task_type: str) -> TaskQueueInfo:
        """Return the backlog and the pollers of a task queue."""
        self.requests.append((task_queue, task_type))
        if error := self.errors.get(task_queue):
            raise error
        return self.task_queues.get((task_queue, task_type), UNUSED_TASK_QUEUE)


class FakeTaskProblems:
    """Pages of task problems that a test adds.

    Args:
        pages: The problems of each page.
        supported: Whether the server reports task problems.
        endless: Whether the last page is followed by the first, forever.

    Attributes:
        pages: The problems of each page.
        supported: Whether the server reports task problems.
        errors: Raised by the next pages, in order; None for a page that succeeds.
        requests: Size and token of each page requested so far.
        support_checks: How often `is_supported` was called.
    """

    def __init__(
        self, pages: Sequence[Sequence[Problem]] = (), *, supported: bool = True, endless: bool = False
    ) -> None:
        self.pages = pages
        self.supported = supported
        self._endless = endless
        self.errors: deque[TemporalRequestError | None] = deque()
        self.requests: list[tuple[int, bytes]] = []
        self.support_checks = 0

    async def is_supported(self) -> bool:
        """Return whether the server reports task problems."""
        self.support_checks += 1
        return self.supported

    async def page(self, size: int, token: bytes = b"") -> ProblemPage:
        """Return a page; the test decides its size, up to *size*."""
        self.requests.append((size, token))
        if error := self.errors.popleft() if self.errors else None:
            raise error
        number = int(token or b"0")
        more = self._endless or number + 1 < len(self.pages)
        problems = tuple(self.pages[number % len(self.pages)]) if self.pages else ()
        if len(problems) > size:
            raise ValueError(f"a page of {len(problems)} runs, at most {size} requested")
        return ProblemPage(problems, str(number + 1).encode() if more else b"")


class FakeSchedules:
    """Schedules that a test adds.

    Args:
        rows: Initial schedules.
        default: Description of the schedules that are not in `descriptions`; None if they do not exist.
        page_size: Schedules per page.

    Attributes:
        rows: Schedules by id, in the order of the list.
        descriptions: Descriptions by id; None for a schedule that does not exist.
        errors: Raised by the descriptions of these ids.
        list_error: Raised by every page; None for none.
        requests: Id of each schedule described so far.
    """

    def __init__(
        self,
        *rows: ListedSchedule,
        default: ScheduleDescription | None = None,
        page_size: int = SCHEDULE_PAGE_SIZE,
    ) -> None:
        self.rows = {row.schedule_id: row for row in rows}
        self.descriptions: dict[str, ScheduleDescription | None] = {}
        self.errors: dict[str, TemporalRequestError] = {}
        self.list_error: TemporalRequestError | None = None
        self.requests: list[str] = []
        self._default = default
        self._page_size = page_size

    async def page(self, token: bytes = b"") -> SchedulePage:
        """Return a page of all schedules."""
        if self.list_error:
            raise self.list_error
        start = int(token or b"0")
        end = start + self._page_size
        rows = tuple(self.rows.values())[start:end]
        return SchedulePage(rows, str(end).encode() if end < len(self.rows) else b"")

    async def describe(self, schedule_id: str) -> ScheduleDescription | None:
        """Return the state of a schedule; None if it does not exist."""
        self.requests.append(schedule_id)
        if error := self.errors.get(schedule_id):
            raise error
        return self.descriptions.get(schedule_id, self._default)


class FakePendingActivities:
    """Pending activities that a test adds; all other runs have none.

    Attributes:
        pending: Pending activities by run id.
        errors: Raised for these run ids.
        requests: Workflow id and run id of each request so far.
    """

    def __init__(self) -> None:
        self.pending: dict[str, tuple[PendingActivity, ...]] = {}
        self.errors: dict[str, TemporalRequestError] = {}
        self.requests: list[tuple[str, str]] = []

    async def activities(self, workflow_id: str, run_id: str) -> tuple[PendingActivity, ...]:
        """Return the pending activities of a run."""
        self.requests.append((workflow_id, run_id))
        if error := self.errors.get(run_id):
            raise error
        return self.pending.get(run_id, ())


def _close_order(run: Run) -> tuple[int | str, ...]:
    return run.close_time, run.start_time, run.run_id


def _page(rows: Iterable[Run], key: Callable[[Run], tuple[int | str, ...]], size: int, token: bytes) -> Page:
    # As on a server, the token is the sort key of the last row, so that rows may come and go between pages.
    after = tuple(json.loads(token)) if token else None
    ordered = sorted((run for run in rows if after is None or key(run) < after), key=key, reverse=True)
    page = tuple(ordered[:size])
    return Page(page, json.dumps(key(page[-1])).encode() if len(ordered) > size else b"")
