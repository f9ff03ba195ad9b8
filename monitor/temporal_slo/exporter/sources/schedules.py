"""Data source of schedules: overdue, paused, and with missed, skipped or dropped actions."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from heapq import nsmallest
from typing import Final

from temporal_slo import names
from temporal_slo.errors import TemporalRequestError
from temporal_slo.exporter.sources.source import Source
from temporal_slo.names.bounded import VALUE_LENGTH, printable
from temporal_slo.names.samples import Sample
from temporal_slo.runs.microseconds import MINUTE, SECOND
from temporal_slo.temporal.schedules import ListedSchedule, ScheduleDescription, ScheduleRequests

SCHEDULES_MAX: Final = 200
"""Schedules monitored; each has up to seven series."""

PAGES_MAX: Final = 50
"""Pages listed per read, of up to a thousand schedules each."""

OVERDUE_TOLERANCE: Final = 5 * SECOND
"""Lateness that is ignored: servers start actions about a second late, and their clock may differ."""

DESCRIBE_INTERVAL: Final = 10 * MINUTE
"""Age after which a description is renewed although the row has not changed: a row does not show every change."""

FAILURES_MAX: Final = 3
"""Consecutive failed descriptions that end a read: the rest would probably fail too, and each may take seconds."""


@dataclass
class _Known:
    """What is known of a schedule.

    Attributes:
        description: The last description; None before the first.
        fingerprint: Fingerprint of its row at that time.
        described_at: When it was described, in microseconds of Unix time.
        requested_at: When a description was last requested, in microseconds of Unix time.
    """

    description: ScheduleDescription | None = None
    fingerprint: bytes = b""
    described_at: int = 0
    requested_at: int = 0


class Schedules(Source):
    """Reads the schedules of a namespace.

    A read makes one visibility request per thousand schedules. The counts are not in these rows and need a description
    of each schedule. A schedule is described if its row changed, if its next action is due, or if its last description
    is ten minutes old. So a daily schedule costs one request every ten minutes, and one that acts all the time one
    request per read.

    A schedule that cannot be described still has the metrics of its row: when the server's own scheduler workers are
    down, every description fails, and schedules become overdue.

    Args:
        requests: Lists and describes schedules.
        limit: Maximum number of monitored schedules: the first by id.
    """

    name: Final = "schedules"

    def __init__(self, requests: ScheduleRequests, *, limit: int = SCHEDULES_MAX) -> None:
        self._requests = requests
        self._limit = limit
        self._known: dict[str, _Known] = {}

    async def read(self, now: int) -> Iterable[Sample]:
        """Return the samples of all monitored schedules; the counts of a schedule are absent until it is described.

        Raises:
            TemporalRequestError: The schedules could not be listed.
        """
        rows, over_limit = await self._list()
        self._known = {schedule_id: self._known.get(schedule_id, _Known()) for schedule_id in rows}
        to_describe = [row for row in rows.values() if _must_describe(row, self._known[row.schedule_id], now)]
        for deleted in await self._describe(to_describe, now):
            del rows[deleted]
        undescribed = sum(
            row.schedule_id in rows and self._known[row.schedule_id].described_at < now for row in to_describe
        )
        samples = [
            Sample(names.EXPORTER_SCHEDULES_OVER_LIMIT, {}, over_limit),
            Sample(names.EXPORTER_SCHEDULES_UNDESCRIBED, {}, undescribed),
        ]
        for row in rows.values():
            samples += _samples(row, self._known[row.schedule_id], now)
        return samples

    async def _list(self) -> tuple[dict[str, ListedSchedule], int]:
        """Return the first schedules by id, and the number of the others."""
        first: dict[str, ListedSchedule] = {}
        listed, token = 0, b""
        for _ in range(PAGES_MAX):
            page = await self._requests.page(token)
            listed += len(page.rows)
            first.update((row.schedule_id, row) for row in page.rows)
            first = {key: first[key] for key in nsmallest(self._limit, first)}
            token = page.next_token
            if not token:
                break
        return first, listed - len(first)

    async def _describe(self, rows: Iterable[ListedSchedule], now: int) -> set[str]:
        """Describe schedules, and return the ids of those that were deleted.

        Those requested the longest ago go first, so that schedules that cannot be described do not block the others.
        """
        deleted, failures = set[str](), 0
        for row in sorted(rows, key=lambda row: self._known[row.schedule_id].requested_at):
            known = self._known[row.schedule_id]
            known.requested_at = now
            try:
                description = await self._requests.describe(row.schedule_id)
            except TemporalRequestError:
                # Not logged: the counter of requests has its code, and the schedule is exposed as undescribed.
                failures += 1
                if failures == FAILURES_MAX:
                    break
                continue
            failures = 0
            if description is None:
                deleted.add(row.schedule_id)
            else:
                known.description, known.fingerprint, known.described_at = description, row.fingerprint, now
        return deleted


def _must_describe(row: ListedSchedule, known: _Known, now: int) -> bool:
    if (
        known.description is None
        or known.fingerprint != row.fingerprint
        or now - known.described_at >= DESCRIBE_INTERVAL
    ):
        return True
    return not row.paused and row.next_action is not None and row.next_action <= now


def _samples(row: ListedSchedule, known: _Known, now: int) -> Iterator[Sample]:
    labels = {names.SCHEDULE_ID: schedule_label(row.schedule_id)}
    yield Sample(names.SCHEDULE_OVERDUE, labels, _overdue(row, known, now) / SECOND)
    yield Sample(names.SCHEDULE_PAUSED, labels, int(row.paused))
    if row.last_action is not None:
        yield Sample(names.SCHEDULE_LAST_ACTION, labels, row.last_action / SECOND)
    if known.description:
        yield from _counts(labels, known.description)


def _counts(labels: Mapping[str, str], description: ScheduleDescription) -> Iterator[Sample]:
    yield Sample(names.SCHEDULE_MISSED_CATCHUP, labels, description.missed)
    yield Sample(names.SCHEDULE_OVERLAP_SKIPPED, labels, description.skipped)
    yield Sample(names.SCHEDULE_BUFFER_DROPPED, labels, description.dropped)
    yield Sample(names.SCHEDULE_BUFFERED, labels, description.buffered)


def _overdue(row: ListedSchedule, known: _Known, now: int) -> int:
    # A row may lag behind the schedule, and the next action in the row of a paused schedule may be long ago.
    fresh = known.description if known.described_at == now else None
    next_action = fresh.next_action if fresh else row.next_action
    if row.paused or next_action is None or now - next_action <= OVERDUE_TOLERANCE:
        return 0
    return now - next_action


def schedule_label(schedule_id: str) -> str:
    """Return the label value of a schedule: its id, or part of it and a hash if it is too long or unprintable."""
    short = printable(schedule_id)
    if short == schedule_id:
        return short
    # The hash keeps two such ids apart.
    digest = blake2b(schedule_id.encode(), digest_size=6).hexdigest()
    return f"{short[: VALUE_LENGTH - len(digest) - 1]}~{digest}"
