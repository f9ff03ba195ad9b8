"""Each run is counted once, whatever fails in visibility, the exporter and the ledger."""

import asyncio
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from temporalio.api.enums.v1 import RetryState
from temporalio.api.history.v1 import HistoryEvent, WorkflowExecutionFailedEventAttributes

from temporal_slo import names
from temporal_slo.errors import TemporalRequestError
from temporal_slo.exporter.classify.classifier import Classifier
from temporal_slo.exporter.classify.pending_runs import PendingRuns
from temporal_slo.exporter.mirror.mirror import Mirror
from temporal_slo.ledger.ledger import Ledger
from temporal_slo.ledger.state import State
from temporal_slo.runs.counted import RunningKey
from temporal_slo.runs.microseconds import SECOND
from temporal_slo.runs.run import Run
from temporal_slo.runs.status_groups import status_group
from temporal_slo.temporal.merged_visibility import MergedVisibility
from temporal_slo.testing import FakeCloseEvents, FakeVisibility
from tests.conftest import Databases
from tests.exposed import Exposed, Key, exposed
from tests.run_factory import BEGAN, close, running

STATUSES = ("completed", "failed", "timed_out", "canceled", "terminated", "continued_as_new", None)
# In memory if possible: thousands of commits would wait for a disk.
MEMORY = Path("/dev/shm")  # noqa: S108 tempfile creates the folders in it with safe names
FAST = MEMORY if MEMORY.is_dir() else None
RETRIED_EACH = 3
RETRIED = HistoryEvent(
    workflow_execution_failed_event_attributes=WorkflowExecutionFailedEventAttributes(
        retry_state=RetryState.RETRY_STATE_IN_PROGRESS
    )
)
UNAVAILABLE = TemporalRequestError("UNAVAILABLE", "connection refused")


@dataclass(frozen=True)
class Life:
    """The life of a run; times are in seconds.

    Attributes:
        start: When it starts.
        length: How long it runs.
        open_late: How late its open row becomes visible.
        close_late: How late its closed row becomes visible.
        status: Its status; None for an unknown one.
        skew: How far its close time is ahead of its close.
        stays_open: Whether it never closes.
        deleted: Whether retention deletes its row, long after it became visible.
    """

    start: int
    length: int
    open_late: int
    close_late: int
    status: str | None
    skew: int
    stays_open: bool
    deleted: bool


@dataclass(frozen=True)
class Step:
    """A poll.

    Attributes:
        wait: Seconds since the previous poll.
        fails_at: Number of the request that fails; None for none.
        killed: Whether the exporter is killed after it.
        pages: Pages of gaps that are ingested.
        history: Whether close events can be read; None if they are not requested.
    """

    wait: int
    fails_at: int | None = None
    killed: bool = False
    pages: int = 100
    history: bool | None = None


lives = st.builds(
    Life,
    start=st.integers(1, 300),
    length=st.integers(0, 200),
    open_late=st.integers(0, 170),
    close_late=st.integers(0, 170),
    status=st.sampled_from(STATUSES),
    skew=st.sampled_from([0, 0, 0, 0, 3, 600]),
    stays_open=st.booleans(),
    deleted=st.booleans(),
)
steps = st.builds(
    Step,
    wait=st.integers(1, 90),
    fails_at=st.none() | st.integers(0, 20),
    killed=st.booleans(),
    pages=st.integers(0, 6),
    history=st.none() | st.booleans(),
)


async def decode(*_: object) -> object:
    """Fail: no outcomes are read."""
    raise AssertionError


class World:
    """A server with these runs, and an exporter that polls, fails and is killed."""

    def __init__(self, ledger: str, lives: Sequence[Life], page_limit: int, *, merged: bool = False) -> None:
        self.ledger = Ledger(ledger)
        self.visibility = FakeVisibility(page_limit=page_limit)
        self.visibility.open_runs_first = merged
        self.lives = [(life, running(life.start, workflow_type=type_of(life))) for life in lives]
        self.now = 0
        self.history = FakeCloseEvents()
        self.seen: dict[Key, int] = {}
        self.start(State())

    def start(self, state: State) -> None:
        """Start a new process of the exporter with the state of the ledger."""
        classifier = Classifier(decode)
        self.mirror = Mirror(
            "shop",
            MergedVisibility(self.visibility),
            self.ledger,
            state,
            self.clock,
            classify=classifier.from_visibility,
        )
        self.pending = PendingRuns(
            self.mirror.store,
            self.ledger,
            self.history,
            classifier=classifier,
            clock=lambda: self.clock / SECOND,
        )

    @property
    def clock(self) -> int:
        """The current time in microseconds."""
        return BEGAN + self.now * SECOND

    def update_rows(self) -> None:
        """Bring the rows of the server up to date."""
        for life, run in self.lives:
            closes = life.start + life.length
            if not life.stays_open and self.now >= closes + life.close_late:
                self.visibility.put(self.closed(life, run))
            elif self.now >= life.start + life.open_late and run.run_id not in self.visibility.runs:
                self.visibility.put(run)
            if life.deleted and not life.stays_open and self.now >= closes + life.skew + 1500:
                self.visibility.runs.pop(run.run_id, None)

    @staticmethod
    def closed(life: Life, run: Run) -> Run:
        """Return the run after its close."""
        return close(run, life.start + life.length + life.skew, life.status)

    async def step(self, step: Step) -> None:
        """Advance the time and poll, with the failure or kill of *step*."""
        self.now += step.wait
        self.update_rows()
        self.visibility.errors.clear()
        if step.fails_at is not None:
            self.visibility.errors.extend([*[None] * step.fails_at, UNAVAILABLE])
        try:
            await self.mirror.poll(self.clock)
            for _ in range(step.pages):
                await self.mirror.catch_up(self.clock)
        except TemporalRequestError:
            pass
        await self.classify(step)
        if step.killed:
            self.start(await self.ledger.load("shop"))
        await self.compare_seen()

    async def classify(self, step: Step) -> None:
        """Request close events; some runs are retried."""
        if step.history is not None:
            for number, (_, run) in enumerate(self.lives):
                retried = RETRIED if number % RETRIED_EACH == 0 else None
                self.history.events[run.run_id] = retried if step.history else UNAVAILABLE
            await self.pending.count_lap()

    async def compare_seen(self) -> None:
        """Compare the runs seen closed with those that are classified or pending; no series ever falls."""
        found = exposed(self.mirror, self.clock)
        seen, pending = found.series(names.WORKFLOWS_SEEN_CLOSED), found.series(names.WORKFLOWS_PENDING)
        expected = Counter(pending)
        for key, count in found.closed.items():
            expected[key.workflow_type, key.task_queue, status_group(key.status)] += count
        assert (seen, found.one(names.EXPORTER_PENDING_RUNS)) == (expected, sum(pending.values()))
        assert all(seen[key] >= count for key, count in self.seen.items())
        self.seen = seen
        stored = await self.ledger.load("shop")
        assert (stored.waiting, stored.closed) == (self.mirror.state.waiting, self.mirror.state.closed)

    async def settle(self) -> Exposed:
        """Poll without failures until all runs are visible and ingested."""
        for _ in range(16):
            await self.step(Step(90, None, killed=False, pages=100, history=True))
        return exposed(self.mirror, self.clock)

    def expected(self) -> tuple[Counter[str], int, int]:
        """Return closed runs by status group, started runs and open runs, according to their lives."""
        known = [life for life, _ in self.lives if type_of(life) == "Ride"]
        closed = Counter(status_group(life.status) for life in known if life.status and not life.stays_open)
        return closed, len(known), sum(life.stays_open for life in known)


def type_of(life: Life) -> str:
    """Return the workflow type of a run; runs with an unknown status have one of their own."""
    return "Ride" if life.stays_open or life.status else "Odd"


@contextmanager
def new_file() -> Iterator[str]:
    """Return the URL of a ledger in a new folder."""
    with tempfile.TemporaryDirectory(dir=FAST) as folder:
        yield f"sqlite:///{folder}/ledger.db"


async def play(
    ledger: str, lives: Sequence[Life], steps: Sequence[Step], page_limit: int, *, merged: bool = False
) -> None:
    """Execute *steps*, and compare the metrics at the end with the lives of the runs."""
    world = World(ledger, lives, page_limit, merged=merged)
    try:
        await world.step(Step(0, None, killed=False, pages=0))
        for step in steps:
            await world.step(step)
        found = await world.settle()
    finally:
        world.ledger.close()
    closed: Counter[str] = Counter()
    for key, count in found.closed.items():
        closed[status_group(key.status)] += count
    seen = {key[-1]: count for key, count in found.series(names.WORKFLOWS_SEEN_CLOSED).items() if count}
    assert (seen, found.one(names.EXPORTER_PENDING_RUNS)) == (closed, 0)
    ride = RunningKey("Ride", "rides")
    assert (closed, found.started.get(ride, 0), found.running.get(ride, 0)) == world.expected()
    assert (found.gap, sum(sum(d.observed.counts) for d in found.durations.values())) == (0, closed.total())


histories = given(lives=st.lists(lives, max_size=25), steps=st.lists(steps, max_size=12), page_limit=st.integers(1, 5))


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@histories
def test_every_run_once(lives: list[Life], steps: list[Step], page_limit: int) -> None:
    """Each run is counted once despite late rows, ties, clock skew, retention, failed requests and kills."""
    with new_file() as ledger:
        asyncio.run(play(ledger, lives, steps, page_limit))


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@histories
def test_every_run_once_with_merged_lists(lives: list[Life], steps: list[Step], page_limit: int) -> None:
    """The same holds where the lists of closed runs are merged from one list per status."""
    with new_file() as ledger:
        asyncio.run(play(ledger, lives, steps, page_limit, merged=True))


@settings(
    max_examples=8,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@histories
def test_every_run_once_in_postgresql(
    databases: Databases, lives: list[Life], steps: list[Step], page_limit: int
) -> None:
    """The same holds with a ledger in PostgreSQL."""
    asyncio.run(play(databases.schema(), lives, steps, page_limit))
