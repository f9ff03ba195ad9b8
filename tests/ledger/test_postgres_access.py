"""Ways to reach a ledger in PostgreSQL: hosts, schemas, replicas, poolers, and a server that hangs."""

import asyncio
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from temporal_slo.errors import LedgerError, UsageError
from temporal_slo.ledger import deadline
from temporal_slo.ledger.ledger import Ledger
from temporal_slo.ledger.postgres import CONNECT_TIMEOUT
from temporal_slo.servers.postgres import Postgres
from temporal_slo.servers.process import LOOPBACK, free_port, until
from tests.conftest import Databases
from tests.run_factory import BEGAN

from .pgbouncer import PgBouncer, program
from .test_ledger import RIDE, counting
from .test_postgres import database, succeeds

OPTIONS = "options,extra_float_digits"


async def opens(url: str) -> None:
    """Open a ledger, write to it and read from it."""
    ledger = Ledger(url)
    await ledger.commit("shop", counting(1), BEGAN)
    assert (await ledger.load("shop")).closed[RIDE].count == 1
    ledger.close()


def refusal(url: str) -> str:
    """Return the error of a ledger that is refused."""
    with pytest.raises(UsageError) as caught:
        Ledger(url)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    "hosts",
    [
        "{nobody},{server}/{database}?target_session_attrs=read-write",
        "{nobody},{server}/{database}",
        "/{database}?host={nobody}&host={server}",
        "{server}/{database}",
    ],
)
@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
async def test_hosts(databases: Databases, scheme: str, hosts: str) -> None:
    """A URL may list several hosts, as PostgreSQL itself writes it; one that refuses connections is passed over."""
    url = databases.new()
    start, _, _ = url.partition("@")
    places = hosts.format(
        nobody=f"{LOOPBACK}:{free_port()}", server=f"{LOOPBACK}:{databases.server.port}", database=database(url)
    )
    await opens(f"{start.replace('postgresql', scheme)}@{places}")


async def test_first_host_is_a_replica(databases: Databases) -> None:
    """Of several hosts the one that can be written to is used: none here, which is said in one line."""
    url = databases.new()
    databases.execute(url, f"ALTER DATABASE {database(url)} SET default_transaction_read_only = on")
    host = f"{LOOPBACK}:{databases.server.port}"
    assert "session is read-only" in refusal(url.replace(host, f"{host},{host}"))


def test_read_only(databases: Databases) -> None:
    """A server that is read-only, as a replica is, is refused in one line."""
    url = databases.new()
    databases.execute(url, f"ALTER DATABASE {database(url)} SET default_transaction_read_only = on")
    assert refusal(url).startswith("--ledger: is read-only, as on a replica; give the URL of the primary server")


def test_no_schema(databases: Databases) -> None:
    """A schema that does not exist is named, and not taken for a ledger that is in use."""
    message = refusal(f"{databases.new()}?options=-csearch_path%3Dnot_there")
    assert message == (
        "--ledger: none of the schemas in its search path (not_there) exists; create the schema, or name another one"
    )


@pytest.mark.parametrize(("encoding", "accepted"), [("LATIN1", False), ("EUC_JP", False), ("SQL_ASCII", True)])
async def test_encoding(databases: Databases, encoding: str, *, accepted: bool) -> None:
    """A database whose encoding cannot store every name is refused in one line."""
    url = databases.new(f"template0 ENCODING {encoding} LOCALE 'C'")
    if accepted:
        await opens(url)
    else:
        assert f"has the encoding {encoding}, which cannot store every name" in refusal(url)


Start = Callable[[str, str], PgBouncer]


@pytest.fixture
def start_pooler(databases: Databases, tmp_path: Path, pytestconfig: pytest.Config) -> Iterator[Start]:
    """Start a pooler of that mode, which ignores those parameters."""
    started: list[PgBouncer] = []

    def start(mode: str, ignores: str) -> PgBouncer:
        found = program(pytestconfig.rootpath / ".tools")
        started.append(PgBouncer(found, tmp_path, databases.server, mode, ignores))
        return started[0]

    yield start
    for pooler in started:
        pooler.child.stop()


async def accepts(pooler: PgBouncer) -> None:
    """Wait until a pooler accepts connections."""

    async def connects() -> bool:
        pooler.child.check()
        with socket.socket() as probe:
            return probe.connect_ex((LOOPBACK, pooler.port)) == 0

    await until(connects, deadline=20, what="PgBouncer")


@pytest.mark.parametrize(
    ("mode", "ignores", "reason"),
    [
        ("transaction", "extra_float_digits", "this is a connection pooler: give the URL of the database itself"),
        ("transaction", OPTIONS, "is behind a connection pooler that shares sessions, which cannot hold the ledger's"),
        ("session", OPTIONS, ""),
    ],
)
async def test_pooler(databases: Databases, start_pooler: Start, mode: str, ignores: str, reason: str) -> None:
    """A pooler that shares sessions between clients is refused in one line; one in session mode is used."""
    pooler = start_pooler(mode, ignores)
    await accepts(pooler)
    url = pooler.url(databases.new())
    if reason:
        assert reason in await asyncio.to_thread(refusal, url)
    else:
        await opens(url)


async def test_server_hangs(databases: Databases, restartable: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that hangs is an error after the deadline, for all who wait; then the same ledger continues."""
    monkeypatch.setattr(deadline, "RESPONSE_TIMEOUT", 1.0)
    url = databases.new()
    ledger = Ledger(url)
    await ledger.commit("shop", counting(1), BEGAN)
    with restartable.paused():
        began = time.monotonic()
        waiting = [ledger.commit("shop", counting(2), BEGAN) for _ in range(5)]
        found = await asyncio.gather(*waiting, return_exceptions=True)
        # The first also tries to connect again; the others do not wait once more.
        assert time.monotonic() - began < 1 + CONNECT_TIMEOUT + 3
        assert {str(error) for error in found} == {"ledger: no response from the database within 1 s"}
        assert all(isinstance(error, LedgerError) for error in found)
    await until(lambda: succeeds(ledger, counting(3)), deadline=30, what="a commit")
    assert (await ledger.load("shop")).closed[RIDE].count == 2
    ledger.close()
