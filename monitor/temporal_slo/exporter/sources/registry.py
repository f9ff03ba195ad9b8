"""The data sources of one namespace, put together."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from temporal_slo.exporter.mirror.store import MirrorStore
from temporal_slo.exporter.sources.calendar_month import CalendarPeriods
from temporal_slo.exporter.sources.retry_storms import RetryStorms
from temporal_slo.exporter.sources.schedules import Schedules
from temporal_slo.exporter.sources.source import Source, SourceRunner
from temporal_slo.exporter.sources.task_problems import TaskProblems
from temporal_slo.exporter.sources.task_queues import TaskQueues
from temporal_slo.ledger import reads
from temporal_slo.ledger.ledger import Ledger
from temporal_slo.settings import ExporterSettings
from temporal_slo.spec.bound import BoundSlo, task_queues
from temporal_slo.temporal.gateway import Gateway
from temporal_slo.temporal.pending_activities import TemporalPendingActivities
from temporal_slo.temporal.rate_limit import RateLimiter
from temporal_slo.temporal.schedules import TemporalSchedules
from temporal_slo.temporal.task_problems import TemporalTaskProblems
from temporal_slo.temporal.task_queues import TemporalTaskQueues

QUEUE_RATE: Final = 10.0
"""Requests about task queues per second: no other kind of request shares their limit."""

QUEUE_CONCURRENCY: Final = 1

INITIAL_HISTORY_RATE: Final = 50.0
"""Requests for close events per second at first: adapts up to `--history-rate`."""


@dataclass(frozen=True, slots=True)
class SourceContext:
    """What the data sources of one namespace are made of."""

    namespace: str
    gateway: Gateway
    ledger: Ledger
    store: MirrorStore
    slos: Sequence[BoundSlo]
    limiters: Mapping[str, RateLimiter]


def limiters(settings: ExporterSettings, history_concurrency: int) -> dict[str, RateLimiter]:
    """Return the rate limiters of one namespace."""
    return {
        "visibility": RateLimiter(settings.visibility_rate, 1),
        "history": RateLimiter(settings.history_rate, history_concurrency, initial_rate=INITIAL_HISTORY_RATE),
        "task_queues": RateLimiter(QUEUE_RATE, QUEUE_CONCURRENCY),
    }


def _task_queues(context: SourceContext) -> Source:
    requests = TemporalTaskQueues(context.gateway, context.limiters["task_queues"])
    return TaskQueues(requests, context.store.state, task_queues(context.slos))


def _task_problems(context: SourceContext) -> Source:
    return TaskProblems(TemporalTaskProblems(context.gateway, context.limiters["visibility"]))


def _schedules(context: SourceContext) -> Source:
    limiters = context.limiters
    return Schedules(TemporalSchedules(context.gateway, limiters["visibility"], limiters["history"]))


def _retry_storms(context: SourceContext) -> Source:
    store, requests = context.store, TemporalPendingActivities(context.gateway, context.limiters["history"])

    async def workflow_ids(run_ids: Sequence[str]) -> Mapping[str, str]:
        return await context.ledger.transact(reads.workflow_ids, context.namespace, run_ids)

    return RetryStorms(requests, store.state, lambda: store.rules, workflow_ids)


def _calendar(context: SourceContext) -> Source:
    return CalendarPeriods(context.ledger, context.slos)


SOURCES: Final[Mapping[str, Callable[[SourceContext], Source]]] = {
    "task_queues": _task_queues,
    "task_problems": _task_problems,
    "schedules": _schedules,
    "retry_storms": _retry_storms,
    "calendar": _calendar,
}


def source_runners(settings: ExporterSettings, context: SourceContext) -> tuple[SourceRunner, ...]:
    """Return a runner for each data source that is not disabled, with its interval."""
    intervals = settings.sources
    return tuple(
        SourceRunner(context.namespace, make(context), intervals[name])
        for name, make in SOURCES.items()
        if name in intervals
    )
