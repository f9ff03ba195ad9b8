"""Lists of closed runs that are merged from one list per status."""

import asyncio
import math
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from temporalio.api.workflowservice.v1 import GetClusterInfoResponse
from temporalio.service import RPCError, RPCStatusCode

from temporal_slo.errors import TemporalRequestError
from temporal_slo.exporter.mirror.mirror import Mirror
from temporal_slo.ledger.ledger import Ledger
from temporal_slo.ledger.state import State
from temporal_slo.runs.microseconds import SECOND
from temporal_slo.runs.run import STATUS_NAMES, Run
from temporal_slo.servers.process import until
from temporal_slo.temporal.gateway import Gateway
from temporal_slo.temporal.merged_visibility import MergedVisibility
from temporal_slo.temporal.rate_limit import RateLimiter
from temporal_slo.temporal.visibility import Page, TemporalVisibility
from temporal_slo.testing import FakeVisibility
from tests.conftest import Temporal
from tests.run_factory import BEGAN, closed, from_visibility

from .fake_service import FakeService

STATUSES: Final = tuple(STATUS_NAMES.values())


class Postgres(FakeVisibility):
    """Visibility that lists open runs first; a test may act before a request."""

    open_runs_first = True
    before: Callable[[str], None] = staticmethod(lambda _: None)

    async def closed_with(self, status: str, size: int, token: bytes = b"", until: int | None = None) -> Page:
        """Return closed runs of one status."""
        self.before(status)
        return await super().closed_with(status, size, token, until)


async def all_pages(visibility: MergedVisibility, size: int, last: int | None = None) -> list[tuple[Run, ...]]:
    """Return the rows of each page."""
    pages, token = list[tuple[Run, ...]](), b""
    while not pages or token:
        page = await visibility.closed(size, token, last)
        pages.append(page.rows)
        token = page.next_token
    return pages


@settings(deadline=None)
@given(
    runs=st.lists(st.builds(closed, st.integers(0, 30), st.sampled_from(STATUSES)), max_size=40),
    size=st.integers(1, 12),
    limit=st.integers(1, 7),
    newest=st.none() | st.integers(0, 30),
)
def test_same_list(runs: list[Run], size: int, limit: int, newest: int | None) -> None:
    """Merged pages hold each run once, newest close first, and all but the last are full."""
    last = None if newest is None else BEGAN + newest * SECOND
    pages = asyncio.run(all_pages(MergedVisibility(Postgres(runs, limit)), size, last))
    rows = [run for page in pages for run in page]
    assert [run.close_time for run in rows] == sorted((run.close_time for run in rows), reverse=True)
    assert sorted(run.run_id for run in rows) == sorted(r.run_id for r in runs if last is None or r.close_time <= last)
    assert all(len(page) == size for page in pages[:-1])


async def test_few_rows() -> None:
    """A poll requests each status once, few rows of a rare one; a further page requests only what was used up."""
    runs = [closed(-at, "failed" if at % 10 == 0 else "completed") for at in range(1000)]
    visibility = Postgres(runs)
    sizes: list[tuple[str, int]] = []
    original = visibility.closed_with

    async def closed_with(status: str, size: int, token: bytes = b"", until: int | None = None) -> Page:
        sizes.append((status, size))
        return await original(status, size, token, until)

    visibility.closed_with = closed_with  # type: ignore[method-assign] # records the sizes
    merged = MergedVisibility(visibility)
    assert len((await merged.closed(200)).rows) == 200
    sizes.clear()
    page = await merged.closed(200)
    assert len(page.rows) == 200
    assert dict(sizes) == {**dict.fromkeys(STATUS_NAMES, 20), "Completed": 200, "Failed": 30}
    sizes.clear()
    assert len((await merged.closed(1000, page.next_token)).rows) == 800
    assert dict(sizes) == {"Completed": 1000, "Failed": 1000}
    assert len(sizes) == 2


async def test_only_on_postgresql() -> None:
    """A store that does not pass open runs gets one request for all statuses."""
    visibility = FakeVisibility([closed(-1), closed(-2, "failed")])
    assert len((await MergedVisibility(visibility).closed(200)).rows) == 2
    assert visibility.requests == ["closed"]


async def test_close_while_lists_are_read(tmp_path: Path) -> None:
    """A run that closes after its list was read, and before a run of a later list, is counted by the next poll."""
    # The server's clock is behind: otherwise the later run would be from the future, and not move the watermark.
    visibility, time = Postgres([closed(-100)]), 0.0
    ledger = Ledger(f"sqlite:///{tmp_path / 'ledger.db'}")
    mirror = Mirror(
        "shop",
        MergedVisibility(visibility),
        ledger,
        State(),
        BEGAN,
        classify=from_visibility,
        stopwatch=lambda: time,
    )
    await mirror.poll(BEGAN)

    def close_slowly(status: str) -> None:
        nonlocal time
        if status == "Failed":
            time += 60
            visibility.put(closed(-80), closed(-30, "failed"))

    visibility.before = close_slowly
    await mirror.poll(BEGAN + 15 * SECOND)
    visibility.before = lambda _: None
    await mirror.poll(BEGAN + 30 * SECOND)
    assert sorted(key.status for key in mirror.state.closed) == ["completed", "failed"]
    ledger.close()


@pytest.mark.parametrize(("store", "merged"), [("postgres12", True), ("postgres12_pgx", True), ("mysql8", False)])
async def test_store(store: str, *, merged: bool) -> None:
    """The server is asked once for its visibility store; PostgreSQL passes open runs."""
    service = FakeService(get_cluster_info=GetClusterInfoResponse(visibility_store=store))
    limiter = RateLimiter(math.inf, 1)
    visibility = TemporalVisibility(Gateway(service.client, "shop"), limiter)
    assert [await visibility.passes_open_runs() for _ in range(2)] == [merged] * 2
    assert len(service.requests) == limiter.requests == 1


async def test_store_is_secret() -> None:
    """A server that does not report its store counts as one that passes no open runs; a busy one is asked again."""
    answers = [RPCError("no", code, b"") for code in (RPCStatusCode.UNAVAILABLE, RPCStatusCode.PERMISSION_DENIED)]
    service = FakeService(get_cluster_info=lambda _: answers.pop(0))
    visibility = TemporalVisibility(Gateway(service.client, "shop"), None)
    with pytest.raises(TemporalRequestError, match="UNAVAILABLE"):
        await visibility.passes_open_runs()
    assert [await visibility.passes_open_runs() for _ in range(2)] == [False] * 2


async def test_of_a_server(temporal: Temporal) -> None:
    """A real server lists each status by itself, by the name that merged lists use; SQLite passes no open runs."""
    client = await temporal.namespace("merged-lists")
    visibility = TemporalVisibility(Gateway(client, "merged-lists"), None)
    assert not await visibility.passes_open_runs()
    handle = await client.start_workflow("Ends", id="ends", task_queue="merged-lists")
    await handle.terminate()

    async def listed() -> bool:
        return {status for status in STATUS_NAMES if (await visibility.closed_with(status, 10)).rows} == {"Terminated"}

    await until(listed, deadline=20, what="the terminated run")
