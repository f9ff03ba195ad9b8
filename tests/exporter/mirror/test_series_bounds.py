"""Workflow types and task queues beyond a limit are counted as `other`, and no counter ever falls."""

import asyncio
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from temporal_slo import names
from temporal_slo.exporter.mirror.mirror import Mirror
from temporal_slo.exporter.mirror.series_bounds import Limits, SeriesBounds
from temporal_slo.exporter.mirror.slo_rules import SloRules
from temporal_slo.ledger.ledger import Ledger
from temporal_slo.ledger.state import State
from temporal_slo.names.values import OTHER
from temporal_slo.runs.counted import RunningKey
from temporal_slo.runs.microseconds import SECOND
from temporal_slo.runs.run import Run
from temporal_slo.spec.bound import BoundSlo
from temporal_slo.spec.load import load
from temporal_slo.testing import FakeVisibility
from tests.exposed import Exposed, exposed
from tests.run_factory import BEGAN, close, closed, from_visibility, running

SPEC = """
version: temporal-slo/v1
service: rides
temporal_namespace: shop
period: 30d
owner: rides
slos:
  - {name: ends, workflow: Ride, task_queue: rides, objective: 99, sli: {success: {bad: [failed]}}}
"""


class Bounded:
    """A mirror of a fake namespace with room for two workflow types and two task queues; times are seconds."""

    def __init__(self, ledger: Ledger, slos: Sequence[BoundSlo] = ()) -> None:
        self.ledger, self.slos = ledger, slos
        self.visibility = FakeVisibility()
        self.start(State(), 0)

    def start(self, state: State, at: float) -> None:
        """Start a new process of the exporter with *state*."""
        bounds = SeriesBounds(state, self.slos, Limits(2, 2))
        now, rules = BEGAN + round(at * SECOND), SloRules.of(self.slos)
        self.mirror = Mirror(
            "shop", self.visibility, self.ledger, state, now, classify=from_visibility, rules=rules, bounds=bounds
        )

    async def restart(self, at: float) -> Exposed:
        """Replace the mirror by one with the state of the ledger; return what it exposes."""
        self.start(await self.ledger.load("shop"), at)
        return exposed(self.mirror, BEGAN + round(at * SECOND))

    async def poll(self, at: float) -> Exposed:
        """Poll until everything is read."""
        now = BEGAN + round(at * SECOND)
        await self.mirror.poll(now)
        while await self.mirror.catch_up(now):
            pass
        return exposed(self.mirror, now)


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Bounded]:
    """Return a mirror after its first poll."""
    ledger = Ledger(f"sqlite:///{tmp_path / 'ledger.db'}")
    found = Bounded(ledger)
    await found.poll(0)
    yield found
    ledger.close()


async def test_types_beyond_the_limit(site: Bounded) -> None:
    """The busiest types and queues of a page get series; further runs count as other, and are counted as such."""
    for number, kind in enumerate("ABBCCC"):
        site.visibility.put(closed(1 + number / 10, workflow_type=kind, task_queue=f"{kind}s"))
    found = await site.poll(15)
    keys = {RunningKey("B", "Bs"): 2, RunningKey("C", "Cs"): 3, RunningKey(OTHER, OTHER): 1}
    assert (found.started, {(k.workflow_type, k.task_queue): n for k, n in found.closed.items()}) == (keys, keys)
    assert {key[0] for key in found.durations} == {"B", "C", OTHER}
    assert found.one(names.EXPORTER_WORKFLOW_TYPES_OVER_LIMIT) == 1
    assert found.one(names.EXPORTER_QUEUE_LABELS_OVER_LIMIT) == 1


async def test_same_series_after_a_restart(site: Bounded) -> None:
    """After a restart the same types have series, whatever is busier now, and open runs are counted where they were."""
    for number, kind in enumerate("ABC"):
        site.visibility.put(running(1 + number, workflow_type=kind))
        await site.poll(5 + number)
    before = await site.poll(15)
    again = await site.restart(20)
    assert (again.running, again.started) == (before.running, before.started)
    assert again.running == {RunningKey("A", "rides"): 1, RunningKey("B", "rides"): 1, RunningKey(OTHER, "rides"): 1}
    site.visibility.put(*(close(run, 21) for run in list(site.visibility.runs.values())))
    await site.poll(22)
    await site.restart(23)
    for second in range(5):
        site.visibility.put(closed(24 + second, workflow_type="C"))
    found = await site.poll(30)
    counts = {key.workflow_type: count for key, count in found.closed.items()}
    assert counts == {"A": 1, "B": 1, OTHER: 6}


async def test_folded_run_that_closes_later(site: Bounded) -> None:
    """A run that started as other closes as other."""
    odd = running(1, workflow_type="C")
    site.visibility.put(odd, *(running(1, workflow_type=kind) for kind in "AABB"))
    await site.poll(15)
    site.visibility.put(close(odd, 20))
    found = await site.poll(30)
    assert {key.workflow_type: count for key, count in found.closed.items()} == {OTHER: 1}
    assert found.running[RunningKey(OTHER, "rides")] == 0
    assert found.one(names.EXPORTER_WORKFLOW_TYPES_OVER_LIMIT) == 1


async def test_types_of_a_spec(site: Bounded, tmp_path: Path) -> None:
    """Types and queues of a spec need no room; a type of a new spec has its series from then on, open runs included."""
    path = tmp_path / "spec.yaml"
    path.write_text(SPEC)
    slos = load([path]).of_namespace("shop")
    site.visibility.put(*(running(1, workflow_type=kind, task_queue=kind) for kind in "AABB"), running(1))
    found = await site.poll(15)
    assert found.running[RunningKey(OTHER, OTHER)] == 1
    site.mirror.apply_slos(slos)
    site.visibility.put(running(17), running(17, workflow_type="D"))
    found = await site.poll(30)
    assert found.running == {
        RunningKey("A", "A"): 2,
        RunningKey("B", "B"): 2,
        RunningKey("Ride", "rides"): 2,
        RunningKey(OTHER, "rides"): 1,
        RunningKey(OTHER, OTHER): 0,
    }
    assert found.started[RunningKey(OTHER, OTHER)] == 1
    site.mirror.apply_slos([])
    site.visibility.put(closed(31), closed(31, workflow_type="D"))
    found = await site.poll(45)
    assert Counter(key.workflow_type for key in found.closed) == {"Ride": 1, OTHER: 1}


polls = st.lists(st.tuples(st.lists(st.sampled_from("ABCDE"), max_size=4), st.booleans()), max_size=8)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(polls=polls)
def test_no_counter_falls(polls: list[tuple[list[str], bool]]) -> None:
    """Whatever starts, closes and restarts, no counter falls, none vanishes, and all runs are counted."""
    with tempfile.TemporaryDirectory() as folder:
        ledger = Ledger(f"sqlite:///{folder}/ledger.db")
        try:
            asyncio.run(play(Bounded(ledger), polls))
        finally:
            ledger.close()


async def play(site: Bounded, polls: list[tuple[list[str], bool]]) -> None:
    """Start a run of each kind at each poll, and close those of the poll before; restart where that is said."""
    before, open_runs, total = await site.poll(0), list[Run](), 0
    for number, (kinds, restart) in enumerate([*polls, ([], True), ([], False)]):
        at = 20 * (number + 1)
        site.visibility.put(*(close(run, at - 1, "failed") for run in open_runs))
        open_runs = [running(at - 1, workflow_type=kind, task_queue=kind.lower()) for kind in kinds]
        site.visibility.put(*open_runs)
        total += len(open_runs)
        found = await site.poll(at)
        for family in (names.WORKFLOWS_STARTED, names.WORKFLOWS_CLOSED, names.WORKFLOWS_SEEN_CLOSED):
            now = found.series(family)
            assert all(now.get(key, -1) >= count for key, count in before.series(family).items())
            assert len({key[0] for key in now} - {OTHER}) <= Limits(2, 2).workflow_types
        before = await site.restart(at) if restart else found
        assert (before.started, before.closed, before.running) == (found.started, found.closed, found.running)
    assert (sum(before.started.values()), sum(before.closed.values())) == (total, total)
