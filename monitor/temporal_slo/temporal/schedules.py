"""What the exporter asks of schedules, and the adapter that asks a real server."""

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final, NamedTuple, Protocol

from google.protobuf.timestamp_pb2 import Timestamp
from temporalio.api.schedule.v1 import ScheduleListEntry
from temporalio.api.workflowservice.v1 import DescribeScheduleRequest, ListSchedulesRequest
from temporalio.service import RPCError

from temporal_slo.temporal.gateway import Gateway, is_not_found
from temporal_slo.temporal.rate_limit import Budget
from temporal_slo.temporal.rpc import DESCRIBE_SCHEDULE, LIST_SCHEDULES

PAGE_SIZE: Final = 1000
"""The largest page that a server gives."""


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

    Args:
        gateway: Sends the requests.
        lists: Rate limiter of lists, which share the server's limit of visibility requests.
        descriptions: Rate limiter of descriptions, which do not.
    """

    def __init__(self, gateway: Gateway, lists: Budget | None, descriptions: Budget | None) -> None:
        self._gateway = gateway
        self._lists = lists
        self._descriptions = descriptions

    async def page(self, token: bytes = b"") -> SchedulePage:
        """Return a page of all schedules; a request of visibility."""
        request = ListSchedulesRequest(
            namespace=self._gateway.namespace, maximum_page_size=PAGE_SIZE, next_page_token=token
        )
        page = await self._gateway.call(LIST_SCHEDULES, request, limiter=self._lists)
        return SchedulePage(tuple(map(_listed, page.schedules)), page.next_page_token)

    async def describe(self, schedule_id: str) -> Described | None:
        """Return what a schedule itself tells; a query to the workflow behind it, on servers where there is one."""
        request = DescribeScheduleRequest(namespace=self._gateway.namespace, schedule_id=schedule_id)
        async with self._gateway.request(DESCRIBE_SCHEDULE, limiter=self._descriptions) as send:
            try:
                info = (await send(request)).info
            except RPCError as error:
                if is_not_found(error):
                    return None
                raise
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
