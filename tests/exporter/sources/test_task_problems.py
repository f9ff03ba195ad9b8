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
        is_reported: Whether the server reports task problems.
        endless: Whether every page has a next one.
        error: Raised for all pages but the first.
        tokens: Page tokens of the requests so far.
        checks: How often support was requested.
    """

    pages: list[list[Problem]] = field(default_factory=list)
    is_reported: bool = True
    endless: bool = False
    error: TemporalRequestError | None = None
    tokens: list[bytes] = field(default_factory=list)
    checks: int = 0

    async def is_supported(self) -> bool:
        """Return whether the server reports task problems."""
        self.checks += 1
        return self.is_reported

    async def page(self, size: int, token: bytes = b"") -> ProblemPage:
        """Return a page."""
        assert size == 1000
        self.tokens.append(token)
        number = int(token or b"0")
        if self.error and number:
            raise self.error
        more = self.endless or number + 1 < len(self.pages)
        problems = self.pages[number % len(self.pages)] if self.pages else []
        return ProblemPage(tuple(problems), str(number + 1).encode() if more else b"")


def stuck(samples: Iterable[Sample]) -> dict[Problem, object]:
    """Return the number of runs with each problem."""
    family = names.WORKFLOWS_WITH_TASK_PROBLEMS
    return {Problem(**sample.labels): sample.value for sample in samples if sample.family is family}


def value(samples: Iterable[Sample], family: Family) -> object:
    """Return the only value of a family."""
    return next(sample.value for sample in samples if sample.family is family)


async def test_counts_over_pages() -> None:
    """Runs on all pages are counted by workflow type, category and cause."""
    requests = FakeProblems([[RIDE, MEAL], [RIDE]])
    samples = await TaskProblems(requests).read(0)
    assert stuck(samples) == {RIDE: 2, MEAL: 1}
    assert value(samples, names.EXPORTER_TASK_PROBLEMS_TRUNCATED) == 0
    assert value(samples, names.EXPORTER_TASK_PROBLEMS_OVER_LIMIT) == 0
    assert requests.tokens == [b"", b"1"]
    exposed = dict(collect([Snapshot("shop", self_metrics=tuple(samples))]))
    assert (("shop", *RIDE), 2) in list(exposed[names.WORKFLOWS_WITH_TASK_PROBLEMS])


async def test_recovered_is_zero() -> None:
    """A problem that no run has any more is exposed as 0; one that never occurred is not exposed."""
    requests = FakeProblems([[RIDE]])
    source = TaskProblems(requests)
    await source.read(0)
    requests.pages = []
    assert stuck(await source.read(0)) == {RIDE: 0}


async def test_pages_are_bounded() -> None:
    """Runs beyond the last page of a read are not counted, and the result is reported as truncated."""
    requests = FakeProblems([[RIDE]], endless=True)
    samples = await TaskProblems(requests).read(0)
    assert stuck(samples) == {RIDE: PAGES_MAX}
    assert len(requests.tokens) == PAGES_MAX
    assert value(samples, names.EXPORTER_TASK_PROBLEMS_TRUNCATED) == 1


async def test_labels_are_bounded() -> None:
    """Beyond the limit problems are counted as `other`, fewest runs first; a series once exposed stays."""
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


async def test_unknown_category() -> None:
    """An unknown category is exposed as `other`, and so is a missing cause."""
    requests = FakeProblems([[Problem("Ride", "New", "NewCause"), Problem("Ride", "", "")]])
    assert stuck(await TaskProblems(requests).read(0)) == {
        Problem("Ride", "other", "NewCause"): 1,
        Problem("Ride", "other", "other"): 1,
    }


async def test_failed_page() -> None:
    """If a page fails, the read fails and changes nothing."""
    requests = FakeProblems([[RIDE], [MEAL]], error=TemporalRequestError("UNAVAILABLE", "unreachable"))
    source = TaskProblems(requests)
    with pytest.raises(TemporalRequestError, match="unreachable"):
        await source.read(0)
    requests.pages = [[]]
    assert stuck(await source.read(0)) == {}


async def test_unsupported() -> None:
    """On a server that does not report task problems every read fails, until the server supports it."""
    requests = FakeProblems([[RIDE]], is_reported=False)
    source = TaskProblems(requests)
    for _ in range(2):
        with pytest.raises(TemporalRequestError, match="does not report"):
            await source.read(0)
    assert requests.tokens == []
    requests.is_reported = True
    assert stuck(await source.read(0)) == {RIDE: 1}
    await source.read(0)
    assert requests.checks == 3
