"""The source of figures about retry storms: activities that fail over and over, and are tried again."""

from collections import Counter
from collections.abc import Awaitable, Callable, Container, Iterable, Iterator, Mapping, Sequence
from heapq import nsmallest
from math import inf
from typing import Final, NamedTuple

from temporal_slo import names
from temporal_slo.exporter.mirror.slo_rules import SloRules
from temporal_slo.exporter.sources.source import Source
from temporal_slo.ledger.state import State
from temporal_slo.names.bounded import BoundedValues
from temporal_slo.names.samples import Sample
from temporal_slo.runs.counted import RunningKey
from temporal_slo.temporal.pending_activities import PendingActivityRequests

ATTEMPTS: Final = 10
"""Failed attempts that are nothing out of the ordinary."""

SAMPLE: Final = 50
"""Runs that are looked at in one reading."""

POOL: Final = 500
"""Overdue runs, and old ones beside them, that are looked at in turn."""

WORKFLOW_TYPES_MAX: Final = 50
ACTIVITY_TYPES_MAX: Final = 20
"""Of each workflow type."""

WorkflowIds = Callable[[Sequence[str]], Awaitable[Mapping[str, str]]]


class Retrying(NamedTuple):
    """What retried activities are counted by."""

    workflow_type: str
    activity_type: str


class RetryStorms(Source):
    """Looks for activities of open runs that were tried too often.

    No list tells of attempts: each run must be asked for, one request each. So a reading looks at a few runs only,
    overdue ones first, then old ones; the next one at those which were not looked at the longest. What was seen of
    a run counts until it is looked at again, or closes. Half of the requests may go to runs that had such activities
    the last time, so that it shows soon when they are healed.

    Choosing the runs is a walk over all that are open.

    Args:
        requests: Answers.
        state: Has the open runs.
        rules: Returns the rules of this moment.
        workflow_ids: Returns the workflow ids of open runs, by run id: memory does not hold them.
        attempts: Failed attempts that an activity may have.
        sample: Runs that a reading looks at, at most.
        pool: Overdue runs, and old ones beside them, that are looked at in turn.
    """

    name: Final = "retry_storms"

    def __init__(
        self,
        requests: PendingActivityRequests,
        state: State,
        rules: Callable[[], SloRules],
        workflow_ids: WorkflowIds,
        *,
        attempts: int = ATTEMPTS,
        sample: int = SAMPLE,
        pool: int = POOL,
    ) -> None:
        self._requests = requests
        self._state = state
        self._rules = rules
        self._workflow_ids = workflow_ids
        self._attempts = attempts
        self._sample = sample
        self._pool = pool
        self._reading = self._candidates = 0
        self._asked: dict[str, int] = {}
        self._seen: dict[str, Counter[str]] = {}
        self._stormed: set[Retrying] = set()
        self._workflow_types = BoundedValues[str](WORKFLOW_TYPES_MAX)
        self._activity_types = BoundedValues[str](ACTIVITY_TYPES_MAX)

    async def read(self, now: int) -> Iterable[Sample]:
        """Return what is known of retried activities after looking at a few runs more.

        Raises:
            TemporalRequestError: A request failed; what was seen before is kept.
            LedgerError: The ledger could not be read.
        """
        self._reading += 1
        await self._look(self._due(now))
        # A run may have closed in the meantime.
        self._forget(self._state.open)
        retrying, replaced = self._count()
        return [
            Sample(names.EXPORTER_RETRY_CANDIDATE_RUNS, {}, self._candidates),
            Sample(names.EXPORTER_RETRY_SAMPLED_RUNS, {}, len(self._seen)),
            Sample(names.EXPORTER_RETRYING_ACTIVITIES_OVER_LIMIT, {}, replaced),
            *(Sample(names.ACTIVITIES_RETRYING, key._asdict(), count) for key, count in retrying.items()),
        ]

    def _forget(self, kept: Container[str]) -> None:
        self._asked = {run_id: reading for run_id, reading in self._asked.items() if run_id in kept}
        self._seen = {run_id: retried for run_id, retried in self._seen.items() if run_id in kept}

    def _due(self, now: int) -> list[str]:
        """Return the ids of the runs to look at in this reading, and forget those that are not looked at any more."""
        pool = list(self._chosen(now))
        self._forget(set(pool))
        # Sorting is stable: among those never looked at, overdue and old ones stay first.
        pool.sort(key=lambda run_id: self._asked.get(run_id, 0))
        storming = [run_id for run_id in pool if self._seen.get(run_id)]
        return list(dict.fromkeys((*storming[: self._sample // 2], *pool)))[: self._sample]

    def _chosen(self, now: int) -> Iterator[str]:
        """Yield the ids of overdue runs and of the oldest others."""
        rules = self._rules()
        # One walk, and little in it: there may be very many open runs, and everything else waits for it.
        ages: dict[RunningKey, float] = {}
        overdue: list[tuple[int, str]] = []
        others: list[tuple[int, str]] = []
        for run_id, (key, due, _) in self._state.open.items():
            age = ages.get(key)
            if age is None:
                age = ages[key] = _max_age(rules, key)
            if due <= now:
                (overdue if now - due > age else others).append((due, run_id))
        self._candidates = len(overdue) + len(others)
        for group in (overdue, others):
            yield from (run_id for _, run_id in nsmallest(self._pool, group))

    async def _look(self, run_ids: Sequence[str]) -> None:
        workflow_ids = await self._workflow_ids(run_ids)
        # Those that are missing have closed since.
        for run_id in (run_id for run_id in run_ids if run_id in workflow_ids):
            # Its turn is over whatever comes: a run that cannot be looked at holds up no other.
            self._asked[run_id] = self._reading
            activities = await self._requests.activities(workflow_ids[run_id], run_id)
            self._seen[run_id] = Counter(kind for kind, attempt in activities if attempt > self._attempts)

    def _count(self) -> tuple[Counter[Retrying], int]:
        """Return the retried activities, and how many of them stand under a name that is not their own."""
        counts, replaced = Counter[Retrying](), 0
        for run_id, retried in self._seen.items():
            workflow_type = self._state.open[run_id].key.workflow_type
            for activity_type, count in retried.items():
                key = self._bounded(workflow_type, activity_type)
                counts[key] += count
                replaced += 0 if key == (workflow_type, activity_type) else count
        self._stormed.update(counts)
        # A storm that is over is shown as such, and not by a series that vanishes, unless nobody looked.
        over = self._stormed - counts.keys()
        unknown = self._types(self._state.open) - self._types(self._seen) if over else set()
        counts.update({key: 0 for key in over if key.workflow_type not in unknown})
        return counts, replaced

    def _types(self, run_ids: Iterable[str]) -> set[str]:
        return {self._state.open[run_id].key.workflow_type for run_id in run_ids}

    def _bounded(self, workflow_type: str, activity_type: str) -> Retrying:
        bounded = self._workflow_types("", workflow_type)
        return Retrying(bounded, self._activity_types(bounded, activity_type))


def _max_age(rules: SloRules, key: RunningKey) -> float:
    """Return after which time runs of *key* are overdue, in microseconds; infinite if never."""
    return min((rule.max_age for rule in rules.overdue if rule.applies_to(key)), default=inf)
