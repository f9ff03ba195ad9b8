"""Pages shrink until they can be received, grow back, and pass over a row that cannot be received at all."""

import asyncio
import logging
import math
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import replace
from time import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from temporalio.api.workflowservice.v1 import (
    ListNamespacesRequest,
    ListNamespacesResponse,
    ListSchedulesRequest,
    ListSchedulesResponse,
)
from temporalio.service import RPCError, RPCStatusCode

from temporal_slo.errors import TemporalRequestError, UnreadableResponseError
from temporal_slo.runs.microseconds import SECOND
from temporal_slo.temporal.gateway import Gateway
from temporal_slo.temporal.merged_visibility import MergedVisibility
from temporal_slo.temporal.namespaces import namespace_lister
from temporal_slo.temporal.page_size import LARGEST, PageSize, unreadable_reason
from temporal_slo.temporal.rate_limit import RateLimiter
from temporal_slo.temporal.schedules import TemporalSchedules
from temporal_slo.temporal.task_problems import TemporalTaskProblems
from temporal_slo.temporal.visibility import Page, TemporalVisibility

from .fake_service import FakeService
from .fake_store import INVALID_TEXT, TOO_LARGE, FakeStore, StoredRow

NOW = int(time()) * SECOND
TIMEOUT = TemporalRequestError("DEADLINE_EXCEEDED", "Timeout expired")


@pytest.mark.parametrize(
    ("code", "message", "reason"),
    [
        # As the SDK, grpc-go, grpc-core and grpc-java report it.
        (11, "Error, decoded message length too large: found 154640 bytes, the limit is: 65536 bytes", "too_large"),
        (8, "Error decompressing: size limit, of 65536 bytes, exceeded while decompressing message", "too_large"),
        (8, "grpc: received message larger than max (13335484 vs. 4194304)", "too_large"),
        (8, "grpc: received message after decompression larger than max 4194304", "too_large"),
        (8, "Sent message larger than max (17777780 vs. 4194304)", "too_large"),
        (8, "gRPC message exceeds maximum size 4194304: 5000000", "too_large"),
        (8, "namespace rate limit exceeded", None),
        (13, "grpc: error while marshaling: string field contains invalid UTF-8", "undecodable"),
        (13, "failed to decode Protobuf message: invalid string value", "undecodable"),
        (3, "invalid query: unable to decode it", None),
        (14, "connection refused", None),
    ],
)
def test_reason(code: int, message: str, reason: str | None) -> None:
    """The message says whether a response was too large: its code is also that of a rate limit."""
    assert unreadable_reason(RPCStatusCode(code), message) == reason


def test_grows_back() -> None:
    """After one large page the size soon returns to the largest; where large pages stay, they are rarely requested."""
    too_large = UnreadableResponseError("OUT_OF_RANGE", "too large", "too_large")
    size, requests = PageSize(), 0
    while size.failed(size.limit, too_large):
        pass
    assert size.limit == 1
    while size.limit < LARGEST:
        size.received(size.limit)
        requests += 1
    assert requests < 20

    failures = 0
    for _ in range(1000):
        if size.limit > 300:
            assert size.failed(size.limit, too_large)
            failures += 1
        else:
            size.received(size.limit)
    assert failures < 30


@pytest.mark.parametrize(("error", "limit"), [(TIMEOUT, 500), (TemporalRequestError("RESOURCE_EXHAUSTED", "no"), 1000)])
def test_deadline(error: TemporalRequestError, limit: int) -> None:
    """A response that does not come in time halves the next page, and a rate limit does not; both are reported."""
    size = PageSize()
    assert not size.failed(1000, error)
    assert size.limit == limit


async def everything(read: Callable[[bytes], Awaitable[Page]]) -> list[str]:
    """Return the run ids of all pages."""
    found, token = list[str](), b""
    while True:
        page = await read(token)
        found += [run.run_id for run in page.rows]
        if not (token := page.next_token):
            return found


rows = st.lists(
    st.builds(
        StoredRow,
        time=st.integers(0, 40).map(lambda at: NOW - at * 7_000_001),
        size=st.sampled_from([1, 1, 2, 5, 9]),
        is_open=st.booleans(),
        is_text=st.sampled_from([True, True, True, False]),
    ),
    max_size=30,
    unique_by=lambda row: (row.time, row.is_open),
).map(lambda found: [replace(row, run_id=f"r{number}") for number, row in enumerate(found)])


@settings(max_examples=60, deadline=None)
@given(rows=rows, size=st.integers(1, 12))
def test_every_readable_row_once(rows: list[StoredRow], size: int) -> None:
    """Whatever the sizes of the rows, each one that can be received is listed once; the others are counted once."""

    async def play() -> None:
        store = FakeStore(rows, limit=8)
        gateway = Gateway(store.service().client, "shop")
        visibility = TemporalVisibility(gateway, RateLimiter(math.inf, 1))
        readable = [row for row in sorted(rows, key=lambda row: -row.time) if row.size <= 8 and row.is_text]
        for _ in range(2):
            assert await everything(lambda token: visibility.closed(size, token)) == [
                row.run_id for row in readable if not row.is_open
            ]
            assert await everything(lambda token: visibility.running(size, token, paused=True)) == [
                row.run_id for row in readable if row.is_open
            ]
        expected = Counter("undecodable" if not row.is_text else "too_large" for row in rows if row not in readable)
        assert gateway.unreadable_rows.counts == expected

    asyncio.run(play())


async def test_filtered_and_merged_lists() -> None:
    """A list until a time, and lists merged by status, pass over a row too."""
    store = FakeStore([StoredRow(NOW - at * SECOND, 9 if at == 3 else 1, run_id=f"r{at}") for at in range(7)], limit=4)
    gateway = Gateway(store.service().client, "shop")
    visibility = TemporalVisibility(gateway, None)
    until = NOW - 2 * SECOND
    assert await everything(lambda token: visibility.closed(5, token, until)) == ["r2", "r4", "r5", "r6"]
    assert await everything(lambda token: MergedVisibility(visibility).closed(5, token)) == [
        "r0", "r1", "r2", "r4", "r5", "r6"
    ]  # fmt: skip
    assert gateway.unreadable_rows.counts["too_large"] == 1


async def test_rows_of_one_time(caplog: pytest.LogCaptureFixture) -> None:
    """Rows that close in the same microsecond as one that cannot be received are counted with it, and logged once."""
    store = FakeStore([StoredRow(NOW, 9, run_id="r2"), StoredRow(NOW, run_id="r1"), StoredRow(NOW - 1)], limit=4)
    gateway = Gateway(store.service().client, "shop")
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert [run.run_id for run in (await TemporalVisibility(gateway, None).closed(5)).rows] == ["r"]
    assert gateway.unreadable_rows.counts["too_large"] == 2
    (line,) = caplog.messages
    assert line.startswith("shop: visibility row cannot be received and is set aside, too_large: CloseTime 20")


async def test_known_row_is_cheap() -> None:
    """A row that was met before is passed over in few requests."""
    store = FakeStore([StoredRow(NOW - 999, 9), StoredRow(NOW - 99 * SECOND, run_id="next")], limit=4)
    visibility = TemporalVisibility(Gateway(store.service().client, "shop"), None)
    for _ in range(2):
        store.sizes.clear()
        assert [run.run_id for run in (await visibility.closed(1)).rows] == ["next"]
    assert len(store.sizes) <= 5


@pytest.mark.parametrize("error", [TOO_LARGE, INVALID_TEXT])
async def test_passing_fault(error: RPCError) -> None:
    """A fault that ends while the row is searched fails the request, and no row is passed over."""
    store = FakeStore([StoredRow(NOW - at * SECOND, run_id=f"r{at}") for at in range(3)], limit=4)
    gateway = Gateway(store.service().client, "shop")
    visibility = TemporalVisibility(gateway, None)
    for faults in range(1, 60):
        gateway.page_sizes.clear()
        store.errors = [error] * faults
        try:
            found = [run.run_id for run in (await visibility.closed(3)).rows]
        except TemporalRequestError:
            found = []
        store.errors.clear()
        assert found in ([], ["r0"], ["r0", "r1", "r2"])
    assert not gateway.unreadable_rows.counts.total()


async def test_too_large_is_no_overload() -> None:
    """A page that is too large does not make the rate limiter back off, though its code is that of a rate limit."""
    store, limiter = (
        FakeStore([StoredRow(NOW - at, run_id=f"r{at}") for at in range(9)], limit=4),
        RateLimiter(math.inf, 1),
    )
    gateway = Gateway(store.service().client, "shop")
    page = await TemporalVisibility(gateway, limiter).closed(9)
    assert (len(page.rows), store.sizes, limiter.backoff_remaining) == (4, [9, 4], 0)
    assert gateway.requests == {
        ("ListWorkflowExecutions", "RESOURCE_EXHAUSTED"): 1,
        ("ListWorkflowExecutions", "OK"): 1,
    }


async def test_other_lists() -> None:
    """Pages of schedules, of namespaces and of stuck runs shrink too."""

    def refuse_large(request: ListSchedulesRequest) -> RPCError | ListSchedulesResponse:
        return TOO_LARGE if request.maximum_page_size > 250 else ListSchedulesResponse()

    service = FakeService(list_schedules=refuse_large)
    await TemporalSchedules(Gateway(service.client, "shop"), None, None).page()
    assert [request.maximum_page_size for request in service.requests] == [1000, 500, 250]

    def refuse(request: ListNamespacesRequest) -> RPCError | ListNamespacesResponse:
        return TOO_LARGE if request.page_size > 50 else ListNamespacesResponse()

    service = FakeService(list_namespaces=refuse)
    assert await namespace_lister(service.client)() == []
    assert [request.page_size for request in service.requests] == [100, 50]

    store = FakeStore([StoredRow(NOW - at, is_open=True, run_id=f"r{at}") for at in range(9)], limit=4)
    page = await TemporalTaskProblems(Gateway(store.service().client, "shop"), None).page(8)
    assert (len(page.problems), store.sizes) == (4, [8, 4])
