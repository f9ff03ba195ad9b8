"""Which series are absent by nature, as long as all is well or nothing has happened: the one place that says so."""

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from temporal_slo import names
from temporal_slo.check.selectors import Selector
from temporal_slo.names import server
from temporal_slo.names.values import NONE
from temporal_slo.promql import Matcher
from temporal_slo.spec.bound import BoundSlo


class Nature(NamedTuple):
    """A metric whose series appear with something that need not happen.

    Attributes:
        appears: With what.
        witness: Metric that is there from the start where this one is told of: it must have series, else whoever tells
            is not scraped, and this one is missing as they all are.
        matcher: Only if this is among the conditions; None for any.
        source: Source beside the mirror that brings it, which can be switched off; empty if none does.
        kind: Kind of SLI that brings it from the start; empty if none does.
    """

    appears: str
    witness: str
    matcher: Matcher | None = None
    source: str = ""
    kind: str = ""


WORKER: Final = "a worker"
"""Who exposes what is measured by workers, as a sentence has it."""

_EXPORTER: Final = names.EXPORTER_UP.sample
_WORKER: Final = names.WORKER_INFO.sample
_SERVER: Final = server.SERVICE_REQUESTS.name

_QUEUES: Final = Nature("the first task queue that is in use", _EXPORTER, source="task_queues")
_SCHEDULES: Final = Nature("the first schedule", _EXPORTER, source="schedules")
_ENDS: Final = Nature("the first activity that ends in a worker that is scraped", _WORKER)
_STARTS: Final = Nature("the first activity that starts in a worker that is scraped", _WORKER)

NATURES: Final[tuple[tuple[str, Nature], ...]] = (
    (
        names.WORKFLOWS_CLOSED.sample,
        Nature("the first result that cannot be read", _EXPORTER, Matcher(names.OUTCOME, "=", "unknown")),
    ),
    (
        names.WORKFLOWS_CLOSED.sample,
        Nature(
            "the first run of a workflow type whose outcome a spec names",
            _EXPORTER,
            Matcher(names.OUTCOME, "!=", NONE),
        ),
    ),
    (names.WORKFLOWS_OVERDUE.sample, Nature("the first SLO of the kind overdue", _EXPORTER, kind="overdue")),
    (names.EXPORTER_AUDIT_DRIFT.sample, Nature("the first audit, an hour after the exporter began", _EXPORTER)),
    (names.TASK_QUEUE_BACKLOG.sample, _QUEUES),
    (names.TASK_QUEUE_BACKLOG_AGE.sample, _QUEUES),
    (names.TASK_QUEUE_POLLERS.sample, _QUEUES),
    (
        names.WORKFLOWS_WITH_TASK_PROBLEMS.sample,
        Nature("the first run whose workflow tasks fail again and again", _EXPORTER, source="task_problems"),
    ),
    (
        names.ACTIVITIES_RETRYING.sample,
        Nature("the first activity that is retried over and over", _EXPORTER, source="retry_storms"),
    ),
    (names.SCHEDULE_OVERDUE.sample, _SCHEDULES),
    (names.SCHEDULE_MISSED_CATCHUP.sample, _SCHEDULES),
    (names.ACTIVITY_ENDS.sample, _ENDS),
    (f"{names.ACTIVITY_SCHEDULE_TO_START.name}_count", _STARTS),
    (f"{names.ACTIVITY_SCHEDULE_TO_START.name}_bucket", _STARTS),
    *(
        (metric.name, Nature("the first request that fails by the server's fault", _SERVER))
        for metric in server.SERVER_METRICS
        if metric.absent_when_healthy
    ),
    (
        f"{server.TASK_LATENCY.name}_bucket",
        Nature(
            "the first run that closes since the Temporal server was started",
            _SERVER,
            Matcher(server.OPERATION, "=", server.VISIBILITY_CLOSE_TASK),
        ),
    ),
)
"""By metric, as it is queried; what is not here is there from the start, or with the first run of its workflow type."""


def nature(selector: Selector, slos: Sequence[BoundSlo]) -> Nature | None:
    """Return why *selector* may match nothing though all is well; None if it may not."""
    for metric, own in NATURES:
        fits = metric == selector.metric and (own.matcher is None or own.matcher in selector.matchers)
        if fits and not (own.kind and own.kind in _kinds(slos, selector)):
            return own
    return None


def _kinds(slos: Sequence[BoundSlo], selector: Selector) -> Iterator[str]:
    namespace = selector.value(names.NAMESPACE)
    return (slo.sli.kind for slo in slos if slo.temporal_namespace == namespace)


def witness(own: Nature, selector: Selector) -> Selector:
    """Return what must be there where *selector* is told of."""
    about = tuple(matcher for matcher in selector.matchers if matcher.label == names.NAMESPACE)
    return Selector(own.witness, () if own.witness == _SERVER else about)


def source_of(own: Nature, selector: Selector) -> Selector | None:
    """Return what is there if the source that brings *selector* is read; None if no source does."""
    if not own.source:
        return None
    return witness(own, selector).of(names.EXPORTER_SOURCE_UP.sample).plus(Matcher(names.SOURCE, "=", own.source))


def misnamed(metric: str) -> str:
    """Return a regular expression for what workers expose whose runtime names metrics like *metric* otherwise.

    The SDK's defaults are neither `_total` nor a unit, and milliseconds; gauges are called the same whatever is set.
    """
    if metric.endswith("_total"):
        return "|".join(family.name for family in names.INTERCEPTOR_FAMILIES if family.type == "counter")
    durations = [family.name for family in names.INTERCEPTOR_FAMILIES if family.type == "histogram"]
    return "|".join(f"{name.removesuffix('_seconds')}(_milliseconds|_ms)?_bucket" for name in durations)


def teller(metric: str) -> str:
    """Return who exposes *metric*, as a sentence has it."""
    for who, families in (("the exporter", names.EXPORTER_FAMILIES), (WORKER, names.INTERCEPTOR_FAMILIES)):
        if any(metric.startswith(family.name) for family in families):
            return who
    return "the Temporal server"
