from collections.abc import Iterable

import pytest

from temporal_slo import names
from temporal_slo.errors import TemporalRequestError
from temporal_slo.exporter.exposition.collector import collect
from temporal_slo.exporter.exposition.snapshot import Snapshot
from temporal_slo.exporter.sources.task_problems import PAGES_MAX, TaskProblems
from temporal_slo.names import Family
from temporal_slo.names.samples import Sample
from temporal_slo.temporal.task_problems import Problem
from temporal_slo.testing import FakeTaskProblems

FAILED, TIMED_OUT = "WorkflowTaskFailed", "WorkflowTaskTimedOut"
BUG = "WorkflowTaskFailedCauseWorkflowWorkerUnhandledFailure"
CHANGED = "WorkflowTaskFailedCauseNonDeterministicError"
RIDE = Problem("Ride", FAILED, BUG)
MEAL = Problem("Meal", FAILED, CHANGED)


def stuck(samples: Iterable[Sample]) -> dict[Problem, object]:
    """Return the number of runs with each problem."""
    family = names.WORKFLOWS_WITH_TASK_PROBLEMS
    return {Problem(**sample.labels): sample.value for sample in samples if sample.family is family}


def value(samples: Iterable[Sample], family: Family) -> object:
    """Return the only value of a family."""
    return next(sample.value for sample in samples if sample.family is family)


async def test_counts_over_pages() -> None:
    """Runs on all pages are counted by workflow type, category and cause."""
    requests = FakeTaskProblems([[RIDE, MEAL], [RIDE]])
    samples = await TaskProblems(requests).read(0)
    assert stuck(samples) == {RIDE: 2, MEAL: 1}
    assert value(samples, names.EXPORTER_TASK_PROBLEMS_TRUNCATED) == 0
    assert value(samples, names.EXPORTER_TASK_PROBLEMS_OVER_LIMIT) == 0
    assert requests.requests == [(1000, b""), (1000, b"1")]
    exposed = dict(collect([Snapshot("shop", self_metrics=tuple(samples))]))
    assert (("shop", *RIDE), 2) in list(exposed[names.WORKFLOWS_WITH_TASK_PROBLEMS])


async def test_recovered_is_zero() -> None:
    """A problem that no run has any more is exposed as 0; one that never occurred is not exposed."""
    requests = FakeTaskProblems([[RIDE]])
    source = TaskProblems(requests)
    await source.read(0)
    requests.pages = []
    assert stuck(await source.read(0)) == {RIDE: 0}


async def test_pages_are_bounded() -> None:
    """Runs beyond the last page of a read are not counted, and the result is reported as truncated."""
    requests = FakeTaskProblems([[RIDE]], endless=True)
    samples = await TaskProblems(requests).read(0)
    assert stuck(samples) == {RIDE: PAGES_MAX}
    assert len(requests.requests) == PAGES_MAX
    assert value(samples, names.EXPORTER_TASK_PROBLEMS_TRUNCATED) == 1


async def test_labels_are_bounded() -> None:
    """Beyond the limit problems are counted as `other`, fewest runs first; a series once exposed stays."""
    requests = FakeTaskProblems([[RIDE, MEAL, MEAL, Problem("Boat", TIMED_OUT, "Late")]])
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
    requests = FakeTaskProblems([[Problem("Ride", "New", "NewCause"), Problem("Ride", "", "")]])
    assert stuck(await TaskProblems(requests).read(0)) == {
        Problem("Ride", "other", "NewCause"): 1,
        Problem("Ride", "other", "other"): 1,
    }


async def test_failed_page() -> None:
    """If a page fails, the read fails and changes nothing."""
    requests = FakeTaskProblems([[RIDE], [MEAL]])
    requests.errors.extend([None, TemporalRequestError("UNAVAILABLE", "unreachable")])
    source = TaskProblems(requests)
    with pytest.raises(TemporalRequestError, match="unreachable"):
        await source.read(0)
    requests.pages = [[]]
    assert stuck(await source.read(0)) == {}


async def test_unsupported() -> None:
    """On a server that does not report task problems every read fails, until the server supports it."""
    requests = FakeTaskProblems([[RIDE]], supported=False)
    source = TaskProblems(requests)
    for _ in range(2):
        with pytest.raises(TemporalRequestError, match="does not report"):
            await source.read(0)
    assert requests.requests == []
    requests.supported = True
    assert stuck(await source.read(0)) == {RIDE: 1}
    await source.read(0)
    assert requests.support_checks == 3
