"""What the exporter asks of schedules, and the adapter that asks a real server."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from hashlib import blake2b
from typing import Final, NamedTuple, Protocol

from google.protobuf.timestamp_pb2 import Timestamp
from temporalio.api.schedule.v1 import ScheduleListEntry
from temporalio.api.workflowservice.v1 import DescribeScheduleRequest, ListSchedulesRequest
from temporalio.client import Client
from temporalio.service import RPCError

from temporal_slo.temporal.rpc import answered, is_gone

PAGE_SIZE: Final = 1000
"""The largest page that a server gives."""

LIST_TIMEOUT: Final = timedelta(seconds=30)

# Short, because a schedule whose server-side worker is away is answered by nobody.
DESCRIBE_TIMEOUT: Final = timedelta(seconds=10)

LIST_SCHEDULES: Final = "ListSchedules"
DESCRIBE_SCHEDULE: Final = "DescribeSchedule"


@dataclass(frozen=True, slots=True)
class Listed:
    """A schedule as a row of visibility tells it: as it was when it last did something.

    Attributes:
        next_action: When it is to act next, in microseconds of Unix time; None if never.
        last_action: When it last started a workflow, in microseconds of Unix time; None if never.
        mark: Another one whenever the row has changed.
    """

    schedule_id: str
    paused: bool
    next_action: int | None
    last_action: int | None
    mark: bytes


class SchedulePage(NamedTuple):
    """Schedules in the order of visibility, and the token of the page that follows; empty if none does."""

    rows: tuple[Listed, ...]
    next_token: bytes = b""


@dataclass(frozen=True, slots=True)
class Described:
    """What a schedule itself tells; the counts are of all its life.

    Attributes:
        next_action: When it is to act next, in microseconds of Unix time; None if never.
        missed: Actions that came too late for the catch-up window.
        skipped: Actions left out because of an overlap.
        dropped: Actions for which there was no place in the buffer.
        buffered: Actions that wait for the workflow before them.
    """

    next_action: int | None
    missed: int
    skipped: int
    dropped: int
    buffered: int


class ScheduleRequests(Protocol):
    """The schedules of one Temporal namespace. Both methods raise TemporalRequestError if there is no answer."""

    async def page(self, token: bytes = b"") -> SchedulePage:
        """Return a page of all schedules, the first one if *token* is empty."""
        ...

    async def describe(self, schedule_id: str) -> Described | None:
        """Return what a schedule itself tells; None if it is gone."""
        ...


class TemporalSchedules:
    """Schedules of a real server.

    Requests are not retried here; who asks does that, at its own pace.

    Args:
        client: May be lazy: the connection is then made by the first request.
        namespace: Temporal namespace of the schedules.
    """

    def __init__(self, client: Client, namespace: str) -> None:
        self._service = client.workflow_service
        self._namespace = namespace

    async def page(self, token: bytes = b"") -> SchedulePage:
        """Return a page of all schedules; a request of visibility."""
        request = ListSchedulesRequest(namespace=self._namespace, maximum_page_size=PAGE_SIZE, next_page_token=token)
        async with answered():
            answer = await self._service.list_schedules(request, timeout=LIST_TIMEOUT)
        return SchedulePage(tuple(map(_listed, answer.schedules)), answer.next_page_token)

    async def describe(self, schedule_id: str) -> Described | None:
        """Return what a schedule itself tells; a query to the workflow behind it, on servers where there is one."""
        request = DescribeScheduleRequest(namespace=self._namespace, schedule_id=schedule_id)
        async with answered():
            try:
                answer = await self._service.describe_schedule(request, timeout=DESCRIBE_TIMEOUT)
            except RPCError as error:
                if is_gone(error):
                    return None
                raise
        info = answer.info
        return Described(
            next_action=_first(info.future_action_times),
            missed=info.missed_catchup_window,
            skipped=info.overlap_skipped,
            dropped=info.buffer_dropped,
            buffered=info.buffer_size,
        )


def _listed(entry: ScheduleListEntry) -> Listed:
    info = entry.info
    return Listed(
        schedule_id=entry.schedule_id,
        paused=info.paused,
        next_action=_first(info.future_action_times),
        last_action=max((action.actual_time.ToMicroseconds() for action in info.recent_actions), default=None),
        mark=blake2b(info.SerializeToString(deterministic=True), digest_size=16).digest(),
    )


def _first(times: Iterable[Timestamp]) -> int | None:
    return min((time.ToMicroseconds() for time in times), default=None)
