"""The ledger in PostgreSQL: what holds for a file holds there, and what only a server can do is survived."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, create_engine, make_url, text

from temporal_slo.errors import LedgerError, UsageError
from temporal_slo.exporter import schema
from temporal_slo.exporter.ledger import Ledger
from temporal_slo.exporter.mirror import Mirror
from temporal_slo.exporter.state import SECOND, State
from temporal_slo.servers.postgres import Postgres
from temporal_slo.servers.process import until
from temporal_slo.testing import FakeVisibility

from .runs import BEGAN, at_once, closed
from .test_ledger import RIDE, counting
from .test_mirror_properties import Life, Step, lives, play, steps
from .test_retention import everything

REMEDY = "give a place that can be read and written"


@contextmanager
def connected(url: str) -> Iterator[Connection]:
    """A connection whose statements are transactions of their own."""
    engine = create_engine(make_url(url).set(drivername="postgresql+psycopg"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        yield connection
    engine.dispose()


def database(server: Postgres, template: str = "template0") -> str:
    """Make a new database and return its URL."""
    name = f"d{uuid.uuid4().hex}"
    with connected(server.url()) as connection:
        connection.execute(text(f"CREATE DATABASE {name} TEMPLATE {template}"))
    return server.url(name)


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Ledger]:
    """A ledger that is closed in the end."""
    ledger = Ledger(url)
    try:
        yield ledger
    finally:
        ledger.close()


async def test_round_trip(postgres: Postgres) -> None:
    """What is committed to every table is known after a restart as it was before it, and the epoch stays."""
    url = database(postgres)
    async with opened(url) as ledger:
        state, change = await ledger.load("shop"), everything()
        for one in (change, counting(1, 2), counting(3)):
            await ledger.commit("shop", one, BEGAN)
            state.apply(one)
        await ledger.mark_exposed("shop", ["series"])
    async with opened(url) as again:
        assert await again.load("shop") == state
        assert state.closed[RIDE].count == 3
        assert await again.exposed("shop") == {"series"}
        assert [row.run.run_id for row in await again.waiting("shop", 9, {})] == [run.run_id for run in change.pending]
        assert await again.unseen("shop", [change.seen[0].run_id, "new"]) == {"new"}
        assert (await again.audited("shop", BEGAN - 60 * SECOND, BEGAN + 60 * SECOND))[0] > 0
        await again.expire("shop", BEGAN, BEGAN)


async def test_copy(postgres: Postgres) -> None:
    """A copy of the database counts from 0 in a new epoch, and still knows which runs it counted."""
    url = database(postgres)
    change = counting(1, 2)
    async with opened(url) as ledger:
        await ledger.commit("shop", change, BEGAN)
    async with opened(database(postgres, str(make_url(url).database))) as copy:
        assert (await copy.load("shop")).closed == {}
        assert await copy.unseen("shop", [run.run_id for run in change.seen]) == set()


async def test_server_is_killed(postgres: Postgres) -> None:
    """While the server is away nothing is counted, and once it is back all is, by the same mirror."""
    visibility = FakeVisibility(closed(at / 10) for at in range(1, 200))
    async with opened(database(postgres)) as ledger:
        mirror = Mirror("shop", visibility, ledger, State(), BEGAN, judge=at_once)
        postgres.child.kill()
        with pytest.raises(LedgerError):
            await mirror.poll(BEGAN + 60 * SECOND)
        assert RIDE not in mirror.state.closed
        postgres.restart()
        await postgres.ready()

        async def polled() -> bool:
            try:
                await mirror.poll(BEGAN + 61 * SECOND)
            except LedgerError:
                return False
            return True

        await until(polled, deadline=30, what="a poll with the server that is back")
        assert mirror.state.closed[RIDE].count == 199
        assert (await ledger.load("shop")).closed == mirror.state.closed


@pytest.mark.parametrize("statement", ["CREATE TABLE theirs (x integer)", "CREATE TABLE ledger (key text, value text)"])
def test_another_programs(postgres: Postgres, statement: str) -> None:
    """A database of another program is refused, and left as it was."""
    url = database(postgres)
    with connected(url) as connection:
        connection.execute(text(statement))
        with pytest.raises(UsageError) as caught:
            Ledger(url)
        expected = "--ledger: is a database of another program; give the URL of an empty database"
        assert str(caught.value) == expected
        assert len(connection.execute(text("SELECT * FROM pg_tables WHERE schemaname = 'public'")).all()) == 1


def test_newer(postgres: Postgres) -> None:
    """A ledger whose schema is newer than ours is refused."""
    url = database(postgres)
    Ledger(url).close()
    with connected(url) as connection:
        connection.execute(text("UPDATE ledger SET value = '99' WHERE key = 'schema'"))
    with pytest.raises(UsageError, match=f"its schema is 99, newer than the {schema.VERSION} of this program"):
        Ledger(url)


def test_wrong_password(postgres: Postgres) -> None:
    """A server that does not let us in is told in one line, without any password."""
    url = make_url(postgres.url()).set(password="hunter2")  # noqa: S106 wrong on purpose
    with pytest.raises(UsageError) as caught:
        Ledger(url.render_as_string(hide_password=False))
    assert "password authentication failed" in str(caught.value)
    assert str(caught.value).endswith(REMEDY)
    assert "hunter2" not in str(caught.value) + repr(caught.value)
    assert "\n" not in str(caught.value)


def test_second_exporter(postgres: Postgres) -> None:
    """A ledger that an exporter uses is refused to another one, until the first is gone."""
    url = database(postgres)
    first = Ledger(url)
    for _ in range(2):
        with pytest.raises(UsageError, match="is in use by another exporter; stop that one, or give another ledger"):
            Ledger(url)
    first.close()
    Ledger(url).close()


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(lives=st.lists(lives, max_size=25), steps=st.lists(steps, max_size=12), page_limit=st.integers(1, 5))
def test_every_run_once(postgres: Postgres, lives: list[Life], steps: list[Step], page_limit: int) -> None:
    """Late rows, failures of any request and kills: every run is counted once in PostgreSQL too."""
    asyncio.run(play(database(postgres), lives, steps, page_limit))
