"""Data source of retry storms: activities that keep failing and are retried."""

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

ATTEMPTS_MAX: Final = 10
"""Attempts of an activity that count as normal; an activity in a later attempt is retrying."""

SAMPLE_SIZE: Final = 50
"""Runs described per read, at most."""

POOL_SIZE: Final = 500
"""Overdue runs in the rotation, at most; and as many others, the oldest."""

WORKFLOW_TYPES_MAX: Final = 50
ACTIVITY_TYPES_MAX: Final = 20
"""Activity types per workflow type."""

WorkflowIds = Callable[[Sequence[str]], Awaitable[Mapping[str, str]]]


class RetryingKey(NamedTuple):
    """Labels of a series of retrying activities."""

    workflow_type: str
    activity_type: str


class RetryStorms(Source):
    """Samples open runs for activities with too many attempts.

    Temporal lists no attempts: each run must be described, in a request of its own. Therefore each read describes only
    a sample of the runs: first those described the longest ago or never, among these overdue runs before others, and
    older ones before younger ones. A described run counts until it is described again, or closes. Up to half of the
    requests go to runs that had retrying activities when last described, so that a recovery shows soon.

    Each read visits all open runs in memory once.

    Args:
        requests: Describes runs.
        state: Holds the open runs.
        rules: Returns the current rules of the SLOs, which define when a run is overdue.
        workflow_ids: Returns the workflow ids of open runs by run id; they are not held in memory.
        attempts_max: Attempts of an activity that count as normal.
        sample_size: Runs described per read, at most.
        pool_size: Overdue runs in the rotation, at most; and as many others.
    """

    name: Final = "retry_storms"

    def __init__(
        self,
        requests: PendingActivityRequests,
        state: State,
        rules: Callable[[], SloRules],
        workflow_ids: WorkflowIds,
        *,
        attempts_max: int = ATTEMPTS_MAX,
        sample_size: int = SAMPLE_SIZE,
        pool_size: int = POOL_SIZE,
    ) -> None:
        self._requests = requests
        self._state = state
        self._rules = rules
        self._workflow_ids = workflow_ids
        self._attempts_max = attempts_max
        self._sample_size = sample_size
        self._pool_size = pool_size
        self._read_number = self._candidate_count = 0
        # By run id: the read that last requested the run, and its retrying activities when it was last described.
        self._last_requested: dict[str, int] = {}
        self._retrying: dict[str, Counter[str]] = {}
        self._exposed: set[RetryingKey] = set()
        self._workflow_types = BoundedValues[str](WORKFLOW_TYPES_MAX)
        self._activity_types = BoundedValues[str](ACTIVITY_TYPES_MAX)

    async def read(self, now: int) -> Iterable[Sample]:
        """Describe a sample of the open runs, and return the retrying activities of all runs described so far.

        Raises:
            TemporalRequestError: A request failed; runs described before it are kept.
            LedgerError: The ledger could not be read.
        """
        self._read_number += 1
        await self._describe(self._select(now))
        # A run may have closed in the meantime.
        self._forget_others(self._state.open)
        counts, over_limit = self._count()
        return [
            Sample(names.EXPORTER_RETRY_CANDIDATE_RUNS, {}, self._candidate_count),
            Sample(names.EXPORTER_RETRY_SAMPLED_RUNS, {}, len(self._retrying)),
            Sample(names.EXPORTER_RETRYING_ACTIVITIES_OVER_LIMIT, {}, over_limit),
            *(Sample(names.ACTIVITIES_RETRYING, key._asdict(), count) for key, count in counts.items()),
        ]

    def _forget_others(self, kept: Container[str]) -> None:
        self._last_requested = {run_id: read for run_id, read in self._last_requested.items() if run_id in kept}
        self._retrying = {run_id: counts for run_id, counts in self._retrying.items() if run_id in kept}

    def _select(self, now: int) -> list[str]:
        """Return the ids of the runs that this read describes, and forget runs that left the rotation."""
        pool = list(self._pool(now))
        self._forget_others(set(pool))
        # The sort is stable: among runs never described, overdue ones stay first, then the oldest.
        pool.sort(key=lambda run_id: self._last_requested.get(run_id, 0))
        retrying = [run_id for run_id in pool if self._retrying.get(run_id)]
        return list(dict.fromkeys((*retrying[: self._sample_size // 2], *pool)))[: self._sample_size]

    def _pool(self, now: int) -> Iterator[str]:
        """Yield the ids of the runs in the rotation: overdue runs, then others, each oldest first."""
        rules = self._rules()
        # One loop with little in it: there may be very many open runs, and it blocks the event loop.
        max_ages: dict[RunningKey, float] = {}
        overdue: list[tuple[int, str]] = []
        others: list[tuple[int, str]] = []
        for run_id, (key, due_time, *_) in self._state.open.items():
            max_age = max_ages.get(key)
            if max_age is None:
                max_age = max_ages[key] = _max_age(rules, key)
            if due_time <= now:
                (overdue if now - due_time > max_age else others).append((due_time, run_id))
        self._candidate_count = len(overdue) + len(others)
        for group in (overdue, others):
            yield from (run_id for _, run_id in nsmallest(self._pool_size, group))

    async def _describe(self, run_ids: Sequence[str]) -> None:
        workflow_ids = await self._workflow_ids(run_ids)
        # Runs without workflow id have closed since.
        for run_id in (run_id for run_id in run_ids if run_id in workflow_ids):
            # Set before the request: a run whose requests fail must not block the others.
            self._last_requested[run_id] = self._read_number
            activities = await self._requests.activities(workflow_ids[run_id], run_id)
            self._retrying[run_id] = Counter(
                activity_type for activity_type, attempt in activities if attempt > self._attempts_max
            )

    def _count(self) -> tuple[Counter[RetryingKey], int]:
        """Return the retrying activities by series, and how many of them have a type beyond the limit."""
        counts, over_limit = Counter[RetryingKey](), 0
        for run_id, retrying in self._retrying.items():
            workflow_type = self._state.open[run_id].key.workflow_type
            for activity_type, count in retrying.items():
                key = self._bounded(workflow_type, activity_type)
                counts[key] += count
                over_limit += 0 if key == (workflow_type, activity_type) else count
        self._exposed.update(counts)
        # A series without retrying activities becomes 0 and does not vanish, unless none of its runs was described.
        recovered = self._exposed - counts.keys()
        undescribed = self._types(self._state.open) - self._types(self._retrying) if recovered else set()
        counts.update({key: 0 for key in recovered if key.workflow_type not in undescribed})
        return counts, over_limit

    def _types(self, run_ids: Iterable[str]) -> set[str]:
        return {self._state.open[run_id].key.workflow_type for run_id in run_ids}

    def _bounded(self, workflow_type: str, activity_type: str) -> RetryingKey:
        bounded = self._workflow_types("", workflow_type)
        return RetryingKey(bounded, self._activity_types(bounded, activity_type))


def _max_age(rules: SloRules, key: RunningKey) -> float:
    """Return the age after which runs of *key* are overdue, in microseconds; infinite if no SLO limits it."""
    return min((rule.max_age for rule in rules.overdue if rule.applies_to(key)), default=inf)
