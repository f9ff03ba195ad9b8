"""Fixtures for every test: the real servers, one of each per session."""

import os
from collections.abc import AsyncIterator, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from temporalio.client import Client
from temporalio.envconfig import ClientConnectConfig

from temporal_slo.reference.booking import TEMPORAL_NAMESPACE
from temporal_slo.servers import tools
from temporal_slo.servers.postgres import Postgres
from temporal_slo.servers.postgres import programs as postgres_programs
from temporal_slo.servers.temporal import TemporalServer, ensure_namespace

SERVER = pytest.StashKey["TemporalServer"]()
LOG_LINES = 60
PAUSING = "frontend.WorkflowPauseEnabled=true"


@dataclass(frozen=True)
class Temporal:
    """The session's Temporal server.

    Attributes:
        client: For the reference application's namespace.
    """

    server: TemporalServer
    client: Client

    @property
    def address(self) -> str:
        """Where it listens, as `host:port`."""
        return self.server.address

    def connection(self, namespace: str) -> ClientConnectConfig:
        """How to connect to a namespace of it, as settings hold it."""
        return {"target_host": self.address, "namespace": namespace}

    async def namespace(self, name: str) -> Client:
        """Return a client of a namespace of the caller's own, registered if need be."""
        await ensure_namespace(self.client, name)
        return Client(self.client.service_client, namespace=name)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the switch that `make soak` uses."""
    parser.addoption("--full-size", action="store_true", help="run the sized tests at their full stated size")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the end of the Temporal server's log below a failed test."""
    report = yield
    server = item.session.stash.get(SERVER, None)
    if report.failed and server:
        report.sections.append(("Temporal server's log", server.child.tail(LOG_LINES)))
    return report


@pytest.fixture(scope="session", autouse=True)
def no_settings_of_the_user(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Nothing but a test says where Temporal is: neither the environment nor a profile in the home folder."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("TEMPORAL_")]:
            patch.delenv(name)
        empty = tmp_path_factory.mktemp("settings") / "temporal.toml"
        empty.touch()
        patch.setenv("TEMPORAL_CONFIG_FILE", str(empty))
        yield


@pytest.fixture(scope="session")
def full_size(pytestconfig: pytest.Config) -> bool:
    """Whether sized tests run at their full stated size."""
    return bool(pytestconfig.getoption("--full-size"))


@pytest.fixture(scope="session")
def programs(pytestconfig: pytest.Config) -> dict[str, Path]:
    """Prometheus, Alertmanager and their tools, by name."""
    return tools.ensure(pytestconfig.rootpath / ".tools", lambda _: None)


@pytest.fixture(scope="session")
async def temporal(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> AsyncIterator[Temporal]:
    """The session's Temporal server, stopped at its end."""
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
async def postgres(pytestconfig: pytest.Config) -> AsyncIterator[Postgres]:
    """The session's PostgreSQL server, stopped at its end."""
    server = Postgres(postgres_programs(pytestconfig.rootpath / ".tools", lambda _: None))
    try:
        await server.ready()
        yield server
    finally:
        server.close()


@pytest.fixture
def temporal_address(temporal: Temporal) -> str:
    """Where the session's Temporal server listens; for tests that are not coroutines."""
    return temporal.address
