"""Fixtures of all tests: real servers, one of each per session."""

import os
import shutil
import sqlite3
import uuid
from collections.abc import AsyncIterator, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from temporalio.client import Client
from temporalio.envconfig import ClientConnectConfig

from temporal_slo.errors import UsageError
from temporal_slo.reference.workflows.booking import TEMPORAL_NAMESPACE
from temporal_slo.servers import tools
from temporal_slo.servers.cluster import SERVER_VARIABLE, SQL_TOOL_VARIABLE, ClusterPrograms
from temporal_slo.servers.postgres import Postgres
from temporal_slo.servers.postgres import programs as postgres_programs
from temporal_slo.servers.temporal import TemporalServer, ensure_namespace

SERVER = pytest.StashKey["TemporalServer"]()
LOG_LINES = 60
PAUSING = "frontend.WorkflowPauseEnabled=true"


@dataclass(frozen=True)
class Temporal:
    """The Temporal server of the session.

    Attributes:
        client: Client of the namespace of the reference application.
    """

    server: TemporalServer
    client: Client

    @property
    def address(self) -> str:
        """Its address, as `host:port`."""
        return self.server.address

    def connection(self, namespace: str) -> ClientConnectConfig:
        """Return the connection settings for a namespace."""
        return {"target_host": self.address, "namespace": namespace}

    async def namespace(self, name: str) -> Client:
        """Return a client of the namespace *name*; register it if it does not exist."""
        await ensure_namespace(self.client, name)
        return Client(self.client.service_client, namespace=name)


class Databases:
    """Databases and schemas of a PostgreSQL server, for one test.

    Args:
        server: A running server.
    """

    def __init__(self, server: Postgres) -> None:
        self.server = server
        self._drops: list[str] = []

    def new(self, template: str = "template0") -> str:
        """Create a database as a copy of *template*, and return its URL."""
        name = f"d{uuid.uuid4().hex}"
        self.execute(self.server.url(), f"CREATE DATABASE {name} TEMPLATE {template}")
        self._drops.append(f"DROP DATABASE {name} WITH (FORCE)")
        return self.server.url(name)

    def schema(self) -> str:
        """Create a schema, which is faster than a database, and return the URL of a ledger in it."""
        name = f"s{uuid.uuid4().hex}"
        self.execute(self.server.url(), f"CREATE SCHEMA {name}")
        self._drops.append(f"DROP SCHEMA {name} CASCADE")
        return f"{self.server.url()}?options=-csearch_path%3D{name}"

    @staticmethod
    def execute(url: str, statement: str) -> list[tuple[object, ...]]:
        """Execute a statement in its own transaction and return its rows."""
        with psycopg.connect(url, autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def drop(self) -> None:
        """Drop everything that was created."""
        for statement in self._drops:
            self.execute(self.server.url(), statement)


def query(url: str, statement: str) -> list[tuple[object, ...]]:
    """Execute a statement in a ledger of either database, and return its rows."""
    if url.startswith("postgresql"):
        return Databases.execute(url, statement)
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection, connection:
        return connection.execute(statement).fetchall()


def restore_copy(url: str) -> None:
    """Replace a closed ledger with a copy of itself."""
    if url.startswith("postgresql"):
        # As restoring a dump does.
        query(url, "CREATE TABLE copy (LIKE ledger INCLUDING ALL)")
        query(url, "INSERT INTO copy SELECT * FROM ledger")
        query(url, "DROP TABLE ledger")
        query(url, "ALTER TABLE copy RENAME TO ledger")
        return
    path = Path(url.removeprefix("sqlite:///"))
    shutil.copy(path, path.with_suffix(".copy"))
    path.with_suffix(".copy").rename(path)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options that `make soak` and `python -m tests.reference.record` use."""
    parser.addoption("--full-size", action="store_true", help="run sized tests at full size")
    parser.addoption("--record-histories", action="store_true", help="record the histories of the reference workflows")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add the end of the log of the Temporal server to the report of a failed test."""
    report = yield
    server = item.session.stash.get(SERVER, None)
    if report.failed and server:
        report.sections.append(("Temporal server's log", server.child.tail(LOG_LINES)))
    return report


@pytest.fixture(scope="session", autouse=True)
def no_user_settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Tests ignore the connection settings of the user, both environment variables and the profile."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("TEMPORAL_")]:
            if name not in {SERVER_VARIABLE, SQL_TOOL_VARIABLE}:
                patch.delenv(name)
        empty = tmp_path_factory.mktemp("settings") / "temporal.toml"
        empty.touch()
        patch.setenv("TEMPORAL_CONFIG_FILE", str(empty))
        yield


@pytest.fixture(scope="session")
def full_size(pytestconfig: pytest.Config) -> bool:
    """Whether sized tests run at full size."""
    return bool(pytestconfig.getoption("--full-size"))


@pytest.fixture(scope="session")
def programs(pytestconfig: pytest.Config) -> dict[str, Path]:
    """Paths of Prometheus, Alertmanager and their tools, by name."""
    return tools.ensure(pytestconfig.rootpath / ".tools", lambda _: None)


@pytest.fixture(scope="session")
async def temporal(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> AsyncIterator[Temporal]:
    """The Temporal server of the session, stopped at its end."""
    options = ["--namespace", TEMPORAL_NAMESPACE, "--headless", "--dynamic-config-value", PAUSING]
    server = TemporalServer(tmp_path_factory.mktemp("temporal"), options=options)
    request.session.stash[SERVER] = server
    try:
        client = await server.ready()
        await ensure_namespace(client, TEMPORAL_NAMESPACE)
        yield Temporal(server, Client(client.service_client, namespace=TEMPORAL_NAMESPACE))
    finally:
        server.child.stop()


@pytest.fixture(scope="session")
def cluster_programs() -> ClusterPrograms:
    """The programs of a Temporal cluster; skips the test where the environment does not name them."""
    try:
        return ClusterPrograms.of_environment(os.environ)
    except UsageError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
async def postgres(pytestconfig: pytest.Config) -> AsyncIterator[Postgres]:
    """The PostgreSQL server of the session, stopped at its end."""
    # The operating system keeps what a killed process has written; fsync only protects from a power failure.
    server = Postgres(postgres_programs(pytestconfig.rootpath / ".tools", lambda _: None), fsync=False)
    try:
        await server.ready()
        yield server
    finally:
        server.close()


@pytest.fixture
async def restartable(postgres: Postgres) -> AsyncIterator[Postgres]:
    """The PostgreSQL server of the session, restarted after the test if the test stopped it."""
    yield postgres
    await postgres.ensure_running()


@pytest.fixture
def databases(postgres: Postgres) -> Iterator[Databases]:
    """Databases of the PostgreSQL server of the session, dropped after the test."""
    databases = Databases(postgres)
    yield databases
    databases.drop()


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a new ledger, in SQLite and in PostgreSQL."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'ledger.db'}"
    databases: Databases = request.getfixturevalue("databases")
    return databases.schema()


@pytest.fixture
def temporal_address(temporal: Temporal) -> str:
    """The address of the Temporal server of the session, for tests that are not coroutines."""
    return temporal.address
