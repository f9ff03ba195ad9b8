from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta

import pytest

from temporal_slo import names
from temporal_slo.errors import LedgerError, TemporalRequestError
from temporal_slo.exporter.mirror.slo_rules import OverdueRule, SloRules
from temporal_slo.exporter.sources.retry_storms import ACTIVITY_TYPES_MAX, ATTEMPTS_MAX, WORKFLOW_TYPES_MAX, RetryStorms
from temporal_slo.exporter.sources.source import SourceRunner
from temporal_slo.ledger.state import OpenRun, State
from temporal_slo.runs.counted import RunningKey
from temporal_slo.runs.microseconds import SECOND
from temporal_slo.temporal.pending_activities import PendingActivity
from temporal_slo.testing import FakePendingActivities

NOW = 1_700_000_000 * SECOND
RETRYING = ATTEMPTS_MAX + 1


UNREACHABLE = TemporalRequestError("UNAVAILABLE", "unreachable")


class Runs(FakePendingActivities):
    """Open runs with pending activities.

    Attributes:
        state: Holds the open runs.
        rules: Rules of the SLOs.
        closed: Ids of runs that are no longer open in the ledger.
        closing: Ids of runs that close during their request.
    """

    def __init__(self) -> None:
        super().__init__()
        self.state = State()
        self.rules = SloRules()
        self.closed: set[str] = set()
        self.closing: set[str] = set()

    @property
    def requested(self) -> list[str]:
        """Ids of the requested runs, in order."""
        return [run_id for _, run_id in self.requests]

    def put(self, run_id: str, age: int, *attempts: int, workflow_type: str = "Ride", activity: str = "Charge") -> None:
        """Add a run with this age in seconds, and one pending activity in each of these attempts."""
        self.state.open[run_id] = OpenRun(RunningKey(workflow_type, "rides"), NOW - age * SECOND)
        self.pending[run_id] = tuple(PendingActivity(activity, attempt) for attempt in attempts)

    async def workflow_ids(self, run_ids: Sequence[str]) -> Mapping[str, str]:
        """Return the workflow ids of open runs."""
        return {run_id: f"workflow of {run_id}" for run_id in run_ids if run_id not in self.closed}

    async def activities(self, workflow_id: str, run_id: str) -> tuple[PendingActivity, ...]:
        """Return the pending activities of a run."""
        assert workflow_id == f"workflow of {run_id}"
        if run_id in self.closing:
            del self.state.open[run_id]
        return await super().activities(workflow_id, run_id)

    def source(self, sample_size: int = 50, pool_size: int = 500) -> RetryStorms:
        """Return the data source of these runs."""
        return RetryStorms(
            self, self.state, lambda: self.rules, self.workflow_ids, sample_size=sample_size, pool_size=pool_size
        )


async def read(source: RetryStorms) -> tuple[dict[tuple[str, str], float], dict[str, float]]:
    """Read, and return retrying activities by workflow and activity type, and the other values by metric name."""
    retrying: dict[tuple[str, str], float] = {}
    others: dict[str, float] = {}
    for family, labels, value in await source.read(NOW):
        assert {*labels, names.NAMESPACE} == set(family.labels)
        assert isinstance(value, int | float)
        if family is names.ACTIVITIES_RETRYING:
            retrying[labels[names.WORKFLOW_TYPE], labels[names.ACTIVITY_TYPE]] = value
        else:
            others[family.name] = value
    return retrying, others


def sampled_of(values: Mapping[str, float]) -> tuple[float, float]:
    """Return the number of sampled runs and of candidate runs."""
    return values[names.EXPORTER_RETRY_SAMPLED_RUNS.name], values[names.EXPORTER_RETRY_CANDIDATE_RUNS.name]


async def test_counts() -> None:
    """Activities with more attempts than normal are counted by workflow and activity type; others are not."""
    runs = Runs()
    runs.put("a", 100, RETRYING, ATTEMPTS_MAX, 1)
    runs.put("b", 90, RETRYING, 1_000)
    runs.put("c", 80, RETRYING, workflow_type="TopUp", activity="Refund")
    runs.put("d", 70, ATTEMPTS_MAX, workflow_type="Quiet")
    runs.put("not started", -5, RETRYING)
    retrying, others = await read(runs.source())
    assert retrying == {("Ride", "Charge"): 3, ("TopUp", "Refund"): 1}
    assert sampled_of(others) == (4, 4)
    assert others[names.EXPORTER_RETRYING_ACTIVITIES_OVER_LIMIT.name] == 0


async def test_recovered() -> None:
    """A retry storm that ended is exposed as 0, whether its activities succeeded, its run closed, or all runs did."""
    runs = Runs()
    runs.put("a", 100, RETRYING)
    runs.put("b", 90, RETRYING, activity="Refund")
    source = runs.source()
    assert (await read(source))[0] == {("Ride", "Charge"): 1, ("Ride", "Refund"): 1}
    runs.pending["a"] = ()
    assert (await read(source))[0] == {("Ride", "Charge"): 0, ("Ride", "Refund"): 1}
    del runs.state.open["b"]
    assert (await read(source))[0] == {("Ride", "Charge"): 0, ("Ride", "Refund"): 0}
    runs.state.open.clear()
    retrying, others = await read(source)
    assert retrying == {("Ride", "Charge"): 0, ("Ride", "Refund"): 0}
    assert sampled_of(others) == (0, 0)


async def test_unknown_is_not_zero() -> None:
    """If no run of a workflow type was described, its activities are not exposed."""
    runs = Runs()
    runs.put("a", 10, RETRYING)
    source = runs.source(pool_size=1)
    assert (await read(source))[0] == {("Ride", "Charge"): 1}
    runs.put("older", 20, workflow_type="TopUp")
    retrying, others = await read(source)
    assert retrying == {}
    assert sampled_of(others) == (1, 2)


async def test_rotation() -> None:
    """Reads describe all runs of the pool in rotation, overdue ones first, and earlier results still count."""
    runs = Runs()
    for number in range(7):
        runs.put(f"{number}", 100 - number)
    runs.put("overdue", 50, workflow_type="TopUp")
    runs.pending["3"] = (PendingActivity("Charge", RETRYING),)
    runs.rules = SloRules(overdue=(OverdueRule("stuck", ("TopUp",), None, 40 * SECOND),))
    source = runs.source(sample_size=3)
    assert (await read(source))[0] == {}
    assert runs.requested == ["overdue", "0", "1"]
    assert (await read(source))[0] == {("Ride", "Charge"): 1}
    assert runs.requested[3:] == ["2", "3", "4"]
    # One of three requests goes to the run with retrying activities.
    assert (await read(source))[0] == {("Ride", "Charge"): 1}
    assert runs.requested[6:] == ["3", "5", "6"]
    retrying, others = await read(source)
    assert retrying == {("Ride", "Charge"): 1}
    assert runs.requested[9:] == ["3", "overdue", "0"]
    assert sampled_of(others) == (8, 8)


async def test_order() -> None:
    """The least recently described runs come first; among them overdue ones, then the oldest, whatever their order."""
    runs = Runs()
    for run_id, age in (("young", 10), ("old", 90), ("middle", 50)):
        runs.put(run_id, age)
        runs.put(f"overdue {run_id}", age, workflow_type="TopUp")
    runs.rules = SloRules(overdue=(OverdueRule("stuck", ("TopUp",), None, SECOND),))
    source = runs.source(sample_size=4)
    await read(source)
    assert runs.requested == ["overdue old", "overdue middle", "overdue young", "old"]
    runs.put("overdue new", 99, workflow_type="TopUp")
    await read(source)
    assert runs.requested[4:] == ["overdue new", "middle", "young", "overdue old"]


async def test_pool() -> None:
    """The rotation holds a limited number of overdue runs and of others, the oldest of each."""
    runs = Runs()
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
    source = runs.source(pool_size=2)
    for _ in range(2):
        _, others = await read(source)
        assert sorted(runs.requested) == ["0", "1", "overdue 0", "overdue 1"]
        assert sampled_of(others) == (4, 20)
        runs.requests.clear()


async def test_closed_during_read() -> None:
    """A run that closes during a read is not counted."""
    runs = Runs()
    runs.put("a", 100, RETRYING)
    runs.put("b", 90, RETRYING)
    runs.put("c", 80, RETRYING)
    runs.closed, runs.closing = {"a"}, {"b"}
    retrying, others = await read(runs.source())
    assert retrying == {("Ride", "Charge"): 1}
    assert sampled_of(others) == (1, 3)
    assert runs.requested == ["b", "c"]


async def test_failed_request() -> None:
    """A failed request fails the read; the next read begins with the other runs."""
    runs = Runs()
    runs.put("a", 100, RETRYING)
    runs.put("b", 90, RETRYING)
    runs.errors = dict.fromkeys({"a"}, UNREACHABLE)
    source = runs.source()
    for _ in range(2):
        with pytest.raises(TemporalRequestError):
            await read(source)
    assert runs.requested == ["a", "b", "a"]
    runs.errors = {}
    assert sampled_of((await read(source))[1]) == (2, 2)


async def test_failed_is_not_sampled() -> None:
    """A run whose request failed is not counted as sampled."""
    runs = Runs()
    runs.put("a", 100, RETRYING)
    runs.put("b", 90)
    runs.errors = dict.fromkeys({"a"}, UNREACHABLE)
    source = runs.source(sample_size=1)
    with pytest.raises(TemporalRequestError):
        await read(source)
    assert sampled_of((await read(source))[1]) == (1, 2)


async def test_bounded() -> None:
    """Types beyond the limit are exposed as `other`, and their activities are counted."""
    runs = Runs()
    for number in range(ACTIVITY_TYPES_MAX + 2):
        runs.put(f"a{number}", 1000 - number, RETRYING, activity=f"Activity{number}")
    for number in range(WORKFLOW_TYPES_MAX + 3):
        runs.put(f"w{number}", 100 - number, RETRYING, RETRYING, workflow_type=f"Workflow{number}")
    source = runs.source(sample_size=100)
    for _ in range(2):
        retrying, others = await read(source)
        assert retrying["Ride", "other"] == 2
        assert retrying["other", "Charge"] == 8
        assert len(retrying) == ACTIVITY_TYPES_MAX + WORKFLOW_TYPES_MAX + 1
        assert others[names.EXPORTER_RETRYING_ACTIVITIES_OVER_LIMIT.name] == 10


async def test_ledger_unreadable() -> None:
    """If the ledger cannot be read, the read fails with its error."""
    runs = Runs()

    async def fail(_: Iterable[str]) -> Mapping[str, str]:
        raise LedgerError("disk I/O error")

    runner = SourceRunner("default", RetryStorms(runs, runs.state, SloRules, fail), timedelta(seconds=1))
    await runner.read()
    assert runner.result
    assert runner.result.error == "ledger: disk I/O error"
