"""Whatever happens to visibility, the exporter and its ledger, every run is counted once."""

import asyncio
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from temporal_slo.errors import TemporalRequestError
from temporal_slo.exporter.mirror.mirror import Mirror
from temporal_slo.ledger.ledger import Ledger
from temporal_slo.ledger.state import State
from temporal_slo.runs.counted import RunningKey
from temporal_slo.runs.microseconds import SECOND
from temporal_slo.runs.run import Run
from temporal_slo.testing import FakeVisibility
from tests.conftest import Databases
from tests.exposed import Exposed, exposed
from tests.run_factory import BEGAN, close, from_visibility, running

STATUSES = ("completed", "failed", "timed_out", "canceled", "terminated", "continued_as_new", None)
# In memory where there is such a place: thousands of commits wait for a disk.
MEMORY = Path("/dev/shm")  # noqa: S108 its folders are made by tempfile, which names them safely
FAST = MEMORY if MEMORY.is_dir() else None
GONE = TemporalRequestError("UNAVAILABLE", "connection refused")


@dataclass(frozen=True)
class Life:
    """A run: when it starts and closes, how late either shows, in seconds; whether its row goes after it was seen.

    Attributes:
        status: None for one that we do not know.
        skew: How far its close time lies ahead of its close.
        stays_open: It never closes.
        deleted: Retention deletes its row, long after it was seen.
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
    """A poll: how long after the last one, which of its requests fails, and whether the exporter is killed then."""

    wait: int
    fails_at: int | None
    killed: bool
    pages: int


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
    fails_at=st.none() | st.integers(0, 8),
    killed=st.booleans(),
    pages=st.integers(0, 6),
)


class World:
    """A server whose runs appear as their lives say, and an exporter that is polled, failed and killed."""

    def __init__(self, ledger: str, lives: Sequence[Life], page_limit: int) -> None:
        self.ledger = Ledger(ledger)
        self.visibility = FakeVisibility(page_limit=page_limit)
        self.lives = [(life, running(life.start, workflow_type=kind(life))) for life in lives]
        self.now = 0
        self.mirror = self.start(State())

    def start(self, state: State) -> Mirror:
        """A new process of the exporter, that knows what the ledger knows."""
        return Mirror("shop", self.visibility, self.ledger, state, self.clock, classify=from_visibility)

    @property
    def clock(self) -> int:
        """Now, in microseconds."""
        return BEGAN + self.now * SECOND

    def show(self) -> None:
        """Bring the server's rows up to now."""
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
        """The run as it is once closed."""
        return close(run, life.start + life.length + life.skew, life.status)

    async def step(self, step: Step) -> None:
        """Let time pass, poll, and let it fail or be killed as *step* says."""
        self.now += step.wait
        self.show()
        self.visibility.errors.clear()
        if step.fails_at is not None:
            self.visibility.errors.extend([*[None] * step.fails_at, GONE])
        try:
            await self.mirror.poll(self.clock)
            for _ in range(step.pages):
                await self.mirror.catch_up(self.clock)
        except TemporalRequestError:
            pass
        if step.killed:
            self.mirror = self.start(await self.ledger.load("shop"))

    async def settle(self) -> Exposed:
        """Poll without trouble until all is visible and read."""
        for _ in range(16):
            await self.step(Step(90, None, killed=False, pages=100))
        return exposed(self.mirror, self.clock)

    def truth(self) -> tuple[Counter[str], int, int]:
        """Closed runs by status, runs started, and runs open, as the lives say."""
        known = [life for life, _ in self.lives if kind(life) == "Ride"]
        closed = Counter(str(life.status) for life in known if not life.stays_open)
        return closed, len(known), sum(life.stays_open for life in known)


def kind(life: Life) -> str:
    """The workflow type of a run: of its own for those that end in a status which we do not know."""
    return "Ride" if life.stays_open or life.status else "Odd"


@contextmanager
def new_file() -> Iterator[str]:
    """The URL of a ledger in a folder of its own."""
    with tempfile.TemporaryDirectory(dir=FAST) as folder:
        yield f"sqlite:///{folder}/ledger.db"


async def play(ledger: str, lives: Sequence[Life], steps: Sequence[Step], page_limit: int) -> None:
    """Play a history and hold the figures at its end against the truth."""
    world = World(ledger, lives, page_limit)
    try:
        await world.step(Step(0, None, killed=False, pages=0))
        for step in steps:
            await world.step(step)
        found = await world.settle()
    finally:
        world.ledger.close()
    closed: Counter[str] = Counter()
    for key, count in found.closed.items():
        closed[key.status] += count
    ride = RunningKey("Ride", "rides")
    assert (closed, found.started.get(ride, 0), found.running.get(ride, 0)) == world.truth()
    assert (found.gap, sum(sum(d.observed.counts) for d in found.durations.values())) == (0, closed.total())


histories = given(lives=st.lists(lives, max_size=25), steps=st.lists(steps, max_size=12), page_limit=st.integers(1, 5))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@histories
def test_every_run_once(lives: list[Life], steps: list[Step], page_limit: int) -> None:
    """Late rows, ties, skewed clocks, retention, failures of any request and kills: every run is counted once."""
    with new_file() as ledger:
        asyncio.run(play(ledger, lives, steps, page_limit))


@settings(
    max_examples=8,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@histories
def test_every_run_once_on_a_server(
    databases: Databases, lives: list[Life], steps: list[Step], page_limit: int
) -> None:
    """The same holds with a ledger in PostgreSQL."""
    asyncio.run(play(databases.schema(), lives, steps, page_limit))
