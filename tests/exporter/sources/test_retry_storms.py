from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta

import pytest

from temporal_slo import names
from temporal_slo.errors import LedgerError, TemporalRequestError
from temporal_slo.exporter.mirror.slo_rules import OverdueRule, SloRules
from temporal_slo.exporter.sources.retry_storms import ACTIVITY_TYPES_MAX, ATTEMPTS, WORKFLOW_TYPES_MAX, RetryStorms
from temporal_slo.exporter.sources.source import SourceRunner
from temporal_slo.ledger.state import OpenRun, State
from temporal_slo.runs.counted import RunningKey
from temporal_slo.runs.microseconds import SECOND
from temporal_slo.temporal.pending_activities import PendingActivity

NOW = 1_700_000_000 * SECOND
PAST = ATTEMPTS + 1


class FakeRuns:
    """Runs with the pending activities that a test gives them.

    Attributes:
        state: What the mirror knows of them.
        pending: Their activities, by run id.
        asked: Run ids asked for.
        failing: Run ids that are not answered.
        closed: Run ids that the ledger does not know as open any more.
        closing: Run ids that close while they are asked for.
        closing: Run ids that close while they are asked for.
    """

    def __init__(self) -> None:
        self.state = State()
        self.rules = SloRules()
        self.pending: dict[str, tuple[PendingActivity, ...]] = {}
        self.asked: list[str] = []
        self.failing: set[str] = set()
        self.closed: set[str] = set()
        self.closing: set[str] = set()

    def put(self, run_id: str, age: int, *attempts: int, workflow_type: str = "Ride", activity: str = "Charge") -> None:
        """Add a run that was due *age* seconds ago and has an activity in each of these attempts."""
        self.state.open[run_id] = OpenRun(RunningKey(workflow_type, "rides"), NOW - age * SECOND)
        self.pending[run_id] = tuple(PendingActivity(activity, attempt) for attempt in attempts)

    async def workflow_ids(self, run_ids: Sequence[str]) -> Mapping[str, str]:
        """Return the workflow ids of open runs, as a ledger does."""
        return {run_id: f"workflow of {run_id}" for run_id in run_ids if run_id not in self.closed}

    async def activities(self, workflow_id: str, run_id: str) -> tuple[PendingActivity, ...]:
        """Return the pending activities of a run."""
        assert workflow_id == f"workflow of {run_id}"
        self.asked.append(run_id)
        if run_id in self.closing:
            del self.state.open[run_id]
        if run_id in self.failing:
            raise TemporalRequestError("UNAVAILABLE", "away")
        return self.pending[run_id]

    def storms(self, sample: int = 50, pool: int = 500) -> RetryStorms:
        """Return the source that reads these."""
        return RetryStorms(self, self.state, lambda: self.rules, self.workflow_ids, sample=sample, pool=pool)


async def read(storms: RetryStorms) -> tuple[dict[tuple[str, str], float], dict[str, float]]:
    """Read, and return the retried activities by workflow and activity type, and the other figures by name."""
    retrying: dict[tuple[str, str], float] = {}
    others: dict[str, float] = {}
    for family, labels, value in await storms.read(NOW):
        assert {*labels, names.NAMESPACE} == set(family.labels)
        assert isinstance(value, int | float)
        if family is names.ACTIVITIES_RETRYING:
            retrying[labels[names.WORKFLOW_TYPE], labels[names.ACTIVITY_TYPE]] = value
        else:
            others[family.name] = value
    return retrying, others


def of(values: Mapping[str, float]) -> tuple[float, float]:
    """Return how many runs were looked at, of how many."""
    return values[names.EXPORTER_RETRY_SAMPLED_RUNS.name], values[names.EXPORTER_RETRY_CANDIDATE_RUNS.name]


async def test_counts() -> None:
    """Activities past the limit are counted by workflow and activity type, those within it are not."""
    runs = FakeRuns()
    runs.put("a", 100, PAST, ATTEMPTS, 1)
    runs.put("b", 90, PAST, 1_000)
    runs.put("c", 80, PAST, workflow_type="TopUp", activity="Refund")
    runs.put("d", 70, ATTEMPTS, workflow_type="Quiet")
    runs.put("not due", -5, PAST)
    retrying, others = await read(runs.storms())
    assert retrying == {("Ride", "Charge"): 3, ("TopUp", "Refund"): 1}
    assert of(others) == (4, 4)
    assert others[names.EXPORTER_RETRYING_ACTIVITIES_OVER_LIMIT.name] == 0


async def test_healed() -> None:
    """A storm that is over is shown as 0, whether its activities succeeded, its run closed, or all runs did."""
    runs = FakeRuns()
    runs.put("a", 100, PAST)
    runs.put("b", 90, PAST, activity="Refund")
    storms = runs.storms()
    assert (await read(storms))[0] == {("Ride", "Charge"): 1, ("Ride", "Refund"): 1}
    runs.pending["a"] = ()
    assert (await read(storms))[0] == {("Ride", "Charge"): 0, ("Ride", "Refund"): 1}
    del runs.state.open["b"]
    assert (await read(storms))[0] == {("Ride", "Charge"): 0, ("Ride", "Refund"): 0}
    runs.state.open.clear()
    retrying, others = await read(storms)
    assert retrying == {("Ride", "Charge"): 0, ("Ride", "Refund"): 0}
    assert of(others) == (0, 0)


async def test_not_looked_at_is_not_zero() -> None:
    """Where no run of a type was looked at nothing is said of its activities."""
    runs = FakeRuns()
    runs.put("a", 10, PAST)
    storms = runs.storms(pool=1)
    assert (await read(storms))[0] == {("Ride", "Charge"): 1}
    runs.put("older", 20, workflow_type="TopUp")
    retrying, others = await read(storms)
    assert retrying == {}
    assert of(others) == (1, 2)


async def test_turns() -> None:
    """Every run of the pool has its turn, overdue ones first, then the oldest, and what was seen counts on."""
    runs = FakeRuns()
    for number in range(7):
        runs.put(f"{number}", 100 - number)
    runs.put("overdue", 50, workflow_type="TopUp")
    runs.pending["3"] = (PendingActivity("Charge", PAST),)
    runs.rules = SloRules(overdue=(OverdueRule("stuck", ("TopUp",), None, 40 * SECOND),))
    storms = runs.storms(sample=3)
    assert (await read(storms))[0] == {}
    assert runs.asked == ["overdue", "0", "1"]
    assert (await read(storms))[0] == {("Ride", "Charge"): 1}
    assert runs.asked[3:] == ["2", "3", "4"]
    # One of three requests goes to the run in a storm.
    assert (await read(storms))[0] == {("Ride", "Charge"): 1}
    assert runs.asked[6:] == ["3", "5", "6"]
    retrying, others = await read(storms)
    assert retrying == {("Ride", "Charge"): 1}
    assert runs.asked[9:] == ["3", "overdue", "0"]
    assert of(others) == (8, 8)


async def test_pool() -> None:
    """Of very many runs only the oldest have turns, and as many overdue ones."""
    runs = FakeRuns()
    for number in range(10):
        runs.put(f"{number}", 100 - number)
        runs.put(f"overdue {number}", 100 - number, workflow_type="TopUp")
    runs.rules = SloRules(
        overdue=(
            OverdueRule("stuck", ("TopUp",), None, 1000 * SECOND),
            OverdueRule("slow", ("TopUp",), None, 40 * SECOND),
            OverdueRule("elsewhere", ("Ride",), "other queue", SECOND),
        )
    )
    storms = runs.storms(pool=2)
    for _ in range(2):
        _, others = await read(storms)
        assert sorted(runs.asked) == ["0", "1", "overdue 0", "overdue 1"]
        assert of(others) == (4, 20)
        runs.asked.clear()


async def test_closed_since() -> None:
    """A run that closes while a reading goes on is neither asked for nor counted."""
    runs = FakeRuns()
    runs.put("a", 100, PAST)
    runs.put("b", 90, PAST)
    runs.put("c", 80, PAST)
    runs.closed, runs.closing = {"a"}, {"b"}
    retrying, others = await read(runs.storms())
    assert retrying == {("Ride", "Charge"): 1}
    assert of(others) == (1, 3)
    assert runs.asked == ["b", "c"]


async def test_failure_holds_up_nobody() -> None:
    """A request that fails ends the reading; the next one begins with the other runs."""
    runs = FakeRuns()
    runs.put("a", 100, PAST)
    runs.put("b", 90, PAST)
    runs.failing = {"a"}
    storms = runs.storms()
    for _ in range(2):
        with pytest.raises(TemporalRequestError):
            await read(storms)
    assert runs.asked == ["a", "b", "a"]
    runs.failing = set()
    assert of((await read(storms))[1]) == (2, 2)


async def test_failed_is_not_seen() -> None:
    """A run that was asked for in vain is not among those that were looked at."""
    runs = FakeRuns()
    runs.put("a", 100, PAST)
    runs.put("b", 90)
    runs.failing = {"a"}
    storms = runs.storms(sample=1)
    with pytest.raises(TemporalRequestError):
        await read(storms)
    assert of((await read(storms))[1]) == (1, 2)


async def test_bounded() -> None:
    """Types become `other` past a limit, which is counted."""
    runs = FakeRuns()
    for number in range(ACTIVITY_TYPES_MAX + 2):
        runs.put(f"a{number}", 1000 - number, PAST, activity=f"Activity{number}")
    for number in range(WORKFLOW_TYPES_MAX + 3):
        runs.put(f"w{number}", 100 - number, PAST, PAST, workflow_type=f"Workflow{number}")
    storms = runs.storms(sample=100)
    for _ in range(2):
        retrying, others = await read(storms)
        assert retrying["Ride", "other"] == 2
        assert retrying["other", "Charge"] == 8
        assert len(retrying) == ACTIVITY_TYPES_MAX + WORKFLOW_TYPES_MAX + 1
        assert others[names.EXPORTER_RETRYING_ACTIVITIES_OVER_LIMIT.name] == 10


async def test_ledger_away() -> None:
    """A ledger that cannot be read fails the reading, and its watch goes on with the last good one."""
    runs = FakeRuns()

    async def away(_: Iterable[str]) -> Mapping[str, str]:
        raise LedgerError("disk I/O error")

    watch = SourceRunner("default", RetryStorms(runs, runs.state, SloRules, away), timedelta(seconds=1))
    await watch.read()
    assert watch.result
    assert watch.result.error == "ledger: disk I/O error"
