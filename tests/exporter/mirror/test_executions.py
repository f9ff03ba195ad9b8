"""Executions count as a plain recomputation of their chains does, in whatever order rows and close events come."""

import asyncio
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select
from temporalio.api.enums.v1 import RetryState
from temporalio.api.history.v1 import HistoryEvent, WorkflowExecutionFailedEventAttributes

from temporal_slo import names
from temporal_slo.errors import TemporalRequestError
from temporal_slo.exporter.classify.classifier import Classifier
from temporal_slo.exporter.classify.pending_runs import PendingRuns
from temporal_slo.exporter.mirror.chain_starts import ChainStarts
from temporal_slo.exporter.mirror.mirror import Mirror
from temporal_slo.exporter.mirror.slo_rules import ClosedRunRule, OverdueRule, SloRules
from temporal_slo.ledger import schema
from temporal_slo.ledger.ledger import Ledger
from temporal_slo.ledger.state import State
from temporal_slo.runs.microseconds import SECOND
from temporal_slo.runs.run import Run
from temporal_slo.temporal.start_events import Start
from temporal_slo.testing import FakeCloseEvents, FakeStartEvents, FakeVisibility
from tests.exposed import Exposed, exposed
from tests.run_factory import BEGAN

from .test_mirror_properties import Step

MEMORY = Path("/dev/shm")  # noqa: S108 tempfile creates the folders in it with safe names
FAST = MEMORY if MEMORY.is_dir() else None
RULES = SloRules(
    overdue=(
        OverdueRule("stuck", ("Ride",), None, 50 * SECOND),
        OverdueRule("run", ("Ride",), None, 50 * SECOND, by_run=True),
    ),
    closed_runs=(
        ClosedRunRule("quick", ("Ride",), None, lambda _, __, duration: duration > 60 * SECOND, by_execution=True),
    ),
    bucket_bounds=tuple(range(1000, 400_000, 1000)),
    run_types=frozenset({"Ride"}),
)
UNAVAILABLE = TemporalRequestError("UNAVAILABLE", "connection refused")
SMALL = 0.01
HANDOVER = 200
"""Microseconds from the failure of a run to the start of its retry, as a server needs them."""


def failed(*, retried: bool) -> HistoryEvent:
    """Return the close event of a failed run."""
    state = RetryState.RETRY_STATE_IN_PROGRESS if retried else RetryState.RETRY_STATE_MAXIMUM_ATTEMPTS_REACHED
    return HistoryEvent(
        workflow_execution_failed_event_attributes=WorkflowExecutionFailedEventAttributes(retry_state=state)
    )


class Part(NamedTuple):
    """One run of a workflow.

    Attributes:
        length: Seconds of work.
        end: How it ends: `continued_as_new`, `retried`, `cron` for a failure that a cron schedule follows, `failed`,
            `completed`, or `open`.
        backoff: Seconds until the next run executes.
        late: Seconds after which its closed row is visible.
    """

    length: int
    end: str
    backoff: int
    late: float


parts = st.builds(
    Part,
    length=st.integers(1, 60),
    end=st.sampled_from(["continued_as_new"] * 3 + ["retried"] * 3 + ["cron", "failed", "completed"]),
    backoff=st.integers(0, 20),
    late=st.sampled_from([0, 0, 0, 1, 4]),
)
workflows = st.lists(st.tuples(st.integers(-40, 200), st.lists(parts, min_size=1, max_size=6)), max_size=8)
steps = st.lists(
    st.builds(
        Step,
        wait=st.integers(1, 120),
        fails_at=st.none() | st.integers(0, 12),
        killed=st.booleans(),
        pages=st.integers(0, 4),
        history=st.none() | st.booleans(),
    ),
    max_size=12,
)
FOLLOWED = {"continued_as_new", "retried", "cron"}
CHAINED = {"continued_as_new", "retried"}


class Planned(NamedTuple):
    """A run as the plan has it: what it is, how it ends, when it is visible, and when its execution began."""

    run: Run
    part: Part
    execution_start: int
    start: Start


def plan(number: int, begin: int, all_parts: Sequence[Part]) -> list[Planned]:
    """Return the runs of one workflow id."""
    planned: list[Planned] = []
    start = due = execution = BEGAN + begin * SECOND + number
    before, first = "", ""
    for index, part in enumerate(all_parts):
        run_id = f"run-{number}-{index}"
        first = first if before else run_id
        close = due + part.length * SECOND
        status = "failed" if part.end in {"retried", "cron", "failed"} else part.end
        run = Run(run_id, f"w-{number}", "Ride", "rides", status, start, due, close, close - due)
        planned.append(Planned(run, part, execution, Start(start, due, before, first if before else "")))
        if part.end not in FOLLOWED:
            break
        start = close + (0 if part.end == "continued_as_new" else HANDOVER)
        due = start + part.backoff * SECOND
        execution, before = (execution, run_id) if part.end in CHAINED else (due, "")
    return planned


async def decode(*_: object) -> object:
    """Fail: no outcomes are read."""
    raise AssertionError


class World:
    """A server with these workflows, and an exporter that polls, fails and is killed."""

    def __init__(self, url: str, workflows: Sequence[tuple[int, Sequence[Part]]], page_limit: int) -> None:
        self.ledger = Ledger(url)
        self.visibility = FakeVisibility(page_limit=page_limit)
        self.history, self.starts = FakeCloseEvents(), FakeStartEvents()
        self.planned = [one for number, (begin, parts) in enumerate(workflows, 1) for one in plan(number, begin, parts)]
        for run, part, _, start in self.planned:
            self.history.events[run.run_id] = failed(retried=part.end == "retried")
            self.starts.starts[run.run_id] = start
        self.now = 0
        self.start(State())

    def start(self, state: State) -> None:
        """Start a new process of the exporter with the state of the ledger."""
        classifier, clock = Classifier(decode), lambda: self.clock / SECOND
        self.mirror = Mirror(
            "shop",
            self.visibility,
            self.ledger,
            state,
            self.clock,
            classify=classifier.from_visibility,
            rules=RULES,
        )
        store = self.mirror.store
        self.pending = PendingRuns(store, self.ledger, self.history, classifier=classifier, clock=clock)
        self.asking = ChainStarts(store, self.ledger, self.starts, clock=clock)

    @property
    def clock(self) -> int:
        """The current time in microseconds."""
        return BEGAN + self.now * SECOND

    def update_rows(self) -> None:
        """Bring the rows of the server up to date."""
        for run, part, _, _ in self.planned:
            if part.end != "open" and self.clock >= run.close_time + part.late * SECOND:
                self.visibility.put(run)
            elif self.clock >= run.start_time and run.run_id not in self.visibility.runs:
                self.visibility.put(replace(run, status="running", close_time=0, duration=0))

    async def step(self, step: Step) -> Exposed:
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
        if step.history:
            await self.pending.count_lap()
            while await self.asking.ask():
                pass
        if step.killed:
            self.start(await self.ledger.load("shop"))
        stored = await self.ledger.load("shop")
        state = self.mirror.state
        assert (stored.open, stored.chain_runs, stored.closed) == (state.open, state.chain_runs, state.closed)
        assert {key: +one.counts for key, one in stored.executions.items()} == {
            key: +one.counts for key, one in state.executions.items()
        }
        return exposed(self.mirror, self.clock)

    def counted(self) -> list[Planned]:
        """Return the executions that closed while runs were counted."""
        final = {"cron", "failed", "completed"}
        return [one for one in self.planned if one.part.end in final and one.run.close_time >= BEGAN]


def buckets(found: Exposed, family: names.Family) -> dict[str, Counter[int]]:
    """Return the observations that are not 0, by status and the upper bound of their bucket in seconds."""
    result: dict[str, Counter[int]] = {}
    for (_, status, _), histogram in found.series(family).items():
        counts = zip((*histogram.bounds, -1), histogram.observed.counts, strict=True)
        result[status] = Counter({int(bound): count for bound, count in counts if count})
    return result


def by_bucket(durations: Sequence[int]) -> Counter[int]:
    """Return the number of durations by the second in which they end."""
    return Counter(-(-duration // SECOND) for duration in durations)


def late_by_execution(world: World) -> set[str]:
    """Return the ids of the runs that ended a slow execution."""
    return {one.run.run_id for one in world.counted() if one.run.close_time - one.execution_start > 60 * SECOND}


async def bad_runs(ledger: Ledger) -> dict[str, int]:
    """Return the durations of the runs in the ledger that consumed an error budget, by run id."""
    query = select(schema.bad_runs.c.run_id, schema.bad_runs.c.duration)
    return await ledger.transact(lambda connection: {row.run_id: row.duration for row in connection.execute(query)})


async def play(workflows: Sequence[tuple[int, Sequence[Part]]], steps: Sequence[Step], page_limit: int) -> None:
    """Execute *steps*, and compare the executions at the end with the plan."""
    with tempfile.TemporaryDirectory(dir=FAST) as folder:
        # A chain makes the type known as one with chains.
        first = (1, [Part(1, "continued_as_new", 0, 0), Part(1, "completed", 0, 0)])
        world = World(f"sqlite:///{folder}/ledger.db", [first, *workflows], page_limit)
        try:
            before: dict[str, Counter[int]] = {}
            for step in (Step(0, history=True), Step(10, history=True), *steps, *[Step(90, history=True)] * 8):
                found = await world.step(step)
                now = buckets(found, names.WORKFLOW_DURATION)
                assert all(now[status][bound] >= n for status, counts in before.items() for bound, n in counts.items())
                before = now
            compare(world, found)
            bad = await bad_runs(world.ledger)
            assert bad.keys() == late_by_execution(world)
            assert all(duration > 60 * SECOND for duration in bad.values())
        finally:
            world.ledger.close()


def compare(world: World, found: Exposed) -> None:
    """Compare what is exposed with a plain recomputation of the executions and runs."""
    executions = world.counted()
    expected, runs = {}, {}
    for status in ("completed", "failed"):
        of_status = [one for one in executions if one.run.status == status]
        expected[status] = by_bucket([one.run.close_time - one.execution_start for one in of_status])
        runs[status] = by_bucket([one.run.duration for one in of_status])
    durations, of_runs = buckets(found, names.WORKFLOW_DURATION), buckets(found, names.RUN_DURATION)
    assert {status: durations.get(status, Counter()) for status in expected} == expected
    assert {status: of_runs.get(status, Counter()) for status in expected} == runs
    series = found.series(names.WORKFLOW_DURATION)
    seconds = sum(series["Ride", status, "none"].observed.total for status in durations if status in expected)
    total = sum(one.run.close_time - one.execution_start for one in executions) / SECOND
    assert abs(seconds - total) < SMALL
    opened = [one for one in world.planned if one.run.run_id in world.mirror.state.open]
    ages = {"stuck": [one.execution_start for one in opened], "run": [one.run.due_time for one in opened]}
    for slo, starts in ages.items():
        overdue = sum(world.clock - start > 50 * SECOND for start in starts)
        assert found.overdue["Ride", slo] == overdue
    assert found.one(names.EXPORTER_UNKNOWN_EXECUTION_STARTS) == 0
    assert found.counters.get(names.EXPORTER_SHORTENED_EXECUTIONS, 0) == 0


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(workflows=workflows, steps=steps, page_limit=st.integers(1, 5))
def test_executions_of_chains(workflows: list[tuple[int, list[Part]]], steps: list[Step], page_limit: int) -> None:
    """Executions count once, from their first run, whatever the order of rows and close events, failures and kills."""
    asyncio.run(play(workflows, steps, page_limit))


def test_minutes_of_a_chain() -> None:
    """An execution of three runs makes minutes overdue from its first run on, and counts as one overdue run."""
    chain = [Part(60, "continued_as_new", 0, 0), Part(60, "retried", 0, 0), Part(60, "completed", 0, 0)]
    one, two = (
        OverdueRule(name, ("Ride",), None, 50 * SECOND, tolerate) for tolerate, name in enumerate(("one", "two"))
    )

    async def minutes() -> dict[str, int]:
        with tempfile.TemporaryDirectory(dir=FAST) as folder:
            world = World(f"sqlite:///{folder}/ledger.db", [(10, chain)], 5)
            world.mirror.store.rules = SloRules(overdue=(one, two))
            try:
                for wait in (0, *[15] * 40):
                    found = await world.step(Step(wait, history=True))
            finally:
                world.ledger.close()
            return found.overdue_minutes

    # Overdue from 60 to 190 s after the beginning; whole minutes begin 40 s after it.
    assert asyncio.run(minutes()) == {"one": 3, "two": 0}
