from collections.abc import Iterable

import pytest
from prometheus_client.parser import text_string_to_metric_families as parse_text

from temporal_slo import names
from temporal_slo.errors import TemporalRequestError
from temporal_slo.exporter.exposition.publisher import Publisher
from temporal_slo.exporter.exposition.snapshot import Snapshot
from temporal_slo.exporter.sources.schedules import (
    DESCRIBE_INTERVAL,
    FAILURES_MAX,
    OVERDUE_TOLERANCE,
    Schedules,
    schedule_label,
)
from temporal_slo.names.bounded import VALUE_LENGTH
from temporal_slo.runs.microseconds import SECOND
from temporal_slo.temporal.schedules import ListedSchedule, ScheduleDescription
from temporal_slo.testing import FakeSchedules, FixedClock

NOW = 1_700_000_000 * SECOND
LATER = NOW + 3600 * SECOND

DESCRIPTION = ScheduleDescription(LATER, missed=3, skipped=5, dropped=7, buffered=11)


NO_POLLER = TemporalRequestError("FAILED_PRECONDITION", "no poller seen")


def fake(*rows: ListedSchedule, page_size: int = 1000) -> FakeSchedules:
    """Return schedules that all have the same description."""
    return FakeSchedules(*rows, default=DESCRIPTION, page_size=page_size)


def take_requested(schedules: FakeSchedules) -> list[str]:
    """Return the ids of the descriptions requested since the last call."""
    requested, schedules.requests = schedules.requests, []
    return requested


def row(
    schedule_id: str,
    next_action: int | None = LATER,
    *,
    paused: bool = False,
    last_action: int | None = None,
    fingerprint: bytes = b"1",
) -> ListedSchedule:
    """Return a row with the next action at *next_action*."""
    return ListedSchedule(schedule_id, paused, next_action, last_action, fingerprint)


Values = dict[str, dict[str, float]]


async def read(source: Schedules, now: int = NOW) -> Values:
    """Read, and return the values by sample name and schedule."""
    values: Values = {}
    for family, labels, value in await source.read(now):
        assert {*labels, names.NAMESPACE} == set(family.labels)
        assert isinstance(value, int | float)
        series = values.setdefault(family.sample, {})
        assert labels.get(names.SCHEDULE_ID, "") not in series
        series[labels.get(names.SCHEDULE_ID, "")] = value
    return values


async def test_samples() -> None:
    """The counts of a schedule are those of its description, and its times those of its row."""
    source = Schedules(fake(row("daily", last_action=NOW - 17 * SECOND)))
    assert await read(source) == {
        "temporal_slo_schedule_overdue_seconds": {"daily": 0},
        "temporal_slo_schedule_paused": {"daily": 0},
        "temporal_slo_schedule_last_action_timestamp_seconds": {"daily": 1_699_999_983},
        "temporal_slo_schedule_missed_catchup_total": {"daily": 3},
        "temporal_slo_schedule_overlap_skipped_total": {"daily": 5},
        "temporal_slo_schedule_buffer_dropped_total": {"daily": 7},
        "temporal_slo_schedule_buffered_actions": {"daily": 11},
        "temporal_slo_exporter_schedules_over_limit": {"": 0},
        "temporal_slo_exporter_schedules_undescribed": {"": 0},
    }


@pytest.mark.parametrize(
    ("listed", "described", "overdue"),
    [
        (row("s", NOW - 90 * SECOND), NOW - 80 * SECOND, 80.0),
        (row("s", NOW - 90 * SECOND), LATER, 0.0),
        (row("s", NOW - 90 * SECOND), None, 0.0),
        (row("s", NOW - OVERDUE_TOLERANCE), NOW - OVERDUE_TOLERANCE, 0.0),
        (row("s", NOW - OVERDUE_TOLERANCE - SECOND), NOW - OVERDUE_TOLERANCE - SECOND, 6.0),
        (row("s", NOW - 90 * SECOND, paused=True), NOW - 90 * SECOND, 0.0),
        (row("s", None), None, 0.0),
    ],
    ids=["overdue", "stale row", "no further action", "tolerated", "just overdue", "paused", "no action"],
)
async def test_overdue(listed: ListedSchedule, described: int | None, overdue: float) -> None:
    """A schedule is overdue by its description, not its row; one that is paused or has no further action is not."""
    requests = fake(listed)
    requests.descriptions["s"] = ScheduleDescription(described, 0, 0, 0, 0)
    values = await read(Schedules(requests))
    assert values[names.SCHEDULE_OVERDUE.sample] == {"s": overdue}


async def test_undescribed() -> None:
    """A schedule that cannot be described is overdue by its row, keeps its last counts, and counts as undescribed."""
    requests = fake(row("s", NOW + SECOND), row("new"))
    requests.errors = dict.fromkeys({"new"}, NO_POLLER)
    source = Schedules(requests)
    values = await read(source)
    assert values[names.SCHEDULE_PAUSED.sample] == {"s": 0, "new": 0}
    assert values[names.SCHEDULE_MISSED_CATCHUP.sample] == {"s": 3}
    requests.errors = dict.fromkeys({"new", "s"}, NO_POLLER)
    values = await read(source, NOW + 31 * SECOND)
    assert values[names.SCHEDULE_OVERDUE.sample] == {"s": 30, "new": 0}
    assert values[names.SCHEDULE_MISSED_CATCHUP.sample] == {"s": 3}
    assert values[names.EXPORTER_SCHEDULES_UNDESCRIBED.sample] == {"": 2}


async def test_described_when_needed() -> None:
    """A schedule is described again only if its row changed, its action is due, or ten minutes have passed."""
    requests = fake(row("s"))
    source = Schedules(requests)
    for now, next_action, fingerprint, requested in [
        (NOW, LATER, b"1", ["s"]),
        (NOW + SECOND, LATER, b"1", []),
        (NOW + 2 * SECOND, LATER, b"2", ["s"]),
        (NOW + 3 * SECOND, LATER, b"2", []),
        (NOW + DESCRIBE_INTERVAL + SECOND, LATER, b"2", []),
        (NOW + DESCRIBE_INTERVAL + 2 * SECOND, LATER, b"2", ["s"]),
        (LATER - SECOND, LATER, b"2", ["s"]),
        (LATER, LATER, b"2", ["s"]),
    ]:
        requests.rows["s"] = row("s", next_action, fingerprint=fingerprint)
        await read(source, now)
        assert take_requested(requests) == requested


async def test_paused_is_not_described() -> None:
    """A paused schedule, whose row may have a next action in the past, is not described by every read."""
    requests = fake(row("s", NOW - SECOND, paused=True))
    source = Schedules(requests)
    await read(source)
    await read(source, NOW + SECOND)
    assert take_requested(requests) == ["s"]


async def test_limit() -> None:
    """Beyond the limit the first schedules by id are monitored, whatever their page; the others are counted."""
    requests = fake(*(row(name) for name in "fbdace"), page_size=2)
    values = await read(Schedules(requests, limit=3))
    assert set(values[names.SCHEDULE_PAUSED.sample]) == set("abc")
    assert values[names.EXPORTER_SCHEDULES_OVER_LIMIT.sample] == {"": 3}
    assert sorted(take_requested(requests)) == list("abc")


async def test_deleted() -> None:
    """A deleted schedule has no series, even if it is deleted between the listing and its description."""
    requests = fake(row("a"), row("b"), row("c"))
    requests.descriptions["b"] = None
    source = Schedules(requests)
    assert set((await read(source))[names.SCHEDULE_PAUSED.sample]) == {"a", "c"}
    del requests.rows["a"], requests.rows["b"]
    values = await read(source, NOW + SECOND)
    assert values[names.SCHEDULE_PAUSED.sample] == {"c": 0}
    assert values[names.EXPORTER_SCHEDULES_UNDESCRIBED.sample] == {"": 0}
    # A schedule created again with the same id is a new one.
    requests.rows["a"] = row("a")
    requests.errors = dict.fromkeys({"a"}, NO_POLLER)
    values = await read(source, NOW + 2 * SECOND)
    assert values[names.SCHEDULE_MISSED_CATCHUP.sample] == {"c": 3}


async def test_consecutive_failures() -> None:
    """After some consecutive failures the other schedules wait for the next read, which describes them first."""
    ids = [f"{number}" for number in range(FAILURES_MAX + 2)]
    requests = fake(*map(row, ids))
    requests.errors = dict.fromkeys(ids[:FAILURES_MAX], NO_POLLER)
    source = Schedules(requests)
    values = await read(source)
    assert take_requested(requests) == ids[:FAILURES_MAX]
    assert values[names.EXPORTER_SCHEDULES_UNDESCRIBED.sample] == {"": len(ids)}
    values = await read(source, NOW + SECOND)
    assert take_requested(requests) == [*ids[FAILURES_MAX:], *ids[:FAILURES_MAX]]
    assert set(values[names.SCHEDULE_MISSED_CATCHUP.sample]) == set(ids[FAILURES_MAX:])


async def test_single_failures() -> None:
    """Failures that are not consecutive do not stop a read."""
    ids = [f"{number}" for number in range(3 * FAILURES_MAX)]
    requests = fake(*map(row, ids))
    requests.errors = dict.fromkeys(ids[::2], NO_POLLER)
    values = await read(Schedules(requests))
    assert take_requested(requests) == ids
    assert set(values[names.SCHEDULE_MISSED_CATCHUP.sample]) == set(ids[1::2])


async def test_listing_fails() -> None:
    """A read whose listing fails raises, and the next one still has the earlier descriptions."""
    requests = fake(row("s"))
    source = Schedules(requests)
    await read(source)
    requests.list_error = TemporalRequestError("UNAVAILABLE", "unreachable")
    with pytest.raises(TemporalRequestError, match="UNAVAILABLE"):
        await read(source, NOW + SECOND)
    requests.list_error = None
    await read(source, NOW + 2 * SECOND)
    assert take_requested(requests) == ["s"]


def test_labels() -> None:
    """Whatever the id of a schedule, its label value is short, printable and unique."""
    assert schedule_label("nightly report/é") == "nightly report/é"
    assert schedule_label("x" * VALUE_LENGTH) == "x" * VALUE_LENGTH
    labels = [schedule_label(schedule_id) for schedule_id in _ids()]
    assert len(set(labels)) == len(labels)
    assert all(text.isprintable() and 0 < len(text) <= VALUE_LENGTH for text in labels)


def _ids() -> Iterable[str]:
    yield from ("a\n", "a", "a\0", "\n")
    yield from ("x" * VALUE_LENGTH, "x" * (VALUE_LENGTH + 1), "x" * 5000, "x" * 5001)


class NothingReleased:
    """A record of series released from the initial zero that accepts no series of schedules."""

    async def released(self, _: str) -> list[str]:
        """Return none."""
        return []

    async def mark_released(self, _: str, series: Iterable[str]) -> None:
        """Check that there is none of schedules."""
        assert not [name for name in series if "schedule" in name]


async def test_exposed_without_initial_zero() -> None:
    """Counts from before are exposed at once: with an initial zero they would look like an increase."""
    publisher = Publisher(NothingReleased(), clock=FixedClock())
    samples = tuple(await Schedules(fake(row("daily"))).read(NOW))
    await publisher.put(Snapshot("default", self_metrics=samples))
    families = parse_text(publisher.response("text/plain", "")[0].body.decode())
    exposed = {sample.name: sample.value for family in families for sample in family.samples}
    assert exposed[names.SCHEDULE_MISSED_CATCHUP.sample] == 3
    assert exposed[names.SCHEDULE_OVERLAP_SKIPPED.sample] == 5
    assert exposed[names.SCHEDULE_BUFFER_DROPPED.sample] == 7
