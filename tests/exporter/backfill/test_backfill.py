"""The past of a namespace, read into a ledger that has begun to count."""

import asyncio
import logging
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import closing, suppress
from dataclasses import replace
from datetime import timedelta
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from temporalio.api.failure.v1 import ApplicationFailureInfo, Failure
from temporalio.api.history.v1 import HistoryEvent, WorkflowExecutionFailedEventAttributes

from temporal_slo import names
from temporal_slo.errors import LedgerError, TemporalRequestError
from temporal_slo.exporter.backfill.backfill import BACKLOG, Backfill, Clocks, Done
from temporal_slo.exporter.backfill.progress_bar import Bar
from temporal_slo.exporter.classify.classifier import Classifier
from temporal_slo.exporter.classify.pending_runs import DEADLINE
from temporal_slo.exporter.mirror.mirror import Mirror
from temporal_slo.exporter.mirror.slo_rules import ClosedRunRule, SloRules
from temporal_slo.exporter.sources.source import SourceRunner
from temporal_slo.ledger.ledger import Ledger
from temporal_slo.runs.microseconds import MINUTE, SECOND
from temporal_slo.runs.run import Run
from temporal_slo.servers.process import until
from temporal_slo.testing import FakeVisibility, FixedClock
from tests.exposed import exposed
from tests.run_factory import BEGAN, closed, running

T = TypeVar("T")
HOUR = 3600.0
FAILED = HistoryEvent(
    workflow_execution_failed_event_attributes=WorkflowExecutionFailedEventAttributes(
        failure=Failure(application_failure_info=ApplicationFailureInfo(type="Refused"))
    )
)


class Histories:
    """Close events: that of a refused run for all but those in `gone` or `failing`."""

    def __init__(self) -> None:
        self.gone: set[str] = set()
        self.failing: set[str] = set()
        self.asked: list[str] = []

    async def close_event(self, workflow_id: str, run_id: str) -> HistoryEvent | None:
        """Answer."""
        assert workflow_id == "w"
        self.asked.append(run_id)
        if run_id in self.failing:
            raise TemporalRequestError("INTERNAL", "no shard")
        return None if run_id in self.gone else FAILED


async def decode(*_: object) -> object:
    """No result is read here."""
    raise AssertionError


class Site:
    """A ledger that began to count at BEGAN, and a backfill of it.

    Attributes:
        clock: An hour after BEGAN at first.
    """

    def __init__(self, path: Path, runs: Sequence[Run] = (), page_limit: int = 3) -> None:
        self.path = path
        self.ledger = Ledger(f"sqlite:///{path}")
        self.visibility = FakeVisibility(runs, page_limit)
        self.histories = Histories()
        self.clock = FixedClock(BEGAN / SECOND)
        self.shown: list[bool] = []
        self.on_complete: Callable[[], object] = list
        self.on_sleep: Callable[[], object] = list
        self.bar: Callable[[Done], object] = bool

    async def begin(self) -> "Site":
        """Poll for the first time, or go on."""
        state = await self.ledger.load("shop")
        rule = ClosedRunRule("rides", ("Ride",), None, lambda status, *_: status == "failed")
        self.mirror = Mirror(
            "shop",
            self.visibility,
            self.ledger,
            state,
            self.now,
            classify=Classifier(decode).from_visibility,
            rules=SloRules(closed_runs=(rule,)),
        )
        await self.mirror.poll(self.now)
        return self

    @property
    def now(self) -> int:
        """The clock, in microseconds."""
        return round(self.clock.now * SECOND)

    def backfill(self, since: timedelta | None = None, page_size: int = 3) -> Backfill:
        """A backfill that waits by moving the clock."""

        async def sleep(seconds: float) -> None:
            self.clock.forward(seconds)
            self.on_sleep()
            await asyncio.sleep(0)

        def show(done: Done) -> None:
            self.shown.append(done.complete)
            self.bar(done)
            if done.complete:
                self.on_complete()

        return Backfill(
            "shop",
            self.mirror,
            self.ledger,
            self.visibility,
            self.histories,
            classifier=Classifier(decode),
            since=since,
            page_size=page_size,
            show=show,
            clocks=Clocks(self.clock, sleep),
        )

    def rows(self, query: str) -> list[tuple[object, ...]]:
        """What the ledger has."""
        with closing(sqlite3.connect(self.path)) as connection:
            return connection.execute(query).fetchall()

    @property
    def counted(self) -> Counter[tuple[int, str]]:
        """Runs by minute and status."""
        rows = self.rows("SELECT minute, status, sum(count) FROM closed_minutes GROUP BY minute, status")
        return Counter({(int(str(minute)), str(status)): int(str(count)) for minute, status, count in rows})


def truth(runs: Sequence[Run]) -> Counter[tuple[int, str]]:
    """The same, of *runs*."""
    return Counter((run.close_time // MINUTE, str(run.status)) for run in runs)


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    """A ledger, and a server without runs."""
    made = Site(tmp_path / "ledger.db")
    yield made
    made.ledger.close()


async def test_counts_the_past(site: Site) -> None:
    """All that closed before counting began is counted by minute, and no figure that is exposed moves."""
    old = [closed(-number * 37, ("completed", "canceled", "failed")[number % 3]) for number in range(1, 60)]
    site.visibility.put(*old, running(-5000))
    await site.begin()
    before = exposed(site.mirror, site.now)
    backfill = site.backfill()
    await backfill.run()
    assert site.counted == truth(old)
    assert site.rows("SELECT failure_type, count(*) FROM bad_runs GROUP BY 1") == [("Refused", 20)]
    after = await site.ledger.load("shop")
    assert (after.closed, after.failures) == ({}, {})
    assert (dict(after.started), dict(after.counters), after.pending) == (before.started, before.counters, 0)
    assert exposed(site.mirror, site.now).closed == before.closed
    assert site.shown[-1]
    assert not any(site.shown[:3])
    told = {sample.family: sample.value for sample in await backfill.read(0)}
    assert told[names.BACKFILL_COMPLETE] == 1
    assert told[names.BACKFILL_RUNS] == 59
    assert told[names.BACKFILL_PENDING_RUNS] == 0


async def test_live_runs_are_not_the_past(site: Site) -> None:
    """What closed since counting began is left to the polls, at the very microsecond of the boundary too."""
    first = closed(-1)
    site.visibility.put(first)
    await site.begin()
    begin = first.close_time + 1
    site.visibility.put(replace(closed(0), close_time=begin), closed(3))
    site.clock.forward(10)
    await site.mirror.poll(site.now)
    await site.backfill().run()
    await site.mirror.poll(site.now)
    assert sum(site.counted.values()) == 3
    assert site.rows("SELECT sum(count) FROM closed_totals") == [(2,)]
    assert site.rows("SELECT sum(count) FROM past_last_minute") == [(1,)]


async def test_since(site: Site) -> None:
    """Only what closed in the span asked for is read; a longer one goes on where the shorter ended."""
    old = [closed(-number * HOUR) for number in range(1, 20)]
    site.visibility.put(*old)
    await site.begin()
    await site.backfill(timedelta(hours=5, minutes=30)).run()
    assert site.counted == truth(old[:5])
    await site.backfill(timedelta(hours=12, minutes=30)).run()
    assert site.counted == truth(old[:12])
    asked = len(site.visibility.requests)
    await site.backfill(timedelta(hours=12, minutes=30)).run()
    assert len(site.visibility.requests) == asked
    await site.backfill().run()
    assert site.counted == truth(old)


async def test_shows_late(site: Site) -> None:
    """A run that closed before counting began, and becomes visible after its page was read, is found."""
    old = [closed(-number) for number in range(1, 9)]
    late = closed(-100.5)
    site.visibility.put(*old)
    await site.begin()
    site.on_complete = lambda: site.visibility.put(late)
    await site.backfill().run()
    assert site.counted == truth([*old, late])


async def _true(value: bool) -> bool:  # noqa: FBT001 - a condition to wait for
    return value


async def test_tokens(site: Site) -> None:
    """Pages follow by token; a filter on close time, which costs a scan, is for the way on after a restart."""
    site.visibility.put(*[closed(-1000 - 400 * number) for number in range(20)])
    await site.begin()
    await site.backfill().run()
    # The second look has a filter too: two minutes are too few for a page of their own.
    assert Counter(site.visibility.requests)["closed until"] == 1
    site.visibility.put(*[closed(-15000 - number) for number in range(20)])
    with closing(sqlite3.connect(site.path)) as connection, connection:
        connection.execute("UPDATE past SET position = ?", [BEGAN - 14000 * SECOND])
    asked = len(site.visibility.requests)
    await site.backfill().run()
    assert set(site.visibility.requests[asked + 1 :]) == {"closed until"}
    assert sum(site.counted.values()) == 40


@settings(max_examples=30, deadline=None)
@example(offsets=[(1000, 0)] * 7, cuts=[(6, True), (9, False)], page=2)
@given(
    offsets=st.lists(st.tuples(st.sampled_from([1, 1000]), st.integers(0, 5)), min_size=1, max_size=25),
    cuts=st.lists(st.tuples(st.integers(1, 12), st.booleans()), max_size=8),
    page=st.integers(1, 4),
)
def test_any_cut(offsets: list[tuple[int, int]], cuts: list[tuple[int, bool]], page: int) -> None:
    """However many runs close in the same microsecond, and wherever it is cut, each run is counted once."""
    # The oldest are beyond the reach of the second look.
    old = [closed(-0.5), *(closed(-age - offset / SECOND) for age, offset in offsets)]
    with TemporaryDirectory() as folder:
        asyncio.run(_cut_and_go_on(Site(Path(folder) / "ledger.db", old, page), cuts, page))


async def _cut_and_go_on(site: Site, cuts: list[tuple[int, bool]], page: int) -> None:
    await site.begin()
    site.on_sleep = lambda: site.clock.forward(60)
    transact = site.ledger.transact
    for calls, written in cuts:
        left = calls

        async def cut(work: Callable[..., T], *arguments: object, written: bool = written) -> T:
            nonlocal left
            left -= 1
            if not left and not written:
                raise asyncio.CancelledError
            done = await transact(work, *arguments)
            if not left:
                raise asyncio.CancelledError
            return done

        site.ledger.transact = cut  # type: ignore[assignment,method-assign] # a kill, before or after what it writes is there
        with suppress(asyncio.CancelledError):
            await site.backfill(page_size=page).run()
    site.ledger.transact = transact  # type: ignore[method-assign] # as it was
    await site.backfill(page_size=page).run()
    assert site.counted == truth(list(site.visibility.runs.values()))
    site.ledger.close()


async def test_close_event_gone(site: Site) -> None:
    """A run whose close event is gone, or cannot be read for a quarter of an hour, is counted without, and told."""
    old = [closed(-number, "failed") for number in range(1, 6)]
    site.visibility.put(*old)
    site.histories.gone = {old[1].run_id}
    site.histories.failing = {old[3].run_id}
    await site.begin()
    backfill, began = site.backfill(), site.clock.now
    site.on_sleep = lambda: site.clock.forward(20)
    await backfill.run()
    assert site.clock.now - began > DEADLINE / SECOND
    assert site.counted == truth(old)
    kinds = site.rows("SELECT failure_type, count(*) FROM bad_runs GROUP BY 1 ORDER BY 1")
    assert kinds == [("Refused", 3), ("unknown", 2)]
    told = {sample.family: sample.value for sample in await backfill.read(0)}
    assert told[names.BACKFILL_MISSING_CLOSE_EVENTS] == 2


async def test_trouble(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    """A server that does not answer holds it up, which is told once; then it goes on."""
    caplog.set_level(logging.INFO)
    old = [closed(-number * 60) for number in range(1, 12)]
    site.visibility.put(*old)
    await site.begin()
    site.visibility.errors.extend([None, *[TemporalRequestError("UNAVAILABLE", "away")] * 3])
    backfill, errors = site.backfill(), set[str]()
    site.on_sleep = lambda: errors.add(", ".join(map(str, backfill.errors)))
    await backfill.run()
    assert errors == {"", "UNAVAILABLE: away"}
    assert site.counted == truth(old)
    assert [record.message for record in caplog.records if "held" in record.message or "waits" in record.message] == [
        "shop: the backfill waits, reading fails: UNAVAILABLE: away"
    ]
    assert caplog.records[-1].message == "shop: backfill is complete: 11 runs that had closed before"


async def test_ledger_error(site: Site) -> None:
    """An error of the ledger is raised as what it is, and fails the source until the backfill continues."""
    site.visibility.put(closed(-60))
    await site.begin()
    backfill, transact = site.backfill(), site.ledger.transact
    watch = SourceRunner("shop", backfill, timedelta(seconds=1))

    async def fail(*_: object) -> None:
        raise LedgerError("disk is full")

    site.ledger.transact = fail  # type: ignore[assignment,method-assign] # a ledger that cannot be written
    task = asyncio.create_task(backfill.run())
    await until(lambda: _true(bool(backfill.errors)), deadline=30, what="an error")
    for _ in range(2):
        with pytest.raises(LedgerError, match=r"^ledger: disk is full$"):
            await backfill.read(0)
    await watch.read()
    assert watch.result
    assert (watch.result.error, watch.result.last_success) == ("ledger: disk is full", None)
    site.ledger.transact = transact  # type: ignore[method-assign] # as it was
    await task
    await watch.read()
    assert (watch.result.error, backfill.errors) == (None, ())
    assert {sample.family for sample in watch.result.samples} >= {names.BACKFILL_COMPLETE}


async def test_rests_while_catching_up(site: Site) -> None:
    """While the mirror has a gap to read, and while too many runs wait for their close event, no page is read."""
    site.visibility.put(*[closed(-number) for number in range(1, 5)])
    await site.begin()
    site.visibility.put(*[closed(number) for number in range(1, 40)])
    site.clock.forward(60)
    await site.mirror.poll(site.now)
    assert site.mirror.state.gaps
    task, asked = asyncio.create_task(site.backfill().run()), len(site.visibility.requests)
    began = site.clock.now
    await until(lambda: _true(site.clock.now > began + 60), deadline=30, what="a minute")
    assert len(site.visibility.requests) == asked
    while await site.mirror.catch_up(site.now):
        pass
    await task
    assert sum(site.counted.values()) == 43
    assert BACKLOG == 10_000


class Terminal(StringIO):
    """A terminal."""

    def isatty(self) -> bool:
        """It is one."""
        return True


async def test_bar(site: Site) -> None:
    """A terminal gets a line that tells how far it is and goes away at the end; anything else gets nothing."""
    site.visibility.put(*[closed(-number * HOUR) for number in range(1, 20)])
    await site.begin()
    terminal, file, ticks = Terminal(), StringIO(), iter(range(1000))
    site.bar = Bar(terminal, lambda: next(ticks))
    await site.backfill(timedelta(hours=10, minutes=30)).run()
    site.bar = Bar(file)
    await site.backfill(timedelta(hours=15)).run()
    assert file.getvalue() == ""
    lines = terminal.getvalue().split("\r")
    assert any(line.startswith("backfill shop [") and "6 runs" in line for line in lines)
    assert lines[-2:] == ["\x1b[K", ""]
