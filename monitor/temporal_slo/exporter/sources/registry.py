"""The sources beside the mirror of one namespace, put together."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from temporal_slo.exporter.sources.calendar_month import CalendarPeriods
from temporal_slo.exporter.sources.retry_storms import RetryStorms
from temporal_slo.exporter.sources.schedules import Schedules
from temporal_slo.exporter.sources.source import Source, Watch
from temporal_slo.exporter.sources.task_problems import TaskProblems
from temporal_slo.exporter.sources.task_queues import TaskQueues
from temporal_slo.ledger import reads
from temporal_slo.ledger.ledger import Ledger
from temporal_slo.ledger.state import State
from temporal_slo.settings import ExporterSettings
from temporal_slo.spec.bound import BoundSlo, LoadedSpecs, task_queues
from temporal_slo.spec.model import Spec
from temporal_slo.temporal.gateway import Gateway
from temporal_slo.temporal.pending_activities import TemporalPendingActivities
from temporal_slo.temporal.rate_limit import RateLimiter
from temporal_slo.temporal.schedules import TemporalSchedules
from temporal_slo.temporal.task_problems import TemporalTaskProblems
from temporal_slo.temporal.task_queues import TemporalTaskQueues

QUEUE_RATE: Final = 10.0
"""Requests for task queues per second: they share the server's limit with no other requests."""

QUEUE_CONCURRENCY: Final = 1


@dataclass(frozen=True, slots=True)
class Site:
    """A namespace as its sources see it."""

    namespace: str
    gateway: Gateway
    ledger: Ledger
    state: State
    specs: tuple[Spec, ...]
    limiters: Mapping[str, RateLimiter]

    @property
    def slos(self) -> tuple[BoundSlo, ...]:
        """The SLOs of the namespace."""
        return LoadedSpecs(self.specs).of_namespace(self.namespace)


def limiters(settings: ExporterSettings, history_concurrency: int) -> dict[str, RateLimiter]:
    """Return the rate limiters of one namespace, by the value of the label `limiter`."""
    return {
        "visibility": RateLimiter(settings.visibility_rate, 1),
        "history": RateLimiter(settings.history_rate, history_concurrency),
        "task_queues": RateLimiter(QUEUE_RATE, QUEUE_CONCURRENCY),
    }


def _task_queues(site: Site) -> Source:
    requests = TemporalTaskQueues(site.gateway, site.limiters["task_queues"])
    return TaskQueues(requests, site.state, task_queues(site.slos))


def _task_problems(site: Site) -> Source:
    return TaskProblems(TemporalTaskProblems(site.gateway, site.limiters["visibility"]))


def _schedules(site: Site) -> Source:
    return Schedules(TemporalSchedules(site.gateway, site.limiters["visibility"], site.limiters["history"]))


def _retry_storms(site: Site) -> Source:
    requests = TemporalPendingActivities(site.gateway, site.limiters["history"])
    return RetryStorms(
        requests, site.state, lambda run_ids: site.ledger.transact(reads.workflow_ids, site.namespace, run_ids)
    )


def _calendar(site: Site) -> Source:
    return CalendarPeriods(site.ledger, site.slos)


SOURCES: Final[Mapping[str, Callable[[Site], Source]]] = {
    "task_queues": _task_queues,
    "task_problems": _task_problems,
    "schedules": _schedules,
    "retry_storms": _retry_storms,
    "calendar": _calendar,
}


def watches(settings: ExporterSettings, site: Site) -> tuple[Watch, ...]:
    """Return what reads each source that is not switched off, at its interval."""
    wanted = settings.sources
    return tuple(Watch(site.namespace, make(site), wanted[name]) for name, make in SOURCES.items() if name in wanted)


def adopt(readers: tuple[Watch, ...], specs: tuple[Spec, ...], namespace: str) -> None:
    """Have the sources go by *specs* from now on."""
    slos = LoadedSpecs(specs).of_namespace(namespace)
    for watch in readers:
        if isinstance(watch.source, TaskQueues):
            watch.source.spec = task_queues(slos)
        if isinstance(watch.source, CalendarPeriods):
            watch.source.slos = slos
