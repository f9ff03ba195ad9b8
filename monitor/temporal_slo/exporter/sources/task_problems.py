"""Data source of task problems: runs that are stuck because their workflow tasks keep failing or timing out."""

from collections import Counter
from collections.abc import Iterable
from typing import Final

from temporal_slo import names
from temporal_slo.errors import TemporalRequestError
from temporal_slo.exporter.sources.source import Source
from temporal_slo.names.samples import Sample
from temporal_slo.names.values import OTHER
from temporal_slo.temporal.task_problems import CATEGORIES, Problem, TaskProblemRequests
from temporal_slo.temporal.visibility import PAGE_SIZE_MAX

RUNS_MAX: Final = 5 * PAGE_SIZE_MAX
PAGES_MAX: Final = 50
"""Runs and pages after which no further page is listed. Pages may be smaller than requested."""

PROBLEMS_MAX: Final = 500
"""Distinct problems (workflow type, category, cause); further ones are counted as `other`."""


class TaskProblems(Source):
    """Reads which runs are stuck.

    The server marks a run after five consecutive workflow tasks that failed or timed out, and removes the mark after
    the first that succeeds. So a run is counted a minute or more after it got stuck.

    Args:
        requests: Lists the problems.
        limit: Maximum number of distinct problems; further ones are counted as `other`.
    """

    name: Final = "task_problems"

    def __init__(self, requests: TaskProblemRequests, *, limit: int = PROBLEMS_MAX) -> None:
        self._requests = requests
        self._limit = limit
        self._supported = False
        # All problems exposed so far, in order: a solved one becomes 0, so that its alert resolves by a value.
        self._exposed: dict[Problem, None] = {}

    async def read(self, now: int) -> Iterable[Sample]:  # noqa: ARG002 the server returns the runs stuck now
        """Return the number of runs with each problem; 0 for earlier problems that no run has any more.

        Raises:
            TemporalRequestError: A request failed, or the server does not report task problems.
        """
        if not self._supported:
            # A server without support lists no runs, which must not be exposed as no stuck runs.
            self._supported = await self._requests.is_supported()
            if not self._supported:
                raise TemporalRequestError("UNIMPLEMENTED", "the server does not report workflow task problems")
        listed, truncated = await self._list()
        counts, over_limit = self._bounded(listed)
        return [
            *(
                Sample(names.WORKFLOWS_WITH_TASK_PROBLEMS, problem._asdict(), counts[problem])
                for problem in self._exposed
            ),
            Sample(names.EXPORTER_TASK_PROBLEMS_TRUNCATED, {}, int(truncated)),
            Sample(names.EXPORTER_TASK_PROBLEMS_OVER_LIMIT, {}, over_limit),
        ]

    async def _list(self) -> tuple[Counter[Problem], bool]:
        """Return the number of runs with each problem among the first runs, and whether there are more."""
        listed, token = Counter[Problem](), b""
        for _ in range(PAGES_MAX):
            page = await self._requests.page(PAGE_SIZE_MAX, token)
            listed.update(map(_normalized, page.problems))
            token = page.next_token
            if not token or listed.total() >= RUNS_MAX:
                break
        return listed, bool(token)

    def _bounded(self, listed: Counter[Problem]) -> tuple[Counter[Problem], int]:
        """Return *listed* with problems beyond the limit merged, and the number of runs with these."""
        counts, over_limit = Counter[Problem](), 0
        # The problems with the most runs get a series of their own first.
        for problem, runs in listed.most_common():
            admitted = problem in self._exposed or len(self._exposed) < self._limit
            counted_as = problem if admitted else Problem(OTHER, problem.category, OTHER)
            over_limit += 0 if admitted else runs
            self._exposed.setdefault(counted_as)
            counts[counted_as] += runs
        return counts, over_limit


def _normalized(problem: Problem) -> Problem:
    category = problem.category if problem.category in CATEGORIES else OTHER
    return problem._replace(category=category, cause=problem.cause or OTHER)
