"""The source of figures about stuck runs: those whose workflow tasks fail or time out again and again."""

from collections import Counter
from collections.abc import Iterable
from typing import Final

from temporal_slo import names
from temporal_slo.errors import TemporalRequestError
from temporal_slo.exporter.sources.source import Source
from temporal_slo.names.samples import Sample
from temporal_slo.temporal.task_problems import CATEGORIES, Problem, TaskProblemRequests
from temporal_slo.temporal.visibility import PAGE_SIZE_MAX

PAGES_MAX: Final = 5
PROBLEMS_MAX: Final = 500
"""Different problems (workflow type, category, cause) that are told apart."""

OTHER: Final = "other"


class TaskProblems(Source):
    """Reads which runs are stuck now.

    The server marks a run after five workflow tasks in a row that failed or timed out, and takes the mark away with
    the first that succeeds; so a run shows here a minute after it got stuck, or later.

    Args:
        requests: Answers.
        limit: How many different problems are told apart; further ones are `other`.
    """

    name: Final = "task_problems"

    def __init__(self, requests: TaskProblemRequests, *, limit: int = PROBLEMS_MAX) -> None:
        self._requests = requests
        self._limit = limit
        self._reported = False
        # All that were there once: they are 0 afterwards, so that an alert on them ends by a value and not by silence.
        self._known: dict[Problem, None] = {}

    async def read(self, now: int) -> Iterable[Sample]:  # noqa: ARG002 the figures are those of now
        """Return how many runs have each problem, 0 for those that some had before.

        Raises:
            TemporalRequestError: A request failed, or the server does not report problems.
        """
        if not self._reported:
            # Such a server answers with no runs, which must not be taken for none that is stuck.
            self._reported = await self._requests.is_supported()
            if not self._reported:
                raise TemporalRequestError("UNIMPLEMENTED", "the server does not report workflow task problems")
        stuck, truncated = await self._stuck()
        counts, bounded = self._bounded(stuck)
        return [
            *(
                Sample(names.WORKFLOWS_WITH_TASK_PROBLEMS, problem._asdict(), counts[problem])
                for problem in self._known
            ),
            Sample(names.EXPORTER_TASK_PROBLEMS_TRUNCATED, {}, int(truncated)),
            Sample(names.EXPORTER_TASK_PROBLEMS_OVER_LIMIT, {}, bounded),
        ]

    async def _stuck(self) -> tuple[Counter[Problem], bool]:
        """Return how many runs have each problem, as far as they are read, and whether there are more."""
        stuck, token = Counter[Problem](), b""
        for _ in range(PAGES_MAX):
            page = await self._requests.page(PAGE_SIZE_MAX, token)
            stuck.update(map(_clean, page.problems))
            token = page.next_token
            if not token:
                break
        return stuck, bool(token)

    def _bounded(self, stuck: Counter[Problem]) -> tuple[Counter[Problem], int]:
        """Return the same with those that are too many put together, and how many runs these are."""
        counts, bounded = Counter[Problem](), 0
        # Those with the most runs get a place of their own first.
        for problem, runs in stuck.most_common():
            known = problem in self._known or len(self._known) < self._limit
            kept = problem if known else Problem(OTHER, problem.category, OTHER)
            bounded += 0 if known else runs
            self._known.setdefault(kept)
            counts[kept] += runs
        return counts, bounded


def _clean(problem: Problem) -> Problem:
    category = problem.category if problem.category in CATEGORIES else OTHER
    return problem._replace(category=category, cause=problem.cause or OTHER)
