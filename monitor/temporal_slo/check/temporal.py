"""A live Temporal, asked politely: whether what the specs name is there, and how much of it."""

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

from temporal_slo.check.diagnosis import TypeFacts
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
"""Of each namespace: what is beyond is not asked, and that is told."""

MISSING: Final = "NOT_FOUND"
AWAY: Final = frozenset({"UNAVAILABLE", "DEADLINE_EXCEEDED"})


@dataclass(slots=True)
class Namespace:
    """What Temporal tells of a namespace.

    Attributes:
        name: Of the namespace.
        trouble: Why it tells nothing, or not all; empty if it does.
        missing: Whether there is no such namespace.
        away: Whether nobody answered at all.
        types: Its workflow types that specs name.
        queues: Its task queues: those that specs name, and those of the newest runs.
        named: Task queues that specs name.
        left_out: Types and queues that were not asked about, because there are too many.
    """

    name: str
    trouble: str = ""
    missing: bool = False
    away: bool = False
    types: dict[str, TypeFacts] = field(default_factory=dict)
    queues: dict[str, tuple[TaskQueueInfo, TaskQueueInfo]] = field(default_factory=dict)
    named: tuple[str, ...] = ()
    left_out: int = 0


class Temporal:
    """Asks a Temporal server, one request after the other.

    Args:
        client: May be lazy.
        timeout: For each request.
        rate: Requests a second at most.
    """

    def __init__(self, client: Client, timeout: timedelta, rate: float = DEFAULT_VISIBILITY_RATE) -> None:
        self._client = client
        self._timeout = min(timeout.total_seconds(), OVERALL_TIMEOUT)
        self._limiter = RateLimiter(rate, 1)

    async def namespace(self, name: str, slos: Sequence[BoundSlo]) -> Namespace:
        """Return what there is of all that *slos* name in the namespace *name*; trouble is part of it."""
        found = Namespace(name, named=task_queues(slos))
        gateway = Gateway(self._client, name, timeout=self._timeout)
        types = workflow_types(slos)
        try:
            await gateway.call(DESCRIBE_NAMESPACE, DescribeNamespaceRequest(namespace=name), limiter=self._limiter)
            for kind in types[:TYPES_MAX]:
                found.types[kind] = await self._type(gateway, kind)
            seen = (facts.task_queue for facts in found.types.values() if facts.task_queue)
            queues = tuple(dict.fromkeys((*found.named, *seen)))
            for queue in queues[:QUEUES_MAX]:
                found.queues[queue] = await self._queue(gateway, queue)
            found.left_out = len(types[TYPES_MAX:]) + len(queues[QUEUES_MAX:])
        except TemporalRequestError as error:
            found.trouble, found.missing, found.away = str(error), error.code == MISSING, error.code in AWAY
        return found

    async def _type(self, gateway: Gateway, kind: str) -> TypeFacts:
        of_type, about = f"WorkflowType = {_quoted(kind)}", f"workflow type {kind!r}: "
        since = f"{datetime.now(UTC) - DAY:%Y-%m-%dT%H:%M:%SZ}"
        count = CountWorkflowExecutionsRequest(
            namespace=gateway.namespace, query=f"{of_type} AND StartTime >= '{since}'"
        )
        last_day = await gateway.call(COUNT_WORKFLOWS, count, limiter=self._limiter, about=about)
        # Open runs come first, the newest of them before all.
        newest = ListWorkflowExecutionsRequest(namespace=gateway.namespace, query=of_type, page_size=1)
        page = await gateway.call(LIST_WORKFLOWS, newest, limiter=self._limiter, about=about)
        for row in page.executions:
            return TypeFacts(last_day.count, True, not row.HasField("close_time"), row.task_queue)  # noqa: FBT003 its fields
        return TypeFacts(last_day.count)

    async def _queue(self, gateway: Gateway, queue: str) -> tuple[TaskQueueInfo, TaskQueueInfo]:
        requests = TemporalTaskQueues(gateway, self._limiter)
        return await requests.describe(queue, WORKFLOW), await requests.describe(queue, ACTIVITY)


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def findings(found: Namespace) -> Iterator[Finding]:
    """Yield what is wrong with what Temporal has; pure."""
    if found.missing:
        yield Finding(
            fault=True,
            what=f"Temporal has no namespace {found.name!r}",
            remedy="correct temporal_namespace of the spec, or register it",
        )
    elif found.trouble:
        remedy = "see --temporal-address and the settings beside it; what it would have told is not known"
        yield Finding(fault=True, what=f"Temporal namespace {found.name!r}: {found.trouble}", remedy=remedy)
    for queue, facts in found.queues.items():
        if not any(of_type.pollers for of_type in facts):
            yield _unserved(found, queue, facts)
    if found.left_out:
        what = (
            f"Temporal namespace {found.name!r}: {found.left_out} workflow types and task queues were not asked about"
        )
        yield Finding(fault=False, what=what, remedy="check fewer specs at once")


def _unserved(found: Namespace, queue: str, facts: Sequence[TaskQueueInfo]) -> Finding:
    what = f"task queue {queue!r} of Temporal namespace {found.name!r} has no pollers"
    if waiting := sum(of_type.backlog.tasks for of_type in facts if of_type.backlog):
        what += f", and {waiting} tasks wait there"
    if queue in found.named:
        # A queue that nobody polls cannot be told from one that does not exist.
        return Finding(fault=True, what=what, remedy="start its workers, or correct task_queue of the spec")
    return Finding(fault=False, what=what, remedy="start its workers, if any work is to be done")
