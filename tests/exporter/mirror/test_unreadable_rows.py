"""A mirror of a server with odd rows: each run that can be received is counted once, whatever its row contains."""

import asyncio
import math
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from random import Random

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from temporal_slo import names
from temporal_slo.exporter.mirror.mirror import Mirror
from temporal_slo.ledger.ledger import Ledger
from temporal_slo.ledger.state import State
from temporal_slo.names.bounded import printable
from temporal_slo.names.values import OTHER
from temporal_slo.runs.microseconds import SECOND
from temporal_slo.runs.storable import storable, storable_name
from temporal_slo.temporal.gateway import Gateway
from temporal_slo.temporal.rate_limit import RateLimiter
from temporal_slo.temporal.visibility import TemporalVisibility
from tests.conftest import Databases
from tests.exposed import exposed
from tests.run_factory import BEGAN, from_visibility
from tests.temporal.fake_store import FakeStore, StoredRow

LIMIT = 8
POLLS = 2


def long_text(seed: int) -> str:
    """Return a text that no index can compress."""
    draw = Random(seed)  # noqa: S311 no secret
    return "".join(chr(draw.randrange(33, 0x3000)) for _ in range(1500))


odd_text = st.one_of(
    st.text(min_size=1, max_size=5),
    st.sampled_from(["a\0b", "\u2400", "\\", "'; --", '"\n"', "\U0010ffff", "\x7f\x80"]),
    st.integers(0, 99).map(long_text),
)
stored_rows = st.lists(
    st.builds(
        StoredRow,
        time=st.integers(1, 40 * SECOND).map(lambda after: BEGAN + after),
        size=st.sampled_from([1, 1, 1, 3, LIMIT, LIMIT + 1]),
        is_open=st.sampled_from([False, False, True]),
        is_text=st.sampled_from([True, True, True, True, False]),
        run_id=odd_text,
        workflow_id=odd_text,
        workflow_type=odd_text,
        task_queue=odd_text,
    ),
    max_size=12,
    unique_by=lambda row: (row.time, row.is_open),
)


def label(name: str) -> str:
    """Return the label value of a workflow type or a task queue."""
    return printable(storable_name(name)) or OTHER


async def play(url: str, rows: Sequence[StoredRow]) -> None:
    """Poll while rows become visible, and compare what is counted with the rows."""
    rows = [replace(row, run_id=f"{number}-{row.run_id}") for number, row in enumerate(rows)]
    store, ledger = FakeStore([], LIMIT), Ledger(url)
    gateway = Gateway(store.service().client, "shop")
    try:
        state = State()
        for number in range(POLLS + 1):
            now = BEGAN + number * 40 * SECOND
            # A new process each time.
            visibility = TemporalVisibility(gateway, RateLimiter(math.inf, 1))
            mirror = Mirror("shop", visibility, ledger, state, now, classify=from_visibility)
            store.rows = rows[: number * -(-len(rows) // POLLS)]
            await mirror.poll(now)
            while await mirror.catch_up(now):
                pass
            state = await ledger.load("shop")
            assert (state.closed, set(state.open)) == (mirror.state.closed, set(mirror.state.open))
        found = exposed(mirror, now)
    finally:
        ledger.close()
    readable = [row for row in rows if row.is_text and row.size <= LIMIT]
    closed = Counter((label(row.workflow_type), label(row.task_queue)) for row in readable if not row.is_open)
    assert Counter({(key.workflow_type, key.task_queue): count for key, count in found.closed.items()}) == closed
    assert {storable_name(row.run_id) for row in readable if row.is_open} == set(state.open)
    assert found.one(names.EXPORTER_GAP) == 0
    assert gateway.unreadable_rows.counts.total() == len(rows) - len(readable)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(rows=stored_rows)
def test_every_readable_run_once(rows: list[StoredRow]) -> None:
    """Rows of odd text, and rows that cannot be received, hold up no others, over restarts."""
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(play(f"sqlite:///{folder}/ledger.db", rows))


@settings(
    max_examples=4,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture],
)
@given(rows=stored_rows)
def test_every_readable_run_once_in_postgresql(databases: Databases, rows: list[StoredRow]) -> None:
    """The same holds with a ledger in PostgreSQL, which takes no NUL character and no long key."""
    asyncio.run(play(databases.schema(), rows))


def test_storable() -> None:
    """Text that cannot be stored is replaced, always alike; long names differ in the end if they differ anywhere."""
    assert storable("a\0b\ud800c") == "a\u2400b\ufffdc"
    assert storable_name("ä" * 500) == "ä" * 500
    one, other = (storable_name("ä" * 600 + ending) for ending in "ab")
    assert one != other
    assert [len(name.encode()) <= 1000 for name in (one, other)] == [True, True]
    assert storable_name(one) == one
