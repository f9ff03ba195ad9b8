"""Rate-limited queries to a live Temporal: which of the workflow types and task queues of the specs exist there."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

from temporalio.api.workflowservice.v1 import (
    CountWorkflowExecutionsRequest,
    DescribeNamespaceRequest,
    ListWorkflowExecutionsRequest,
)
from temporalio.client import Client

from temporal_slo.check.no_data_causes import WorkflowTypeInfo
from temporal_slo.check.scraping import Finding
from temporal_slo.errors import TemporalRequestError
from temporal_slo.settings import DEFAULT_VISIBILITY_RATE
from temporal_slo.spec.bound import BoundSlo, task_queues, workflow_types
from temporal_slo.temporal.gateway import OVERALL_TIMEOUT, Gateway
from temporal_slo.temporal.rate_limit import RateLimiter
from temporal_slo.temporal.rpc import COUNT_WORKFLOWS, DESCRIBE_NAMESPACE, LIST_WORKFLOWS
from temporal_slo.temporal.task_queues import ACTIVITY, WORKFLOW, TaskQueueInfo, TemporalTaskQueues

DAY: Final = timedelta(days=1)
TYPES_MAX: Final = 200
QUEUES_MAX: Final = 100
"""Limits per namespace; a warning states how many types and queues were not queried."""

NOT_FOUND: Final = "NOT_FOUND"
UNREACHABLE: Final = frozenset({"UNAVAILABLE", "DEADLINE_EXCEEDED"})


@dataclass(slots=True)
class NamespaceInfo:
    """State of a Temporal namespace.

    Attributes:
        name: Name of the namespace.
        error: Error of the request that failed, after which no more were made; empty if all succeeded.
        missing: Whether the namespace does not exist.
        unreachable: Whether Temporal did not answer.
        types: Workflow types of the specs.
        queues: Task queues of the specs and of the newest runs; for workflow and activity tasks.
        spec_queues: Task queues of the specs.
        over_limit: Number of types and queues that were not queried because of the limits.
    """

    name: str
    error: str = ""
    missing: bool = False
    unreachable: bool = False
    types: dict[str, WorkflowTypeInfo] = field(default_factory=dict)
    queues: dict[str, tuple[TaskQueueInfo, TaskQueueInfo]] = field(default_factory=dict)
    spec_queues: tuple[str, ...] = ()
    over_limit: int = 0


class TemporalInspector:
    """Queries a Temporal server, one request at a time.

    Args:
        client: May be lazy.
        timeout: Timeout of each request.
        rate: Maximum requests per second.
    """

    def __init__(self, client: Client, timeout: timedelta, rate: float = DEFAULT_VISIBILITY_RATE) -> None:
        self._client = client
        self._timeout = min(timeout.total_seconds(), OVERALL_TIMEOUT)
        self._limiter = RateLimiter(rate, 1)

    async def namespace(self, name: str, slos: Sequence[BoundSlo]) -> NamespaceInfo:
        """Return the state of everything that *slos* use in namespace *name*; it includes the error of a request."""
        info = NamespaceInfo(name, spec_queues=task_queues(slos))
        gateway = Gateway(self._client, name, timeout=self._timeout)
        types = workflow_types(slos)
        try:
            await gateway.call(DESCRIBE_NAMESPACE, DescribeNamespaceRequest(namespace=name), limiter=self._limiter)
            for workflow_type in types[:TYPES_MAX]:
                info.types[workflow_type] = await self._type(gateway, workflow_type)
            newest = (of_type.task_queue for of_type in info.types.values() if of_type.task_queue)
            queues = tuple(dict.fromkeys((*info.spec_queues, *newest)))
            for queue in queues[:QUEUES_MAX]:
                info.queues[queue] = await self._queue(gateway, queue)
            info.over_limit = len(types[TYPES_MAX:]) + len(queues[QUEUES_MAX:])
        except TemporalRequestError as error:
            info.error, info.missing, info.unreachable = str(error), error.code == NOT_FOUND, error.code in UNREACHABLE
        return info

    async def _type(self, gateway: Gateway, workflow_type: str) -> WorkflowTypeInfo:
        of_type, about = f"WorkflowType = {_quoted(workflow_type)}", f"workflow type {workflow_type!r}: "
        since = f"{datetime.now(UTC) - DAY:%Y-%m-%dT%H:%M:%SZ}"
        count = CountWorkflowExecutionsRequest(
            namespace=gateway.namespace, query=f"{of_type} AND StartTime >= '{since}'"
        )
        last_day = await gateway.call(COUNT_WORKFLOWS, count, limiter=self._limiter, about=about)
        # The server lists open runs first, the newest one at the top.
        newest = ListWorkflowExecutionsRequest(namespace=gateway.namespace, query=of_type, page_size=1)
        page = await gateway.call(LIST_WORKFLOWS, newest, limiter=self._limiter, about=about)
        for row in page.executions:
            running = not row.HasField("close_time")
            return WorkflowTypeInfo(last_day.count, has_runs=True, running=running, task_queue=row.task_queue)
        return WorkflowTypeInfo(last_day.count)

    async def _queue(self, gateway: Gateway, queue: str) -> tuple[TaskQueueInfo, TaskQueueInfo]:
        requests = TemporalTaskQueues(gateway, self._limiter)
        return await requests.describe(queue, WORKFLOW), await requests.describe(queue, ACTIVITY)


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def namespace_findings(info: NamespaceInfo) -> Iterator[Finding]:
    """Yield the errors and warnings of a namespace; pure."""
    if info.missing:
        remedy = "correct temporal_namespace in the spec, or register the namespace"
        yield Finding(error=True, what=f"Temporal namespace {info.name!r} does not exist", remedy=remedy)
    elif info.error:
        remedy = "see --temporal-address and the other connection options; this namespace could not be verified"
        yield Finding(error=True, what=f"Temporal namespace {info.name!r}: {info.error}", remedy=remedy)
    for queue, of_types in info.queues.items():
        if not any(of_type.pollers for of_type in of_types):
            yield _without_pollers(info, queue, of_types)
    if info.over_limit:
        what = f"Temporal namespace {info.name!r}: {info.over_limit} workflow types and task queues were not queried"
        yield Finding(error=False, what=what, remedy="check fewer specs at once")


def _without_pollers(info: NamespaceInfo, queue: str, of_types: Sequence[TaskQueueInfo]) -> Finding:
    what = f"task queue {queue!r} of Temporal namespace {info.name!r} has no pollers"
    if tasks := sum(of_type.backlog.tasks for of_type in of_types if of_type.backlog):
        what += f" and a backlog of {tasks} tasks"
    if queue in info.spec_queues:
        # A queue without pollers cannot be distinguished from one that does not exist.
        return Finding(error=True, what=what, remedy="start its workers, or correct task_queue in the spec")
    return Finding(error=False, what=what, remedy="start its workers if this queue is still in use")
