from collections.abc import Iterable

import pytest
from prometheus_client.parser import text_string_to_metric_families as parse_text

from temporal_slo import names
from temporal_slo.errors import TemporalRequestError
from temporal_slo.exporter.exposition.publisher import Publisher
from temporal_slo.exporter.exposition.snapshot import Snapshot
from temporal_slo.exporter.sources.schedules import FAILURES_MAX, REFRESH, TOLERANCE, VALUE_LENGTH, Schedules, label
from temporal_slo.runs.microseconds import SECOND
from temporal_slo.temporal.schedules import ListedSchedule, ScheduleDescription, SchedulePage
from temporal_slo.testing import FixedClock

NOW = 1_700_000_000 * SECOND
LATER = NOW + 3600 * SECOND

FACTS = ScheduleDescription(LATER, missed=3, skipped=5, dropped=7, buffered=11)


class FakeSchedules:
    """Schedules that a test puts there.

    Attributes:
        rows: What is listed, by id.
        facts: What they tell when they are described; None for one that is gone.
        described: Ids asked for, in order.
        failing: Ids that are not described.
        listing_fails: Whether there is no list.
    """

    def __init__(self, *rows: ListedSchedule, page_size: int = 1000) -> None:
        self.rows = {row.schedule_id: row for row in rows}
        self.facts: dict[str, ScheduleDescription | None] = {}
        self.page_size = page_size
        self.described: list[str] = []
        self.failing: set[str] = set()
        self.listing_fails = False

    async def page(self, token: bytes = b"") -> SchedulePage:
        """Return a page of the rows, in their order."""
        if self.listing_fails:
            raise TemporalRequestError("UNAVAILABLE", "away")
        start = int(token or b"0")
        rows = tuple(self.rows.values())[start : start + self.page_size]
        more = start + self.page_size < len(self.rows)
        return SchedulePage(rows, str(start + self.page_size).encode() if more else b"")

    async def describe(self, schedule_id: str) -> ScheduleDescription | None:
        """Return the facts that a test gave it, or those of every schedule."""
        self.described.append(schedule_id)
        if schedule_id in self.failing:
            raise TemporalRequestError("FAILED_PRECONDITION", "no poller seen")
        return self.facts.get(schedule_id, FACTS)

    def asked(self) -> list[str]:
        """Return the ids that were described since the last call."""
        ids = [*self.described]
        self.described.clear()
        return ids


def row(
    schedule_id: str,
    due: int | None = LATER,
    *,
    paused: bool = False,
    last_action: int | None = None,
    fingerprint: bytes = b"1",
) -> ListedSchedule:
    """Return a row that is due at a time."""
    return ListedSchedule(schedule_id, paused, due, last_action, fingerprint)


Figures = dict[str, dict[str, float]]


async def read(source: Schedules, now: int = NOW) -> Figures:
    """Read, and return the values of each family by schedule."""
    figures: Figures = {}
    for family, labels, value in await source.read(now):
        assert {*labels, names.NAMESPACE} == set(family.labels)
        assert isinstance(value, int | float)
        series = figures.setdefault(family.sample, {})
        assert labels.get(names.SCHEDULE_ID, "") not in series
        series[labels.get(names.SCHEDULE_ID, "")] = value
    return figures


async def test_figures() -> None:
    """A schedule's counts are the server's own, and its times those of its row."""
    source = Schedules(FakeSchedules(row("daily", last_action=NOW - 17 * SECOND)))
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
        (row("s", NOW - TOLERANCE), NOW - TOLERANCE, 0.0),
        (row("s", NOW - TOLERANCE - SECOND), NOW - TOLERANCE - SECOND, 6.0),
        (row("s", NOW - 90 * SECOND, paused=True), NOW - 90 * SECOND, 0.0),
        (row("s", None), None, 0.0),
    ],
    ids=["late", "row is late", "exhausted since", "as usual", "just late", "paused", "exhausted"],
)
async def test_overdue(listed: ListedSchedule, described: int | None, overdue: float) -> None:
    """A schedule is overdue by its own word; one that is paused or has no further action is not."""
    requests = FakeSchedules(listed)
    requests.facts["s"] = ScheduleDescription(described, 0, 0, 0, 0)
    figures = await read(Schedules(requests))
    assert figures[names.SCHEDULE_OVERDUE.sample] == {"s": overdue}


async def test_row_tells_where_nobody_describes() -> None:
    """A schedule that is not described is overdue by its row, keeps its last counts, and is counted as such."""
    requests = FakeSchedules(row("s", NOW + SECOND), row("new"))
    requests.failing = {"new"}
    source = Schedules(requests)
    figures = await read(source)
    assert figures[names.SCHEDULE_PAUSED.sample] == {"s": 0, "new": 0}
    assert figures[names.SCHEDULE_MISSED_CATCHUP.sample] == {"s": 3}
    requests.failing = {"new", "s"}
    figures = await read(source, NOW + 31 * SECOND)
    assert figures[names.SCHEDULE_OVERDUE.sample] == {"s": 30, "new": 0}
    assert figures[names.SCHEDULE_MISSED_CATCHUP.sample] == {"s": 3}
    assert figures[names.EXPORTER_SCHEDULES_UNDESCRIBED.sample] == {"": 2}


async def test_described_when_needed() -> None:
    """A schedule is described anew only if its row has changed, its action was due, or ten minutes have passed."""
    requests = FakeSchedules(row("s"))
    source = Schedules(requests)
    for now, due, fingerprint, asked in [
        (NOW, LATER, b"1", ["s"]),
        (NOW + SECOND, LATER, b"1", []),
        (NOW + 2 * SECOND, LATER, b"2", ["s"]),
        (NOW + 3 * SECOND, LATER, b"2", []),
        (NOW + REFRESH + SECOND, LATER, b"2", []),
        (NOW + REFRESH + 2 * SECOND, LATER, b"2", ["s"]),
        (LATER - SECOND, LATER, b"2", ["s"]),
        (LATER, LATER, b"2", ["s"]),
    ]:
        requests.rows["s"] = row("s", due, fingerprint=fingerprint)
        await read(source, now)
        assert requests.asked() == asked


async def test_paused_is_not_asked_for() -> None:
    """A paused schedule, whose row tells of actions in the past, is not described at each reading."""
    requests = FakeSchedules(row("s", NOW - SECOND, paused=True))
    source = Schedules(requests)
    await read(source)
    await read(source, NOW + SECOND)
    assert requests.asked() == ["s"]


async def test_limit() -> None:
    """Of too many schedules the first by id are watched, whatever page they are on; the others are counted."""
    requests = FakeSchedules(*(row(name) for name in "fbdace"), page_size=2)
    figures = await read(Schedules(requests, limit=3))
    assert set(figures[names.SCHEDULE_PAUSED.sample]) == set("abc")
    assert figures[names.EXPORTER_SCHEDULES_OVER_LIMIT.sample] == {"": 3}
    assert sorted(requests.asked()) == list("abc")


async def test_gone() -> None:
    """The series of a schedule go with it, even if it goes between the list and its description."""
    requests = FakeSchedules(row("a"), row("b"), row("c"))
    requests.facts["b"] = None
    source = Schedules(requests)
    assert set((await read(source))[names.SCHEDULE_PAUSED.sample]) == {"a", "c"}
    del requests.rows["a"], requests.rows["b"]
    figures = await read(source, NOW + SECOND)
    assert figures[names.SCHEDULE_PAUSED.sample] == {"c": 0}
    assert figures[names.EXPORTER_SCHEDULES_UNDESCRIBED.sample] == {"": 0}
    # One that comes again under the same name is a new one.
    requests.rows["a"] = row("a")
    requests.failing = {"a"}
    figures = await read(source, NOW + 2 * SECOND)
    assert figures[names.SCHEDULE_MISSED_CATCHUP.sample] == {"c": 3}


async def test_failures_hold_up_nobody() -> None:
    """After a few failures in a row the rest waits for the next reading, and goes first there."""
    ids = [f"{number}" for number in range(FAILURES_MAX + 2)]
    requests = FakeSchedules(*map(row, ids))
    requests.failing = set(ids[:FAILURES_MAX])
    source = Schedules(requests)
    figures = await read(source)
    assert requests.asked() == ids[:FAILURES_MAX]
    assert figures[names.EXPORTER_SCHEDULES_UNDESCRIBED.sample] == {"": len(ids)}
    figures = await read(source, NOW + SECOND)
    assert requests.asked() == [*ids[FAILURES_MAX:], *ids[:FAILURES_MAX]]
    assert set(figures[names.SCHEDULE_MISSED_CATCHUP.sample]) == set(ids[FAILURES_MAX:])


async def test_failures_apart() -> None:
    """Schedules that are not described one by one, among others that are, end no reading."""
    ids = [f"{number}" for number in range(3 * FAILURES_MAX)]
    requests = FakeSchedules(*map(row, ids))
    requests.failing = set(ids[::2])
    figures = await read(Schedules(requests))
    assert requests.asked() == ids
    assert set(figures[names.SCHEDULE_MISSED_CATCHUP.sample]) == set(ids[1::2])


async def test_no_list() -> None:
    """A reading without a list fails as a whole, and the next one goes on from what was known."""
    requests = FakeSchedules(row("s"))
    source = Schedules(requests)
    await read(source)
    requests.listing_fails = True
    with pytest.raises(TemporalRequestError, match="UNAVAILABLE"):
        await read(source, NOW + SECOND)
    requests.listing_fails = False
    await read(source, NOW + 2 * SECOND)
    assert requests.asked() == ["s"]


def test_labels() -> None:
    """Whatever a schedule is called, its label is short, printable and its own."""
    assert label("nightly report/é") == "nightly report/é"
    assert label("x" * VALUE_LENGTH) == "x" * VALUE_LENGTH
    labels = [label(name) for name in _names()]
    assert len(set(labels)) == len(labels)
    assert all(text.isprintable() and 0 < len(text) <= VALUE_LENGTH for text in labels)


def _names() -> Iterable[str]:
    yield from ("a\n", "a", "a\0", "\n")
    yield from ("x" * VALUE_LENGTH, "x" * (VALUE_LENGTH + 1), "x" * 5000, "x" * 5001)


class NothingLetGo:
    """A memory of series that were let go from 0, when none of schedules has to be."""

    async def released(self, _: str) -> list[str]:
        """Return none."""
        return []

    async def mark_released(self, _: str, series: Iterable[str]) -> None:
        """See to it that it stays so."""
        assert not [name for name in series if "schedule" in name]


async def test_history_is_no_increase() -> None:
    """What the server has counted before is exposed at once: a series held at 0 first would show it as an increase."""
    board = Publisher(NothingLetGo(), clock=FixedClock())
    samples = tuple(await Schedules(FakeSchedules(row("daily"))).read(NOW))
    await board.put(Snapshot("default", self_metrics=samples))
    families = parse_text(board.answer("text/plain", "")[0].body.decode())
    shown = {sample.name: sample.value for family in families for sample in family.samples}
    assert shown[names.SCHEDULE_MISSED_CATCHUP.sample] == 3
    assert shown[names.SCHEDULE_OVERLAP_SKIPPED.sample] == 5
    assert shown[names.SCHEDULE_BUFFER_DROPPED.sample] == 7
