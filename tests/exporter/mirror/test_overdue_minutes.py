"""Overdue minutes, and that outages do not change them."""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from temporal_slo.exporter.mirror.overdue_minutes import MINUTES_MAX, evaluate
from temporal_slo.exporter.mirror.slo_rules import OverdueRule, SloRules
from temporal_slo.ledger.change import MINUTES, ClosedOverdueRun, EvaluatedHour
from temporal_slo.ledger.state import Minutes, OpenRun, State
from temporal_slo.runs.counted import RunningKey
from temporal_slo.runs.microseconds import HOUR, MINUTE, SECOND
from tests.exposed import exposed
from tests.run_factory import BEGAN

from .test_mirror_properties import Life, Step, World, lives, new_file, steps

RIDE = RunningKey("Ride", "rides")
RULE = OverdueRule("slow", ("Ride",), None, 40 * SECOND, by_run=True)


def run(due: float, close: float | None = None, key: RunningKey = RIDE) -> OpenRun | ClosedOverdueRun:
    """Return a run with this scheduled start and close, in minutes."""
    begin = round(due * MINUTE)
    return OpenRun(key, begin) if close is None else ClosedOverdueRun(key, begin, round(close * MINUTE))


def overdue(runs: Iterable[OpenRun | ClosedOverdueRun], rule: OverdueRule = RULE, last: int = 10) -> int:
    """Return the number of overdue minutes from 0 to *last*."""
    return sum(hour.overdue for hour in evaluate(rule, runs, 0, last * MINUTE))


@pytest.mark.parametrize(
    ("runs", "expected"),
    [
        pytest.param([], 0, id="no open runs"),
        pytest.param([run(9.4)], 0, id="young"),
        pytest.param([run(9.33)], 1, id="in the last second"),
        pytest.param([run(-100)], 10, id="always"),
        pytest.param([run(1, 1.6)], 0, id="closed in time"),
        pytest.param([run(1, 1.7)], 1, id="just overdue"),
        pytest.param([run(1.5, 3)], 1, id="closed with the minute, from within it"),
        pytest.param([run(1.5, 3.01)], 2, id="closed after it"),
        pytest.param([run(-5, 0)], 0, id="closed before"),
        pytest.param([run(-5, 2), run(-5, 2), run(0.1, 2)], 2, id="three at once"),
        pytest.param([run(-5, 2), run(4, 6)], 4, id="one after the other"),
        pytest.param([run(-5, key=RunningKey("Else", "rides"))], 0, id="another workflow type"),
    ],
)
def test_minutes(runs: list[OpenRun | ClosedOverdueRun], expected: int) -> None:
    """A minute is overdue if at any time in it a run was open for longer than 40 s."""
    assert overdue(runs) == expected


def test_tolerated() -> None:
    """A minute is not overdue with tolerated overdue runs only; a rule with a task queue ignores other ones."""
    runs = [run(-5, 2), run(-5, 4), run(-5, 9, RunningKey("Ride", "other"))]
    assert [overdue(runs, replaced(tolerate=n)) for n in range(4)] == [9, 4, 2, 0]
    assert overdue(runs, replaced(task_queue="other")) == 9


def replaced(**changes: object) -> OverdueRule:
    """Return the rule with some fields replaced."""
    return RULE._replace(**changes)  # type: ignore[arg-type] # the caller names fields of the rule


def test_by_the_hour() -> None:
    """Minutes are summed by hour."""
    first, last = HOUR - 2 * MINUTE, 2 * HOUR + 3 * MINUTE
    assert list(evaluate(RULE, [run(59, 62)], first, last)) == [
        EvaluatedHour("slow", 0, 2, 1),
        EvaluatedHour("slow", 1, 60, 2),
        EvaluatedHour("slow", 2, 3, 0),
    ]


@given(
    spans=st.lists(st.tuples(st.integers(-300, 900), st.none() | st.integers(-300, 900)), max_size=12),
    tolerate=st.integers(0, 3),
)
def test_as_second_by_second(spans: list[tuple[int, int | None]], tolerate: int) -> None:
    """The overdue minutes equal those of an evaluation second by second."""
    runs = [run(due / 60, None if close is None else close / 60) for due, close in spans]

    def late(second: int) -> set[int]:
        return {n for n, (due, close) in enumerate(spans) if due + 40 <= second and (close is None or close > second)}

    by_minute = (set[int]().union(*(late(second) for second in range(m * 60, m * 60 + 60))) for m in range(10))
    assert overdue(runs, replaced(tolerate=tolerate)) == sum(len(found) > tolerate for found in by_minute)


LONG = ((10, 200), (390, 61), (600, 45), (700, 39))
"""Starts and lengths of runs, in seconds."""


class OverdueWorld(World):
    """A world with an SLO that counts overdue minutes."""

    def start(self, state: State) -> None:
        """Start a new process of the exporter with the SLO."""
        super().start(state)
        self.mirror.store.rules = SloRules(overdue=(RULE,))


def punctual(life: Life) -> Life:
    """Return the life without delays for which evaluation does not wait."""
    return replace(life, open_late=life.open_late % 50, close_late=life.close_late % 50, skew=0, deleted=False)


def expected_minutes(lives: Sequence[Life], first: int, last: int) -> int:
    """Return how many of these minutes were overdue according to the lives."""
    spans = [
        (life.start + 40, None if life.stays_open else life.start + life.length)
        for life in lives
        if life.status or life.stays_open
    ]
    minutes = [((begin - BEGAN) / SECOND, (begin - BEGAN) / SECOND + 60) for begin in range(first, last, MINUTE)]
    return sum(
        any(due < end and due < (close or end) and (close is None or close > begin) for due, close in spans)
        for begin, end in minutes
    )


async def play(lives: Sequence[Life], steps: Sequence[Step], page_limit: int) -> None:
    """Execute *steps*, and compare the minutes at the end with the lives of the runs."""
    with new_file() as ledger:
        world = OverdueWorld(ledger, lives, page_limit)
        try:
            await world.step(Step(0, None, killed=False, pages=0))
            for step in steps:
                await world.step(step)
            found = await world.settle()
            known = await world.ledger.load("shop")
        finally:
            world.ledger.close()
    first, last = world.mirror.state.positions[MINUTES]
    assert found.observed_minutes == {"slow": (last - first) // MINUTE}
    assert found.overdue_minutes == {"slow": expected_minutes([life for life, _ in world.lives], first, last)}
    assert (known.minutes, known.closed_overdue, known.closed_overdue) == (
        world.mirror.state.minutes,
        world.mirror.state.closed_overdue,
        {},
    )


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    lives=st.lists(lives.map(punctual).filter(lambda life: bool(life.status or life.stays_open)), max_size=15),
    steps=st.lists(steps, max_size=12),
    page_limit=st.integers(1, 5),
    outage=st.sampled_from([0, 0, 400, 4000]),
)
def test_whatever_happens(lives: list[Life], steps: list[Step], page_limit: int, outage: int) -> None:
    """Each minute is evaluated correctly and once, despite late rows, outages, failures and kills."""
    steps = [*steps, Step(outage, None, killed=True, pages=2)]
    asyncio.run(play(lives, steps, page_limit))


def test_long_outage() -> None:
    """After an outage of weeks minutes are evaluated a week at a time."""

    async def outage() -> list[int]:
        with new_file() as ledger:
            world = OverdueWorld(ledger, [Life(1, 9, 0, 0, "failed", 0, stays_open=True, deleted=False)], 5)
            found = []
            for wait in (0, 10 * 24 * 3600, 60, 60):
                await world.step(Step(wait, None, killed=True, pages=9))
                found.append(exposed(world.mirror, world.clock).overdue_minutes["slow"])
            world.ledger.close()
        return found

    whole = 10 * 24 * 60
    assert asyncio.run(outage()) == [0, MINUTES_MAX, whole - 1, whole]


def test_not_during_gaps() -> None:
    """Minutes in which runs that are not ingested yet may have been overdue are not evaluated."""
    stuck = Life(10, 200, 0, 0, "failed", 0, stays_open=False, deleted=False)
    quick = [Life(300 + n, 1, 0, 0, "failed", 0, stays_open=False, deleted=False) for n in range(9)]

    async def catch_up() -> list[tuple[int, int]]:
        with new_file() as ledger:
            world = OverdueWorld(ledger, [stuck, *quick], 1)
            found = []
            for wait, pages in ((0, 0), (600, 0), (10, 3), (10, 1), (10, 9)):
                await world.step(Step(wait, None, killed=False, pages=pages))
                known = exposed(world.mirror, world.clock)
                found.append((known.observed_minutes["slow"], known.overdue_minutes["slow"]))
            world.ledger.close()
        return found

    # It was overdue from 50 to 210 s after the beginning; whole minutes begin 40 s after it, and the sweep was at 600.
    assert asyncio.run(catch_up()) == [(0, 0)] * 4 + [(8, 3)]


def test_killed_at_every_step() -> None:
    """An exporter that is killed after each poll evaluates all minutes correctly."""
    lives = [Life(start, length, 0, 0, "failed", 0, stays_open=False, deleted=False) for start, length in LONG]

    async def watched(wait: int) -> Minutes:
        with new_file() as ledger:
            world = OverdueWorld(ledger, lives, 5)
            for _ in range(0, 900, wait):
                await world.step(Step(wait, None, killed=True, pages=9))
            found = world.mirror.state.minutes["slow"]
            world.ledger.close()
        first, last = world.mirror.state.positions[MINUTES]
        assert found.overdue == expected_minutes(lives, first, last)
        return found

    for wait in (5, 20, 50):
        assert asyncio.run(watched(wait)).overdue == 5
