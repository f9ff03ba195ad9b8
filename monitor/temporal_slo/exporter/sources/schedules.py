"""The source of figures about schedules: which is late, and which leaves actions out."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from heapq import nsmallest
from typing import Final

from temporal_slo import names
from temporal_slo.errors import TemporalRequestError
from temporal_slo.exporter.sources.source import Source
from temporal_slo.names.samples import Sample
from temporal_slo.runs.microseconds import MINUTE, SECOND
from temporal_slo.temporal.schedules import ListedSchedule, ScheduleDescription, ScheduleRequests

SCHEDULES_MAX: Final = 200
"""Schedules that are watched; each has up to seven series."""

PAGES_MAX: Final = 50
"""Pages that are read at most, of a thousand schedules each."""

TOLERANCE: Final = 5 * SECOND
"""Lateness that is none: servers wake schedules about a second late, and their clock need not be ours."""

REFRESH: Final = 10 * MINUTE
"""When a schedule is described again though nothing seems to have happened: not every change shows in its row."""

FAILURES_MAX: Final = 3
"""Descriptions that may fail in a row: then the others would hardly come either, and each may take seconds."""

VALUE_LENGTH: Final = 100


@dataclass
class _Known:
    """What was last described of a schedule, when, and what its row was then; when it was last asked for."""

    facts: ScheduleDescription | None = None
    fingerprint: bytes = b""
    described: int = 0
    asked: int = 0


class Schedules(Source):
    """Reads the schedules of a namespace.

    A reading costs one visibility request for each thousand schedules there are. What is not in these rows, the counts,
    must be asked of each schedule; only of those whose row has changed since, whose next action should have happened,
    or that were not asked for ten minutes. So a schedule of once a day costs a request every ten minutes, one that acts
    all the time one a reading.

    A schedule that the server does not describe is told by its row: where the part of the server that runs schedules is
    away nobody describes them, and that is when they are overdue.

    Args:
        requests: Answers.
        limit: How many schedules are watched at most: the first by their id.
    """

    name: Final = "schedules"

    def __init__(self, requests: ScheduleRequests, *, limit: int = SCHEDULES_MAX) -> None:
        self._requests = requests
        self._limit = limit
        self._known: dict[str, _Known] = {}

    async def read(self, now: int) -> Iterable[Sample]:
        """Return the figures of every watched schedule; counts are absent until the schedule was described.

        Raises:
            TemporalRequestError: The schedules could not be listed.
        """
        rows, left_out = await self._list()
        self._known = {schedule_id: self._known.get(schedule_id, _Known()) for schedule_id in rows}
        wanted = [row for row in rows.values() if _must_describe(row, self._known[row.schedule_id], now)]
        for gone in await self._describe(wanted, now):
            del rows[gone]
        undescribed = sum(row.schedule_id in rows and self._known[row.schedule_id].described < now for row in wanted)
        samples = [
            Sample(names.EXPORTER_SCHEDULES_OVER_LIMIT, {}, left_out),
            Sample(names.EXPORTER_SCHEDULES_UNDESCRIBED, {}, undescribed),
        ]
        for row in rows.values():
            samples += _samples(row, self._known[row.schedule_id], now)
        return samples

    async def _list(self) -> tuple[dict[str, ListedSchedule], int]:
        """Return the first schedules by id, and how many there are beside them."""
        first: dict[str, ListedSchedule] = {}
        seen, token = 0, b""
        for _ in range(PAGES_MAX):
            page = await self._requests.page(token)
            seen += len(page.rows)
            first.update((row.schedule_id, row) for row in page.rows)
            first = {key: first[key] for key in nsmallest(self._limit, first)}
            token = page.next_token
            if not token:
                break
        return first, seen - len(first)

    async def _describe(self, rows: Iterable[ListedSchedule], now: int) -> set[str]:
        """Describe schedules, and return the ids of those that are gone.

        Those go first that were not asked for the longest, so that one which is never described holds up no other.
        """
        gone, failures = set[str](), 0
        for row in sorted(rows, key=lambda row: self._known[row.schedule_id].asked):
            known = self._known[row.schedule_id]
            known.asked = now
            try:
                facts = await self._requests.describe(row.schedule_id)
            except TemporalRequestError:
                # Counted by its code where requests are counted, and in the gauge of those not described.
                failures += 1
                if failures == FAILURES_MAX:
                    break
                continue
            failures = 0
            if facts is None:
                gone.add(row.schedule_id)
            else:
                known.facts, known.fingerprint, known.described = facts, row.fingerprint, now
        return gone


def _must_describe(row: ListedSchedule, known: _Known, now: int) -> bool:
    if known.facts is None or known.fingerprint != row.fingerprint or now - known.described >= REFRESH:
        return True
    return not row.paused and row.next_action is not None and row.next_action <= now


def _samples(row: ListedSchedule, known: _Known, now: int) -> Iterator[Sample]:
    labels = {names.SCHEDULE_ID: label(row.schedule_id)}
    yield Sample(names.SCHEDULE_OVERDUE, labels, _overdue(row, known, now) / SECOND)
    yield Sample(names.SCHEDULE_PAUSED, labels, int(row.paused))
    if row.last_action is not None:
        yield Sample(names.SCHEDULE_LAST_ACTION, labels, row.last_action / SECOND)
    if known.facts:
        yield from _counts(labels, known.facts)


def _counts(labels: Mapping[str, str], facts: ScheduleDescription) -> Iterator[Sample]:
    yield Sample(names.SCHEDULE_MISSED_CATCHUP, labels, facts.missed)
    yield Sample(names.SCHEDULE_OVERLAP_SKIPPED, labels, facts.skipped)
    yield Sample(names.SCHEDULE_BUFFER_DROPPED, labels, facts.dropped)
    yield Sample(names.SCHEDULE_BUFFERED, labels, facts.buffered)


def _overdue(row: ListedSchedule, known: _Known, now: int) -> int:
    # A row may show late, and a paused schedule's row tells of actions in the past.
    next_action = known.facts.next_action if known.facts and known.described == now else row.next_action
    if row.paused or next_action is None or now - next_action <= TOLERANCE:
        return 0
    return now - next_action


def label(schedule_id: str) -> str:
    """Return what stands for a schedule in a label: its id, or if that is long or unprintable, a part and a digest."""
    clean = "".join(filter(str.isprintable, schedule_id[: 2 * VALUE_LENGTH]))
    if clean == schedule_id and len(clean) <= VALUE_LENGTH:
        return clean
    # Two ids must never become one series.
    digest = blake2b(schedule_id.encode(), digest_size=6).hexdigest()
    return f"{clean[: VALUE_LENGTH - len(digest) - 1]}~{digest}"
