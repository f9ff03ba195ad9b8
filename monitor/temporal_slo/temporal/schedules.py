"""Schedules: the protocol, and the adapter for a Temporal server."""

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final, NamedTuple, Protocol

from google.protobuf.timestamp_pb2 import Timestamp
from temporalio.api.schedule.v1 import ScheduleListEntry
from temporalio.api.workflowservice.v1 import DescribeScheduleRequest, ListSchedulesRequest
from temporalio.service import RPCError

from temporal_slo.temporal.gateway import Gateway, is_not_found
from temporal_slo.temporal.rate_limit import RateLimiter
from temporal_slo.temporal.rpc import DESCRIBE_SCHEDULE, LIST_SCHEDULES

PAGE_SIZE: Final = 1000
"""The largest page that a server returns."""


@dataclass(frozen=True, slots=True)
class ListedSchedule:
    """A schedule as its visibility row shows it: as of its last action or update.

    Attributes:
        schedule_id: Id of the schedule.
        paused: Whether it is paused.
        next_action: Time of the next action, in microseconds of Unix time; None if there is none.
        last_action: Time of the last action, in microseconds of Unix time; None if there is none.
        fingerprint: Hash of the row, which changes with it.
    """

    schedule_id: str
    paused: bool
    next_action: int | None
    last_action: int | None
    fingerprint: bytes


class SchedulePage(NamedTuple):
    """Schedules in the order of visibility, and the token of the next page; empty if there is none."""

    rows: tuple[ListedSchedule, ...]
    next_token: bytes = b""


@dataclass(frozen=True, slots=True)
class ScheduleDescription:
    """The state of a schedule; counts are totals since its creation.

    Attributes:
        next_action: Time of the next action, in microseconds of Unix time; None if there is none.
        missed: Actions missed because the catch-up window had passed.
        skipped: Actions skipped because of the overlap policy.
        dropped: Actions dropped because the buffer was full.
        buffered: Actions in the buffer now, which wait for a running workflow to close.
    """

    next_action: int | None
    missed: int
    skipped: int
    dropped: int
    buffered: int


class ScheduleRequests(Protocol):
    """The schedules of one Temporal namespace. Both methods raise TemporalRequestError if the request fails."""

    async def page(self, token: bytes = b"") -> SchedulePage:
        """Return a page of all schedules, the first one if *token* is empty."""
        ...

    async def describe(self, schedule_id: str) -> ScheduleDescription | None:
        """Return the state of a schedule; None if it does not exist."""
        ...


class TemporalSchedules:
    """Schedules from a Temporal server.

    Args:
        gateway: Sends the requests.
        lists: Rate limiter of `page`, which shares the server's limit of visibility requests; None for no limit.
        descriptions: Rate limiter of `describe`, which does not; None for no limit.
    """

    def __init__(self, gateway: Gateway, lists: RateLimiter | None, descriptions: RateLimiter | None) -> None:
        self._gateway = gateway
        self._lists = lists
        self._descriptions = descriptions

    async def page(self, token: bytes = b"") -> SchedulePage:
        """Return a page of all schedules."""

        def request(rows: int) -> ListSchedulesRequest:
            return ListSchedulesRequest(
                namespace=self._gateway.namespace, maximum_page_size=rows, next_page_token=token
            )

        page = await self._gateway.page(
            LIST_SCHEDULES, PAGE_SIZE, lambda send, rows: send(request(rows)), limiter=self._lists
        )
        return SchedulePage(tuple(map(_listed, page.schedules)), page.next_page_token)

    async def describe(self, schedule_id: str) -> ScheduleDescription | None:
        """Return the state of a schedule; on some servers a query to the workflow that implements it."""
        request = DescribeScheduleRequest(namespace=self._gateway.namespace, schedule_id=schedule_id)
        async with self._gateway.request(DESCRIBE_SCHEDULE, limiter=self._descriptions) as send:
            try:
                info = (await send(request)).info
            except RPCError as error:
                if is_not_found(error):
                    return None
                raise
        return ScheduleDescription(
            next_action=_first(info.future_action_times),
            missed=info.missed_catchup_window,
            skipped=info.overlap_skipped,
            dropped=info.buffer_dropped,
            buffered=info.buffer_size,
        )


def _listed(entry: ScheduleListEntry) -> ListedSchedule:
    info = entry.info
    return ListedSchedule(
        schedule_id=entry.schedule_id,
        paused=info.paused,
        next_action=_first(info.future_action_times),
        last_action=max((action.actual_time.ToMicroseconds() for action in info.recent_actions), default=None),
        fingerprint=blake2b(info.SerializeToString(deterministic=True), digest_size=16).digest(),
    )


def _first(times: Iterable[Timestamp]) -> int | None:
    return min((time.ToMicroseconds() for time in times), default=None)
