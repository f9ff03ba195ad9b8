"""Series that are absent until a certain event happens, and who exposes which metric."""

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from temporal_slo import names
from temporal_slo.check.selectors import Selector
from temporal_slo.names import server
from temporal_slo.names.values import NONE, UNKNOWN
from temporal_slo.promql import Matcher
from temporal_slo.spec.bound import BoundSlo


class ExpectedAbsence(NamedTuple):
    """A metric whose series appear with an event that need not happen.

    Attributes:
        appears_with: The event.
        witness: Metric that the same process exposes from its start. Without it the process is not scraped, and the
            absence is not expected.
        matcher: Applies only to selectors with this matcher; None for all.
        source: Data source of the exporter that provides the metric, and can be disabled; empty if there is none.
        sli_kind: Kind of SLI with which the series exist from the start; empty if there is none.
    """

    appears_with: str
    witness: str
    matcher: Matcher | None = None
    source: str = ""
    sli_kind: str = ""


EXPORTER: Final = "the exporter"
WORKER: Final = "a worker"
SERVER: Final = "the Temporal server"

_EXPORTER_UP: Final = names.EXPORTER_UP.sample
_WORKER_INFO: Final = names.WORKER_INFO.sample
_SERVER_REQUESTS: Final = server.SERVICE_REQUESTS.name

_QUEUES: Final = ExpectedAbsence("the first task queue in use", _EXPORTER_UP, source="task_queues")
_SCHEDULES: Final = ExpectedAbsence("the first schedule", _EXPORTER_UP, source="schedules")
_ACTIVITY_ENDS: Final = ExpectedAbsence("the first activity that ends on a scraped worker", _WORKER_INFO)
_ACTIVITY_STARTS: Final = ExpectedAbsence("the first activity that starts on a scraped worker", _WORKER_INFO)

EXPECTED_ABSENCES: Final[tuple[tuple[str, ExpectedAbsence], ...]] = (
    (
        names.WORKFLOWS_CLOSED.sample,
        ExpectedAbsence("the first result that cannot be read", _EXPORTER_UP, Matcher(names.OUTCOME, "=", UNKNOWN)),
    ),
    (
        names.WORKFLOWS_CLOSED.sample,
        ExpectedAbsence(
            "the first run of a workflow type with outcomes in a spec", _EXPORTER_UP, Matcher(names.OUTCOME, "!=", NONE)
        ),
    ),
    (
        names.WORKFLOWS_OVERDUE.sample,
        ExpectedAbsence("the first SLO of kind overdue", _EXPORTER_UP, sli_kind="overdue"),
    ),
    (
        names.EXPORTER_AUDIT_DRIFT.sample,
        ExpectedAbsence("the first audit, an hour after the exporter's start", _EXPORTER_UP),
    ),
    (names.TASK_QUEUE_BACKLOG.sample, _QUEUES),
    (names.TASK_QUEUE_BACKLOG_AGE.sample, _QUEUES),
    (names.TASK_QUEUE_POLLERS.sample, _QUEUES),
    (
        names.WORKFLOWS_WITH_TASK_PROBLEMS.sample,
        ExpectedAbsence("the first run with repeated workflow task failures", _EXPORTER_UP, source="task_problems"),
    ),
    (
        names.ACTIVITIES_RETRYING.sample,
        ExpectedAbsence("the first retry storm", _EXPORTER_UP, source="retry_storms"),
    ),
    (names.SCHEDULE_OVERDUE.sample, _SCHEDULES),
    (names.SCHEDULE_MISSED_CATCHUP.sample, _SCHEDULES),
    (names.ACTIVITY_ENDS.sample, _ACTIVITY_ENDS),
    (f"{names.ACTIVITY_SCHEDULE_TO_START.name}_count", _ACTIVITY_STARTS),
    (f"{names.ACTIVITY_SCHEDULE_TO_START.name}_bucket", _ACTIVITY_STARTS),
    *(
        (metric.name, ExpectedAbsence("the first server-side request error", _SERVER_REQUESTS))
        for metric in server.SERVER_METRICS
        if metric.absent_when_healthy
    ),
    (
        f"{server.TASK_LATENCY.name}_bucket",
        ExpectedAbsence(
            "the first run that closes after the Temporal server's start",
            _SERVER_REQUESTS,
            Matcher(server.OPERATION, "=", server.VISIBILITY_CLOSE_TASK),
        ),
    ),
)
"""By metric name, as in selectors. All other series exist from the start, or from the first run of a workflow type."""


def expected_absence(selector: Selector, slos: Sequence[BoundSlo]) -> ExpectedAbsence | None:
    """Return why *selector* may match no series although nothing is wrong; None if it must match."""
    for metric, own in EXPECTED_ABSENCES:
        applies = metric == selector.metric and (own.matcher is None or own.matcher in selector.matchers)
        if applies and not (own.sli_kind and own.sli_kind in _sli_kinds(slos, selector)):
            return own
    return None


def _sli_kinds(slos: Sequence[BoundSlo], selector: Selector) -> Iterator[str]:
    namespace = selector.value(names.NAMESPACE)
    return (slo.sli.kind for slo in slos if slo.temporal_namespace == namespace)


def witness_selector(own: ExpectedAbsence, selector: Selector) -> Selector:
    """Return the selector of the witness, in the namespace of *selector*."""
    namespace = tuple(matcher for matcher in selector.matchers if matcher.label == names.NAMESPACE)
    return Selector(own.witness, () if own.witness == _SERVER_REQUESTS else namespace)


def source_selector(own: ExpectedAbsence, selector: Selector) -> Selector | None:
    """Return the selector of the series that exists while the data source is enabled; None without a data source."""
    if not own.source:
        return None
    source = Matcher(names.SOURCE, "=", own.source)
    return witness_selector(own, selector).with_metric(names.EXPORTER_SOURCE_UP.sample).with_matchers(source)


def misnamed_pattern(metric: str) -> str:
    """Return a regular expression for the names under which a misconfigured worker exposes metrics like *metric*.

    The SDK's defaults are no `_total`, no unit, and milliseconds. Gauges have the same name with all settings.
    """
    if metric.endswith("_total"):
        return "|".join(family.name for family in names.INTERCEPTOR_FAMILIES if family.type == "counter")
    durations = [family.name for family in names.INTERCEPTOR_FAMILIES if family.type == "histogram"]
    return "|".join(f"{name.removesuffix('_seconds')}(_milliseconds|_ms)?_bucket" for name in durations)


def exposed_by(metric: str) -> str:
    """Return what exposes *metric*: EXPORTER, WORKER or SERVER."""
    for process, families in ((EXPORTER, names.EXPORTER_FAMILIES), (WORKER, names.INTERCEPTOR_FAMILIES)):
        if any(metric.startswith(family.name) for family in families):
            return process
    return SERVER
