"""Events of SLOs from the ledger."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise, product
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Connection, insert

from temporal_slo import names
from temporal_slo.exporter.history_export.openmetrics_file import Window
from temporal_slo.exporter.history_export.recorded_series import STEP_MS, rate_samples
from temporal_slo.exporter.sources.calendar_month import CalendarPeriods, month_start
from temporal_slo.ledger import schema, slo_events, upserts
from temporal_slo.ledger.change import CLOSED, Change
from temporal_slo.ledger.ledger import Ledger
from temporal_slo.ledger.slo_events import Events
from temporal_slo.names.samples import Value
from temporal_slo.promql import sli_rates as queries
from temporal_slo.runs.microseconds import HOUR, MINUTE, SECOND
from temporal_slo.runs.run import Run
from temporal_slo.spec.bound import BoundSlo
from temporal_slo.spec.events import INF_BUCKET, good_run_predicate
from temporal_slo.spec.load import load
from temporal_slo.spec.model import Latency, Success
from tests.run_factory import BEGAN, closed

SPEC = """\
version: temporal-slo/v1
service: shop
temporal_namespace: shop
owner: shop-team
period: {calendar: month, timezone: Africa/Accra}
slos:
- name: rides
  workflow: [Ride, Walk]
  task_queue: q
  objective: 99.9
  outcome: {from: status, good: [OK], bad: [NO], excluded: [NEVER]}
  sli: {success: {bad: [failed, timed_out, bad_outcome], excluded: [canceled]}}
- {name: plain, workflow: Plain, objective: 99, sli: {success: {bad: [terminated, failed]}}}
- {name: quick, workflow: Ride, objective: 99, sli: {latency: {threshold: 90s}}}
- {name: quick-or-failed, workflow: Ride, objective: 99, sli: {latency: {threshold: 90s, failures: bad}}}
- {name: stuck, workflow: Ride, objective: 99.9, sli: {overdue: {max_age: 15m}}}
"""
STATUSES = (
    "completed", "failed", "timed_out", "canceled", "terminated", "continued_as_new", "retried", "reset"
)  # fmt: skip
OUTCOMES = ("good", "bad", "excluded", "unknown", "none")
LOWEST = int(datetime(2026, 3, 7, 12, 0, 17, tzinfo=UTC).timestamp()) * SECOND


@pytest.fixture
def slos(tmp_path: Path) -> Sequence[BoundSlo]:
    """The SLOs of the spec."""
    (tmp_path / "spec.yaml").write_text(SPEC)
    return load([tmp_path / "spec.yaml"]).slos


def of(slos: Sequence[BoundSlo], name: str) -> BoundSlo:
    """The SLO of that name."""
    return next(slo for slo in slos if slo.name == name)


def matches(selector: str, labels: dict[str, str]) -> bool:
    """Whether a PromQL selector matches a series with *labels*."""
    found = re.findall(r'(\w+)(=~|!~|!=|=)"((?:[^"\\]|\\.)*)"', selector)
    assert found
    return all(holds(labels.get(name, ""), operator, text.replace("\\\\", "\\")) for name, operator, text in found)


def holds(value: str, operator: str, text: str) -> bool:
    """Whether one matcher matches."""
    alike = re.fullmatch(text, value) is not None if "~" in operator else value == text
    return alike != operator.startswith("!")


@pytest.mark.parametrize("name", ["rides", "plain", "quick", "quick-or-failed"])
def test_agrees_with_the_queries(name: str, slos: Sequence[BoundSlo]) -> None:
    """PromQL and the ledger agree which runs are events and which are good, for every status and outcome."""
    slo = of(slos, name)
    assert isinstance(slo.sli, Success | Latency)
    queried, is_good = queries(slo, timedelta(minutes=5)), good_run_predicate(slo.sli)
    buckets = (60_000, 90_000, 120_000, INF_BUCKET)
    # The rates of closed runs have none of unknown outcome: those are distributed among the others.
    known = OUTCOMES if slo.name == "quick" else tuple(outcome for outcome in OUTCOMES if outcome != "unknown")
    for status, outcome, bucket in product(STATUSES, known, buckets):
        if outcome != "none" and status != "completed":
            continue
        labels = {
            names.NAMESPACE: "shop", names.WORKFLOW_TYPE: slo.workflow_types[0], names.TASK_QUEUE: "q",
            names.STATUS: status, names.OUTCOME: outcome, "le": "90", names.SLO: slo.name, names.SERVICE: "shop",
        }  # fmt: skip
        in_bucket = isinstance(slo.sli, Success) or 0 < bucket <= 90_000
        good = matches(queried.good, labels) if queried.good else not bad(queried.bad or "", labels)
        expected = good and in_bucket if matches(queried.events.partition(" unless ")[0], labels) else None
        assert is_good(status, outcome, bucket) == expected, (status, outcome, bucket)


def bad(expression: str, labels: dict[str, str]) -> bool:
    """Whether one of the selectors of a PromQL expression matches a series with *labels*."""
    return any(matches(selector, labels) for selector in expression.split(" or "))


def row(minute: int, status: str, count: int, **other: Any) -> dict[str, Any]:  # noqa: ANN401 - a column's value
    """A row of the counts by minute."""
    basic = {"namespace": "shop", "workflow_type": "Ride", "task_queue": "q", "outcome": "good", "bucket": 60_000}
    return {**basic, "minute": minute, "status": status, "count": count, **other}


def fill(connection: Connection, *rows: dict[str, Any]) -> None:
    """Insert rows, and the start of counting."""
    key = {"namespace": "shop", "list": CLOSED}
    connection.execute(insert(schema.watermarks).values(lowest=LOWEST, position=LOWEST, **key))
    connection.execute(insert(schema.closed_minutes), list(rows))


async def test_events(ledger_url: str, slos: Sequence[BoundSlo]) -> None:
    """Events are the runs of the SLO's workflow types and task queue in the period; unknown before the first poll."""
    ledger, first = Ledger(ledger_url), LOWEST // MINUTE
    rides, quick = of(slos, "rides"), of(slos, "quick")

    async def found(slo: BoundSlo, begin: int, end: int) -> Events | None:
        return await ledger.transact(slo_events.events, slo, begin * MINUTE, end * MINUTE)

    assert await found(rides, first, first + 9) is None
    rows = [
        row(first, "completed", 7),
        row(first, "completed", 3, outcome="bad"),
        row(first + 1, "failed", 5, outcome="none"),
        row(first + 1, "completed", 11, workflow_type="Walk", bucket=INF_BUCKET),
        row(first + 1, "completed", 13, task_queue="other", bucket=120_000),
        row(first + 1, "retried", 17, outcome="none"),
        row(first + 1, "completed", 19, workflow_type="Run"),
        row(first + 2, "timed_out", 23, outcome="none"),
    ]
    await ledger.transact(lambda connection: fill(connection, *rows))
    assert await found(rides, first, first + 2) == Events(7 + 11, 3 + 5)
    assert await found(rides, first + 1, first + 3) == Events(11, 5 + 23)
    assert await found(quick, first, first + 2) == Events(7, 13)
    assert await found(of(slos, "quick-or-failed"), first, first + 2) == Events(7, 3 + 5 + 13)
    # A threshold that was added later excludes the runs before it.
    for since, events in ((LOWEST, Events(7, 13)), (LOWEST + MINUTE, Events(0, 13))):
        await ledger.transact(store_threshold, since)
        assert await found(quick, first, first + 2) == events
    assert await found(of(slos, "stuck"), first, first + 2) is None
    ledger.close()


async def test_unclassified(ledger_url: str, slos: Sequence[BoundSlo]) -> None:
    """Runs that wait for their close event, or have an unknown outcome, count as the others do on average."""
    ledger, first = Ledger(ledger_url), LOWEST // MINUTE
    rows = [
        row(first, "completed", 60),
        row(first, "completed", 20, outcome="bad"),
        row(first, "completed", 20, outcome="excluded"),
        row(first, "completed", 100, outcome="unknown"),
        row(first, "failed", 2, outcome="none"),
        row(first, "retried", 6, outcome="none"),
    ]
    seconds = (first + 1) * 60 - BEGAN // SECOND
    runs = [closed(seconds, "completed", task_queue="q") for _ in range(50)]
    runs += [closed(seconds, "timed_out", task_queue="q") for _ in range(8)]
    runs += [closed(seconds + 600, "failed", task_queue="q"), closed(seconds, "failed", task_queue="other")]

    async def found(name: str) -> Events | None:
        return await ledger.transact(slo_events.events, of(slos, name), first * MINUTE, (first + 5) * MINUTE)

    async def wait(runs: list[Run]) -> None:
        await ledger.commit("shop", Change(pending=runs), LOWEST, written=lambda _: None)

    await ledger.transact(lambda connection: fill(connection, row(first - 9, "completed", 1)))
    await wait(runs[:50])
    # Nothing is known: completed runs are good, failures are bad.
    assert await found("rides") == Events(50, 0)
    await wait(runs[50:])
    assert await found("rides") == Events(50, 8)
    await ledger.transact(Connection.execute, insert(schema.closed_minutes), rows)
    assert await found("rides") == Events(60 + 60 + 30, 20 + 20 + 10 + 2 + 2)
    assert await found("quick") == Events(60, 0)
    ledger.close()


async def test_partial_minute_and_hour(ledger_url: str, slos: Sequence[BoundSlo]) -> None:
    """The minute and the hour in which the period ends are included; those that start as it ends are not."""
    ledger, hour = Ledger(ledger_url), LOWEST // HOUR + 1
    hours = [{"namespace": "shop", "slo": "stuck", "hour": at, "observed": 60, "overdue": 7} for at in (hour, hour + 1)]

    def prepare(connection: Connection) -> None:
        fill(connection, *(row(hour * 60 + minute, "completed", 3) for minute in (0, 1, 60)))
        connection.execute(insert(schema.minute_hours), hours)

    await ledger.transact(prepare)
    for name, unit, events in (("rides", MINUTE, Events(3, 0)), ("stuck", HOUR, Events(53, 7))):
        for end in (1, unit):
            period = hour * HOUR, hour * HOUR + end
            assert await ledger.transact(slo_events.events, of(slos, name), *period) == events
    ledger.close()


@pytest.mark.parametrize(
    ("since", "expected"),
    [(None, 0), (LOWEST - 1, 0), (LOWEST, 0), (LOWEST + 1, LOWEST + 1)],
    ids=["not stored", "older than the ledger", "as old as the ledger", "added later"],
)
async def test_measured_since(ledger_url: str, slos: Sequence[BoundSlo], since: int | None, expected: int) -> None:
    """Only a latency threshold that was added after counting started excludes runs; backfilled runs have its bucket."""
    ledger, quick, first = Ledger(ledger_url), of(slos, "quick"), LOWEST // MINUTE
    others = [{"namespace": "other", "edge": 90_000}, {"namespace": "shop", "edge": 60_000}]

    def prepare(connection: Connection) -> None:
        fill(connection, row(first - 1, "completed", 7), row(first, "completed", 3))
        connection.execute(insert(schema.latency_thresholds), [{"since": LOWEST + HOUR} | other for other in others])
        if since is not None:
            store_threshold(connection, since)

    await ledger.transact(prepare)
    for name, moment in (("quick", expected), ("rides", 0)):
        sli = of(slos, name).sli
        assert isinstance(sli, Success | Latency)
        assert await ledger.transact(slo_events.measured_since, "shop", sli) == moment
    found = await ledger.transact(slo_events.events, quick, (first - 1) * MINUTE, (first + 1) * MINUTE)
    assert found == (Events(10, 0) if not expected else Events(3, 0))
    ledger.close()


def store_threshold(connection: Connection, since: int) -> None:
    """Store since when the threshold of the latency SLO is a bucket bound."""
    row = {"namespace": "shop", "edge": 90_000, "since": since}
    upserts.replace(connection, schema.latency_thresholds, [row], "since")


async def test_month(ledger_url: str, slos: Sequence[BoundSlo]) -> None:
    """The source exposes the events of the current month, and starts at zero with the next; minutes count by hour."""
    ledger, source = Ledger(ledger_url), None
    source = CalendarPeriods(ledger, slos)
    now = int(datetime(2026, 3, 31, 23, 59, tzinfo=UTC).timestamp()) * SECOND
    assert list(await source.read(now)) == []
    begin, end = month_start(now, "Africa/Accra") // MINUTE, now // MINUTE
    rows = [row(begin - 1, "failed", 3), row(begin, "completed", 5), row(end, "failed", 7), row(end + 1, "failed", 11)]
    await ledger.transact(lambda connection: fill(connection, *rows))
    hours = [{"hour": hour, "observed": 60, "overdue": hour % 7} for hour in range(now // HOUR - 2, now // HOUR + 1)]
    key = {"namespace": "shop", "slo": "stuck"}
    await ledger.transact(Connection.execute, insert(schema.minute_hours), [key | hour for hour in hours])
    overdue = sum(hour["overdue"] for hour in hours)
    # The clock of the server may be ahead: its first minute of the new month still counts for the old one.
    assert await period_events(source, now) == {
        "rides": (5, 18),
        "quick": (5, 0),
        "quick-or-failed": (5, 18),
        "plain": (0, 0),
        "stuck": (180 - overdue, overdue),
    }
    assert (await period_events(source, now + MINUTE))["rides"] == (0, 11)
    source.apply_slos(())
    assert await period_events(source, now) == {}
    ledger.close()


async def period_events(source: CalendarPeriods, now: int) -> dict[str, tuple[Value, Value]]:
    """Good and bad events of the period, by SLO."""
    values = {(sample.labels[names.SLO], sample.family): sample.value for sample in await source.read(now)}
    return {slo: (values[slo, names.PERIOD_GOOD_EVENTS], values[slo, names.PERIOD_BAD_EVENTS]) for slo, _ in values}


@pytest.mark.parametrize("zone", ["Africa/Accra", "Europe/London", "Asia/Kolkata", "America/Sao_Paulo"])
def test_months_begin_at_midnight(zone: str) -> None:
    """A month begins at local midnight, also across changes to daylight saving time."""
    for number in range(1, 13):
        now = datetime(2026, number, 28, 13, 7, tzinfo=ZoneInfo(zone))
        begin = datetime.fromtimestamp(month_start(int(now.timestamp()) * SECOND, zone) / SECOND, ZoneInfo(zone))
        assert (begin.month, begin.day, begin.hour, begin.minute) == (number, 1, 0, 0)


@given(
    st.lists(st.tuples(st.integers(1, 40), st.integers(1, 999)), min_size=1, max_size=30),
    st.integers(0, 59_999),
)
def test_rate_samples(steps: list[tuple[int, int]], rest: int) -> None:
    """The samples of an event sum up to one; samples are aligned to the step, ascend, and leave no gap."""
    minute, minutes = 29_000_000, list[tuple[int, int]]()
    for wait, count in steps:
        minute += wait
        minutes.append((minute, count))
    window = Window(0, minute * 60_000 + rest, 60_000)
    samples = list(rate_samples(iter(minutes), window))
    assert sum(rate for _, rate in samples) * STEP_MS / 1000 == pytest.approx(sum(count for _, count in minutes))
    times = [at for at, _ in samples]
    assert times == sorted(set(times))
    assert times[-1] <= window.end
    assert all(at % STEP_MS == 0 for at in times)
    assert all(later - at <= 240_000 for at, later in pairwise(times))
