"""A ledger in PostgreSQL: foreign databases, restores, server restarts and lost connections."""

import asyncio
from collections.abc import AsyncIterator
from typing import Final

import pytest
from sqlalchemy import make_url

from temporal_slo.errors import LedgerError, UsageError
from temporal_slo.exporter.mirror.mirror import Mirror
from temporal_slo.ledger import lock, reads, schema
from temporal_slo.ledger.change import Change
from temporal_slo.ledger.ledger import Ledger
from temporal_slo.ledger.state import State
from temporal_slo.runs.microseconds import SECOND
from temporal_slo.servers.postgres import Postgres
from temporal_slo.servers.process import free_port, until
from temporal_slo.testing import FakeVisibility
from tests.conftest import Databases
from tests.ledger.lossy import LossyProxy
from tests.ledger.test_ledger import RIDE, counting
from tests.run_factory import BEGAN, closed, from_visibility, running

TERMINATE_LOCK_HOLDERS: Final = """
    SELECT pg_terminate_backend(pid, 20000) FROM pg_locks JOIN pg_database d ON d.oid = pg_locks.database
    WHERE locktype = 'advisory' AND datname = current_database()
"""
FOREIGN_DATABASE: Final = "--ledger: is a database of another program; give the URL of an empty database"


async def count_of(url: str) -> int:
    """The number of runs that an exporter would start with."""
    ledger = Ledger(url)
    state = await ledger.load("shop")
    ledger.close()
    return state.closed[RIDE].count if state.closed else 0


async def counted(url: str) -> None:
    """Create a ledger that has counted two runs."""
    ledger = Ledger(url)
    await ledger.commit("shop", counting(1, 2), BEGAN)
    ledger.close()


def database(url: str) -> str:
    """The name of the database of a URL."""
    return str(make_url(url).database)


@pytest.fixture
def short_lock_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    """An exporter waits only briefly for a ledger that is in use."""
    monkeypatch.setattr(lock, "ACQUIRE_TIMEOUT", 0.1)


@pytest.mark.parametrize("statement", ["CREATE TABLE theirs (x integer)", "CREATE TABLE ledger (key text, value text)"])
def test_foreign_database(databases: Databases, statement: str) -> None:
    """A database of another program is refused and left unchanged."""
    url = databases.schema()
    databases.execute(url, statement)
    with pytest.raises(UsageError) as caught:
        Ledger(url)
    assert str(caught.value) == FOREIGN_DATABASE
    assert len(databases.execute(url, "SELECT * FROM pg_tables WHERE schemaname = current_schema()")) == 1


def test_newer(databases: Databases) -> None:
    """A ledger whose schema is newer than this program's is refused and left unchanged."""
    url = databases.schema()
    Ledger(url).close()
    databases.execute(url, "UPDATE ledger SET value = '99' WHERE key = 'schema'")
    before = databases.execute(url, "SELECT * FROM ledger ORDER BY key")
    with pytest.raises(UsageError, match=f"has schema 99, newer than schema {schema.VERSION} of this program"):
        Ledger(url)
    assert databases.execute(url, "SELECT * FROM ledger ORDER BY key") == before


def test_password_is_redacted(postgres: Postgres) -> None:
    """Every error of a URL is one line without the password."""
    good, secret = postgres.url(), str(make_url(postgres.url()).password)
    wrong = {
        good.replace("@", "x@"): "password authentication failed",
        f"{good}_not": "does not exist",
        good.replace(str(postgres.port), str(free_port())): "refused",
        good.replace(str(postgres.port), secret): "is not a database URL",
        good.replace(secret, f"a@{secret}"): "is not a database URL",
        f"{good}?sslmode={secret}&password={secret}": "sslmode",
    }
    for url, reason in wrong.items():
        with pytest.raises(UsageError) as caught:
            Ledger(url)
        assert reason in str(caught.value)
        assert secret not in str(caught.value) + repr(caught.value)
        assert "\n" not in str(caught.value)


async def test_copy(databases: Databases) -> None:
    """A copy of the database starts a new epoch with totals at 0, and keeps the ids of the runs that it has counted."""
    url = databases.new()
    await counted(url)
    copy = databases.new(database(url))
    assert await count_of(copy) == 0
    assert await count_of(url) == 2
    ledger = Ledger(copy)
    assert (await ledger.transact(reads.closed_counts, "shop", BEGAN - 60 * SECOND, BEGAN + 60 * SECOND))[1] == 2
    ledger.close()


async def test_ordinary_role(databases: Databases) -> None:
    """A role without further privileges keeps its epoch, whatever part of the identity it may not read."""
    url = databases.new()
    role = f"r{database(url)}"
    databases.execute(url, f"CREATE ROLE {role} LOGIN PASSWORD 'plain'")
    databases.execute(url, f"ALTER DATABASE {database(url)} OWNER TO {role}")
    databases.execute(url, "REVOKE EXECUTE ON FUNCTION pg_control_system(), pg_walfile_name(pg_lsn) FROM PUBLIC")
    plain = make_url(url).set(username=role, password="plain").render_as_string(hide_password=False)  # noqa: S106
    await counted(plain)
    assert await count_of(plain) == 2


async def test_restored_while_in_use(databases: Databases, restartable: Postgres) -> None:
    """A restart or crash of the server keeps the epoch; a restore stops the exporter and starts a new epoch."""
    url = databases.new()
    ledger = Ledger(url)
    for end in (restartable.stop, restartable.stop_immediately):
        end()
        with pytest.raises(LedgerError):
            await ledger.commit("shop", counting(1), BEGAN)
        restartable.restart()
        await restartable.ready()
        await ledger.commit("shop", counting(2), BEGAN)
    assert (await ledger.load("shop")).closed[RIDE].count == 2
    databases.execute(url, "ALTER SYSTEM SET restore_command = 'false'")
    restartable.stop()
    restartable.request_recovery()
    restartable.restart()
    await restartable.ready()
    with pytest.raises(UsageError, match=r"^--ledger: was restored or promoted while it was in use; restart this"):
        await ledger.commit("shop", counting(3), BEGAN)
    ledger.close()
    assert await count_of(url) == 0


@pytest.mark.parametrize("immediate", [False, True], ids=["killed", "stopped at once"])
async def test_server_crashes_during_commits(databases: Databases, restartable: Postgres, *, immediate: bool) -> None:
    """The server stops repeatedly while runs are counted: polls fail, then succeed, and every run is counted once."""
    ledger, visibility = Ledger(databases.new()), FakeVisibility()
    mirror = Mirror("shop", visibility, ledger, await ledger.load("shop"), BEGAN, classify=from_visibility)
    polls, failures, done = 0, 0, False

    async def work() -> None:
        nonlocal polls, failures
        while not done:
            visibility.put(closed(polls + 10), running(polls))
            try:
                await mirror.poll(BEGAN + polls * SECOND)
            except LedgerError:
                failures += 1
            else:
                polls += 1

    worker = asyncio.create_task(work())

    async def reached(polled: int, failed: int) -> None:
        async def is_reached() -> bool:
            if worker.done():
                worker.result()
            return polls >= polled and failures >= failed

        await until(is_reached, deadline=60, what=f"{polled} polls, {failed} failures")

    for _ in range(2):
        await reached(polls + 5, failures)
        before = failures
        restartable.stop_immediately() if immediate else restartable.child.kill()
        await reached(polls, before + 1)
        restartable.restart()
        await restartable.ready()
    await reached(polls + 5, failures)
    done = True
    await worker
    await mirror.poll(BEGAN + polls * SECOND)
    truth = [sum(bool(run.close_time) == ended for run in visibility.runs.values()) for ended in (True, False)]
    for state in (mirror.state, await ledger.load("shop")):
        assert [state.closed[RIDE].count, len(state.open)] == truth
        assert state.started.total() == sum(truth)
    ledger.close()


@pytest.fixture
async def lossy(databases: Databases) -> AsyncIterator[tuple[LossyProxy, str]]:
    """A lossy proxy to the server, and the URL of an empty ledger through it."""
    proxy = LossyProxy(databases.server.port)
    port = await proxy.listen()
    yield proxy, databases.schema().replace(f":{databases.server.port}/", f":{port}/")
    proxy.close()


async def test_lost_confirmation(lossy: tuple[LossyProxy, str]) -> None:
    """A commit whose confirmation was lost is recognized, and its runs are counted once."""
    proxy, url = lossy
    ledger, visibility = await asyncio.to_thread(Ledger, url), FakeVisibility()
    mirror = Mirror("shop", visibility, ledger, State(), BEGAN, classify=from_visibility)

    async def polled() -> bool:
        try:
            await mirror.poll(BEGAN + 20 * SECOND)
        except LedgerError:
            return False
        return True

    # Transactions of a poll that finds an open and a closed run: for each, a lookup of new ids and a write.
    for number, nth in enumerate((1, 1, 2, 3, 4, 2, 4), start=1):
        visibility.put(closed(10 + number), running(number))
        proxy.drop_confirmation = nth
        assert not await polled()
        assert (proxy.drop_confirmation, proxy.dropped) == (0, number)
        await until(polled, deadline=20, what="a poll")
        assert (mirror.state.started.total(), len(mirror.state.open)) == (2 * number, number)
        known = await ledger.load("shop")
        assert known == mirror.state
        assert known.closed[RIDE].count == number
    ledger.close()


async def test_lost_confirmation_of_first_commit(lossy: tuple[LossyProxy, str]) -> None:
    """The start of counting is kept though its confirmation was lost: runs that closed meanwhile are counted."""
    proxy, url = lossy
    ledger, visibility = await asyncio.to_thread(Ledger, url), FakeVisibility([closed(-20)])
    mirror = Mirror("shop", visibility, ledger, State(), BEGAN, classify=from_visibility)
    proxy.drop_confirmation = 1
    with pytest.raises(LedgerError):
        await mirror.poll(BEGAN)
    visibility.put(closed(-10))
    await mirror.poll(BEGAN)
    known = await ledger.load("shop")
    assert known.positions == mirror.state.positions
    assert known.closed[RIDE].count == mirror.state.closed[RIDE].count == 1
    ledger.close()


async def test_lost_confirmation_of_another_namespace(lossy: tuple[LossyProxy, str]) -> None:
    """A commit without confirmation is applied before the next transaction returns, and never if it was not written."""
    proxy, url = lossy
    ledger = await asyncio.to_thread(Ledger, url)
    seen: list[str] = []

    async def commit(namespace: str, at: float) -> None:
        await ledger.commit(namespace, counting(at), BEGAN, written=lambda _: seen.append(namespace))

    await commit("shop", 1)
    proxy.drop_confirmation = 1
    with pytest.raises(LedgerError):
        await commit("shop", 2)
    assert seen == ["shop"]
    await commit("other", 1)
    assert seen == ["shop", "shop", "other"]
    proxy.drop_commit = 1
    with pytest.raises(LedgerError):
        await commit("shop", 3)
    await ledger.recover("shop")
    assert seen == ["shop", "shop", "other"]
    assert (await ledger.load("shop")).closed[RIDE].count == 2
    ledger.close()


@pytest.mark.usefixtures("short_lock_timeout")
async def test_taken_over(databases: Databases) -> None:
    """An exporter that lost its connection writes nothing while another one uses the ledger, then continues."""
    url = databases.new()
    first = Ledger(url)
    await first.commit("shop", counting(1), BEGAN)
    databases.execute(url, TERMINATE_LOCK_HOLDERS)
    second = Ledger(url)
    for _ in range(2):
        with pytest.raises(LedgerError, match=r"^ledger: is in use by another exporter$"):
            await first.commit("shop", counting(2), BEGAN)
    second.close()
    await until(lambda: succeeds(first, counting(2)), deadline=20, what="a commit")
    assert (await first.load("shop")).closed[RIDE].count == 2
    first.close()


@pytest.mark.usefixtures("short_lock_timeout")
async def test_counted_by_another(databases: Databases) -> None:
    """After another exporter has written to the ledger, nothing is written before the state is loaded again."""
    url = databases.new()
    first = Ledger(url)
    await first.commit("shop", counting(1), BEGAN)
    databases.execute(url, TERMINATE_LOCK_HOLDERS)
    second = Ledger(url)
    await second.commit("shop", counting(2), BEGAN)
    second.close()
    with pytest.raises(UsageError, match=r"^--ledger: another exporter has written to it; "):
        await until(lambda: succeeds(first, counting(3)), deadline=20, what="a commit")
    with pytest.raises(UsageError):
        await first.recover("shop")
    assert (await first.load("shop")).closed[RIDE].count == 2
    await first.recover("shop")
    with pytest.raises(UsageError):
        await first.commit("other", counting(4), BEGAN)
    await first.commit("shop", counting(3), BEGAN)
    first.close()
    assert await count_of(url) == 3


async def succeeds(ledger: Ledger, change: Change) -> bool:
    """Commit and return whether the commit succeeded."""
    try:
        await ledger.commit("shop", change, BEGAN)
    except LedgerError:
        return False
    return True
