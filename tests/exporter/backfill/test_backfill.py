"""The backfill of one namespace, into a ledger that counts already."""

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
from temporal_slo.exporter.backfill import pending_runs
from temporal_slo.exporter.backfill.backfill import PENDING_LIMIT, Backfill, Clocks, ProgressReport
from temporal_slo.exporter.backfill.progress_bar import ProgressBar
from temporal_slo.exporter.classify.classifier import Classifier
from temporal_slo.exporter.classify.pending_runs import DEADLINE
from temporal_slo.exporter.mirror.mirror import Mirror
from temporal_slo.exporter.mirror.slo_rules import ClosedRunRule, SloRules
from temporal_slo.exporter.sources.source import SourceRunner
from temporal_slo.ledger.ledger import Ledger
from temporal_slo.runs.microseconds import MINUTE, SECOND
from temporal_slo.runs.run import Run
from temporal_slo.servers.process import until
from temporal_slo.testing import FakeCloseEvents, FakeStartEvents, FakeVisibility, FixedClock
from tests.exposed import exposed
from tests.run_factory import BEGAN, closed, running

T = TypeVar("T")
HOUR = 3600.0
RESCAN = "closed until"
"""Request of a rescan that fits on one page."""

FAILED = HistoryEvent(
    workflow_execution_failed_event_attributes=WorkflowExecutionFailedEventAttributes(
        failure=Failure(application_failure_info=ApplicationFailureInfo(type="Refused"))
    )
)


async def decode(*_: object) -> object:
    """Fail: no run here has a result."""
    raise AssertionError


class Site:
    """A ledger that counts from BEGAN, and its backfill.

    Attributes:
        clock: BEGAN at first.
    """

    def __init__(self, path: Path, runs: Sequence[Run] = (), page_limit: int = 3) -> None:
        self.path = path
        self.ledger = Ledger(f"sqlite:///{path}")
        self.visibility = FakeVisibility(runs, page_limit)
        self.close_events = FakeCloseEvents(FAILED)
        self.clock = FixedClock(BEGAN / SECOND)
        self.reported_complete: list[bool] = []
        self.on_complete: Callable[[], object] = list
        self.on_sleep: Callable[[], object] = list
        self.progress_bar: Callable[[ProgressReport], object] = bool

    async def begin(self) -> "Site":
        """Load the ledger and poll once."""
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
        """The time of the clock, in microseconds."""
        return round(self.clock.now * SECOND)

    def backfill(
        self, since: timedelta | None = None, page_size: int = 3, pending_limit: int = PENDING_LIMIT
    ) -> Backfill:
        """Return a backfill whose sleep moves the clock."""

        async def sleep(seconds: float) -> None:
            self.clock.forward(seconds)
            self.on_sleep()
            await asyncio.sleep(0)

        def on_progress(report: ProgressReport) -> None:
            self.reported_complete.append(report.complete)
            self.progress_bar(report)
            if report.complete:
                self.on_complete()

        return Backfill(
            "shop",
            self.mirror,
            self.ledger,
            self.visibility,
            self.close_events,
            starts=FakeStartEvents(),
            classifier=Classifier(decode),
            since=since,
            page_size=page_size,
            pending_limit=pending_limit,
            on_progress=on_progress,
            clocks=Clocks(self.clock, sleep),
        )

    def rows(self, query: str) -> list[tuple[object, ...]]:
        """Return the rows that *query* selects from the ledger."""
        with closing(sqlite3.connect(self.path)) as connection:
            return connection.execute(query).fetchall()

    @property
    def counted(self) -> Counter[tuple[int, str]]:
        """Runs in the ledger by minute and status."""
        rows = self.rows("SELECT minute, status, sum(count) FROM closed_minutes GROUP BY minute, status")
        return Counter({(int(str(minute)), str(status)): int(str(count)) for minute, status, count in rows})


def truth(runs: Sequence[Run]) -> Counter[tuple[int, str]]:
    """Return *runs* counted by minute and status."""
    return Counter((run.close_time // MINUTE, str(run.status)) for run in runs)


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    """A new ledger, and a server without runs."""
    made = Site(tmp_path / "ledger.db")
    yield made
    made.ledger.close()


async def test_counts_by_minute(site: Site) -> None:
    """Runs that closed before counting started are counted by minute, and no exposed value changes."""
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
    assert site.reported_complete[-1]
    assert not any(site.reported_complete[:3])
    values = {sample.family: sample.value for sample in await backfill.read(0)}
    assert values[names.BACKFILL_COMPLETE] == 1
    assert values[names.BACKFILL_RUNS] == 59
    assert values[names.BACKFILL_PENDING_RUNS] == 0


async def test_leaves_live_runs_to_the_polls(site: Site) -> None:
    """Runs that closed since counting started are counted by polls alone, also one at exactly that microsecond."""
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
    """Only runs that closed within `since` are read; a longer `since` continues where the shorter one ended."""
    old = [closed(-number * HOUR) for number in range(1, 20)]
    site.visibility.put(*old)
    await site.begin()
    await site.backfill(timedelta(hours=5, minutes=30)).run()
    assert site.counted == truth(old[:5])
    await site.backfill(timedelta(hours=12, minutes=30)).run()
    assert site.counted == truth(old[:12])
    before = len(site.visibility.requests)
    await site.backfill(timedelta(hours=12, minutes=30)).run()
    assert len(site.visibility.requests) == before
    await site.backfill().run()
    assert site.counted == truth(old)


async def test_run_visible_late(site: Site) -> None:
    """A run that becomes visible after its page was read is found by the rescan."""
    old = [closed(-number) for number in range(1, 9)]
    late = closed(-100.5)
    site.visibility.put(*old)
    await site.begin()
    site.on_complete = lambda: site.visibility.put(late)
    await site.backfill().run()
    assert site.counted == truth([*old, late])


async def _true(value: bool) -> bool:  # noqa: FBT001 - a condition to wait for
    return value


async def test_page_tokens(site: Site) -> None:
    """Pages are requested by token; a filter on close time, which costs a scan, is used after a restart only."""
    site.visibility.put(*[closed(-1000 - 400 * number) for number in range(20)])
    await site.begin()
    await site.backfill().run()
    # The rescan, whose runs fit on one page.
    assert Counter(site.visibility.requests)["closed until"] == 1
    site.visibility.put(*[closed(-15000 - number) for number in range(20)])
    with closing(sqlite3.connect(site.path)) as connection, connection:
        connection.execute("UPDATE past SET position = ?", [BEGAN - 14000 * SECOND])
    before = len(site.visibility.requests)
    await site.backfill().run()
    assert set(site.visibility.requests[before + 1 :]) == {"closed until"}
    assert sum(site.counted.values()) == 40


@pytest.mark.parametrize(
    ("code", "requests"),
    [
        ("RESOURCE_EXHAUSTED", ["closed"] * 4),
        ("UNAVAILABLE", ["closed"] * 4),
        ("DEADLINE_EXCEEDED", ["closed"] * 4),
        ("INVALID_ARGUMENT", ["closed"] * 2 + ["closed until"] * 3),
    ],
)
async def test_page_token_after_an_error(site: Site, code: str, requests: list[str]) -> None:
    """After an overload the page token is used again; after another error a filter on close time replaces it."""
    # Counting starts at the newest run, so the rescan reads only that one.
    old = [closed(-1), *(closed(-1000 - number) for number in range(8))]
    site.visibility.put(*old)
    await site.begin()
    before = len(site.visibility.requests)
    # The first page is read, and the request of the second fails.
    site.visibility.errors.extend([None, TemporalRequestError(code, "no answer")])
    await site.backfill().run()
    assert site.visibility.requests[before:] == [*requests, RESCAN]
    assert site.counted == truth(old)


@settings(max_examples=30, deadline=None)
@example(offsets=[(1000, 0)] * 7, kills=[(6, True), (9, False)], page=2)
@given(
    offsets=st.lists(st.tuples(st.sampled_from([1, 1000]), st.integers(0, 5)), min_size=1, max_size=25),
    kills=st.lists(st.tuples(st.integers(1, 12), st.booleans()), max_size=8),
    page=st.integers(1, 4),
)
def test_killed_anywhere(offsets: list[tuple[int, int]], kills: list[tuple[int, bool]], page: int) -> None:
    """Each run is counted once, however many runs close in the same microsecond and wherever the backfill is killed."""
    # The oldest are not read by the rescan.
    old = [closed(-0.5), *(closed(-age - offset / SECOND) for age, offset in offsets)]
    with TemporaryDirectory() as folder:
        asyncio.run(_kill_and_continue(Site(Path(folder) / "ledger.db", old, page), kills, page))


async def _kill_and_continue(site: Site, kills: list[tuple[int, bool]], page: int) -> None:
    await site.begin()
    site.on_sleep = lambda: site.clock.forward(60)
    transact = site.ledger.transact
    for calls, written in kills:
        left = calls

        async def transact_or_die(work: Callable[..., T], *arguments: object, written: bool = written) -> T:
            nonlocal left
            left -= 1
            if not left and not written:
                raise asyncio.CancelledError
            result = await transact(work, *arguments)
            if not left:
                raise asyncio.CancelledError
            return result

        site.ledger.transact = transact_or_die  # type: ignore[assignment,method-assign] # a kill before or after the commit
        with suppress(asyncio.CancelledError):
            await site.backfill(page_size=page).run()
    site.ledger.transact = transact  # type: ignore[method-assign] # as it was
    await site.backfill(page_size=page).run()
    assert site.counted == truth(list(site.visibility.runs.values()))
    site.ledger.close()


async def test_close_event_missing(site: Site) -> None:
    """A run without close event, or whose event cannot be read for 15 minutes, is counted without it and reported."""
    old = [closed(-number, "failed") for number in range(1, 6)]
    site.visibility.put(*old)
    site.close_events.events = {old[1].run_id: None, old[3].run_id: TemporalRequestError("INTERNAL", "no shard")}
    await site.begin()
    backfill, start = site.backfill(), site.clock.now
    site.on_sleep = lambda: site.clock.forward(20)
    await backfill.run()
    assert site.clock.now - start > DEADLINE / SECOND
    assert {workflow_id for workflow_id, _ in site.close_events.requests} == {"w"}
    assert site.counted == truth(old)
    failure_types = site.rows("SELECT failure_type, count(*) FROM bad_runs GROUP BY 1 ORDER BY 1")
    assert failure_types == [("Refused", 3), ("unknown", 2)]
    values = {sample.family: sample.value for sample in await backfill.read(0)}
    assert values[names.BACKFILL_MISSING_CLOSE_EVENTS] == 2


async def test_request_error(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    """A failed request is retried until it succeeds, and is logged once."""
    caplog.set_level(logging.INFO)
    old = [closed(-number * 60) for number in range(1, 12)]
    site.visibility.put(*old)
    await site.begin()
    site.visibility.errors.extend([None, *[TemporalRequestError("UNAVAILABLE", "no answer")] * 3])
    backfill, errors = site.backfill(), set[str]()
    site.on_sleep = lambda: errors.add(", ".join(map(str, backfill.errors)))
    await backfill.run()
    assert errors == {"", "UNAVAILABLE: no answer"}
    assert site.counted == truth(old)
    messages = [record.message for record in caplog.records]
    assert [message for message in messages if "closed runs" in message] == [
        "shop: backfill: reading closed runs failed, retrying: UNAVAILABLE: no answer",
        "shop: backfill: reading closed runs succeeded again",
    ]
    assert messages[-1] == "shop: backfill is complete, 11 runs read"


async def test_ledger_error(site: Site) -> None:
    """A ledger error is raised as LedgerError, and fails the source until the backfill succeeds again."""
    site.visibility.put(closed(-60))
    await site.begin()
    backfill, transact = site.backfill(), site.ledger.transact
    runner = SourceRunner("shop", backfill, timedelta(seconds=1))

    async def fail(*_: object) -> None:
        raise LedgerError("disk is full")

    site.ledger.transact = fail  # type: ignore[assignment,method-assign] # a ledger that cannot be written
    task = asyncio.create_task(backfill.run())
    await until(lambda: _true(bool(backfill.errors)), deadline=30, what="an error")
    for _ in range(2):
        with pytest.raises(LedgerError, match=r"^ledger: disk is full$"):
            await backfill.read(0)
    await runner.read()
    assert runner.result
    assert (runner.result.error, runner.result.last_success) == ("ledger: disk is full", None)
    site.ledger.transact = transact  # type: ignore[method-assign] # as it was
    await task
    await runner.read()
    assert (runner.result.error, backfill.errors) == (None, ())
    assert {sample.family for sample in runner.result.samples} >= {names.BACKFILL_COMPLETE}


async def _clock_after(site: Site, seconds: float) -> None:
    end = site.clock.now + seconds
    await until(lambda: _true(site.clock.now > end), deadline=30, what=f"{seconds} s of the clock")


async def test_waits_while_the_mirror_catches_up(site: Site) -> None:
    """No page is read while the mirror has a gap."""
    site.visibility.put(*[closed(-number) for number in range(1, 5)])
    await site.begin()
    site.visibility.put(*[closed(number) for number in range(1, 40)])
    site.clock.forward(60)
    await site.mirror.poll(site.now)
    assert site.mirror.state.gaps
    task, before = asyncio.create_task(site.backfill().run()), len(site.visibility.requests)
    await _clock_after(site, 60)
    assert len(site.visibility.requests) == before
    while await site.mirror.catch_up(site.now):
        pass
    await task
    assert sum(site.counted.values()) == 43


async def test_waits_for_pending_runs(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """No page is read while the number of pending runs is at the limit or above it."""
    # The clock of the test is far ahead before the test looks at it: no run must be counted for being late.
    monkeypatch.setattr(pending_runs, "DEADLINE", 1 << 62)
    old = [closed(-number, "failed") for number in range(1, 16)]
    site.visibility.put(*old)
    site.close_events.events = {run.run_id: TemporalRequestError("INTERNAL", "no shard") for run in old}
    await site.begin()
    task, before = asyncio.create_task(site.backfill(pending_limit=6).run()), len(site.visibility.requests)
    await _clock_after(site, 60)
    # Two pages of three runs.
    assert len(site.visibility.requests) == before + 2
    site.close_events.events.clear()
    await task
    assert site.counted == truth(old)
    assert PENDING_LIMIT == 10_000


class Terminal(StringIO):
    """A terminal."""

    def isatty(self) -> bool:
        """Return True."""
        return True


async def test_progress_bar(site: Site) -> None:
    """A terminal gets a line with the progress, which is erased at the end; other streams get nothing."""
    site.visibility.put(*[closed(-number * HOUR) for number in range(1, 20)])
    await site.begin()
    terminal, file, ticks = Terminal(), StringIO(), iter(range(1000))
    site.progress_bar = ProgressBar(terminal, lambda: next(ticks))
    await site.backfill(timedelta(hours=10, minutes=30)).run()
    site.progress_bar = ProgressBar(file)
    await site.backfill(timedelta(hours=15)).run()
    assert file.getvalue() == ""
    lines = terminal.getvalue().split("\r")
    assert any(line.startswith("backfill shop [") and "6 runs" in line for line in lines)
    assert lines[-2:] == ["\x1b[K", ""]
