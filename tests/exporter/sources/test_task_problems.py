from collections.abc import Iterable
from dataclasses import dataclass, field

import pytest

from temporal_slo import names
from temporal_slo.errors import TemporalRequestError
from temporal_slo.exporter.exposition.collector import collect
from temporal_slo.exporter.exposition.snapshot import Snapshot
from temporal_slo.exporter.sources.task_problems import PAGES_MAX, TaskProblems
from temporal_slo.names import Family
from temporal_slo.names.samples import Sample
from temporal_slo.temporal.task_problems import Problem, ProblemPage

FAILED, TIMED_OUT = "WorkflowTaskFailed", "WorkflowTaskTimedOut"
BUG = "WorkflowTaskFailedCauseWorkflowWorkerUnhandledFailure"
CHANGED = "WorkflowTaskFailedCauseNonDeterministicError"
RIDE = Problem("Ride", FAILED, BUG)
MEAL = Problem("Meal", FAILED, CHANGED)


@dataclass
class FakeProblems:
    """Pages of stuck runs.

    Attributes:
        endless: Whether there is always a further page.
        asked: Page tokens of the requests so far.
    """

    pages: list[list[Problem]] = field(default_factory=list)
    is_reported: bool = True
    endless: bool = False
    error: TemporalRequestError | None = None
    asked: list[bytes] = field(default_factory=list)
    checks: int = 0

    async def is_supported(self) -> bool:
        """Answer."""
        self.checks += 1
        return self.is_reported

    async def page(self, size: int, token: bytes = b"") -> ProblemPage:
        """Answer."""
        assert size == 1000
        self.asked.append(token)
        number = int(token or b"0")
        if self.error and number:
            raise self.error
        more = self.endless or number + 1 < len(self.pages)
        problems = self.pages[number % len(self.pages)] if self.pages else []
        return ProblemPage(tuple(problems), str(number + 1).encode() if more else b"")


def stuck(samples: Iterable[Sample]) -> dict[Problem, object]:
    """How many runs have each problem."""
    family = names.WORKFLOWS_WITH_TASK_PROBLEMS
    return {Problem(**sample.labels): sample.value for sample in samples if sample.family is family}


def value(samples: Iterable[Sample], family: Family) -> object:
    """The only value of a family."""
    return next(sample.value for sample in samples if sample.family is family)


async def test_counts_over_pages() -> None:
    """Runs are counted by type, category and cause, over all pages."""
    requests = FakeProblems([[RIDE, MEAL], [RIDE]])
    samples = await TaskProblems(requests).read(0)
    assert stuck(samples) == {RIDE: 2, MEAL: 1}
    assert value(samples, names.EXPORTER_TASK_PROBLEMS_TRUNCATED) == 0
    assert value(samples, names.EXPORTER_TASK_PROBLEMS_OVER_LIMIT) == 0
    assert requests.asked == [b"", b"1"]
    exposed = dict(collect([Snapshot("shop", self_metrics=tuple(samples))]))
    assert (("shop", *RIDE), 2) in list(exposed[names.WORKFLOWS_WITH_TASK_PROBLEMS])


async def test_recovered_is_zero() -> None:
    """What had problems shows 0 afterwards, what never had shows nothing."""
    requests = FakeProblems([[RIDE]])
    source = TaskProblems(requests)
    await source.read(0)
    requests.pages = []
    assert stuck(await source.read(0)) == {RIDE: 0}


async def test_pages_are_bounded() -> None:
    """More runs than are read at once are not read, and that is told."""
    requests = FakeProblems([[RIDE]], endless=True)
    samples = await TaskProblems(requests).read(0)
    assert stuck(samples) == {RIDE: PAGES_MAX}
    assert len(requests.asked) == PAGES_MAX
    assert value(samples, names.EXPORTER_TASK_PROBLEMS_TRUNCATED) == 1


async def test_labels_are_bounded() -> None:
    """Past the limit runs are counted as `other`, those with the fewest first; a place once given is kept."""
    requests = FakeProblems([[RIDE, MEAL, MEAL, Problem("Boat", TIMED_OUT, "Late")]])
    source = TaskProblems(requests, limit=1)
    samples = await source.read(0)
    others = {Problem("other", FAILED, "other"): 1, Problem("other", TIMED_OUT, "other"): 1}
    assert stuck(samples) == {MEAL: 2, **others}
    assert value(samples, names.EXPORTER_TASK_PROBLEMS_OVER_LIMIT) == 2
    requests.pages = [[RIDE] * 3]
    samples = await source.read(0)
    assert stuck(samples) == {MEAL: 0, **dict.fromkeys(others, 0), Problem("other", FAILED, "other"): 3}
    assert value(samples, names.EXPORTER_TASK_PROBLEMS_OVER_LIMIT) == 3


async def test_unknown_words() -> None:
    """A category that we do not know is `other`, and so is a cause that is not given."""
    requests = FakeProblems([[Problem("Ride", "New", "NewCause"), Problem("Ride", "", "")]])
    assert stuck(await TaskProblems(requests).read(0)) == {
        Problem("Ride", "other", "NewCause"): 1,
        Problem("Ride", "other", "other"): 1,
    }


async def test_a_failure_fails_the_reading() -> None:
    """Some of the pages are no reading, and change nothing."""
    requests = FakeProblems([[RIDE], [MEAL]], error=TemporalRequestError("UNAVAILABLE", "away"))
    source = TaskProblems(requests)
    with pytest.raises(TemporalRequestError, match="away"):
        await source.read(0)
    requests.pages = [[]]
    assert stuck(await source.read(0)) == {}


async def test_server_without_the_report() -> None:
    """A server that reports no problems is not taken for one that has none; it is asked again until it does."""
    requests = FakeProblems([[RIDE]], is_reported=False)
    source = TaskProblems(requests)
    for _ in range(2):
        with pytest.raises(TemporalRequestError, match="does not report"):
            await source.read(0)
    assert requests.asked == []
    requests.is_reported = True
    assert stuck(await source.read(0)) == {RIDE: 1}
    await source.read(0)
    assert requests.checks == 3
