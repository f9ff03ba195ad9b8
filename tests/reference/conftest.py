from collections.abc import AsyncIterator

import pytest
from temporalio.client import Client

from tests.conftest import Temporal

from .depot import Depot, open_depot
from .recorded import Recorder
from .services_process import running_services
from .shop import NAMESPACE, Shop, open_shop
from .till import Till


@pytest.fixture(scope="session")
async def client(temporal: Temporal) -> Client:
    """A client of a Temporal namespace for these tests only."""
    return await temporal.namespace(NAMESPACE)


@pytest.fixture(scope="session")
async def shop(client: Client, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Shop]:
    """A shop whose services fail only for riders that a test makes them fail for."""
    async with open_shop(client, tmp_path_factory.mktemp("shop")) as shop:
        yield shop


@pytest.fixture(scope="session")
async def open_till(client: Client, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Till]:
    """A till with its payment worker."""
    async with running_services(tmp_path_factory.mktemp("till")) as services:
        till = Till(client, services)
        async with till.worker():
            yield till


@pytest.fixture
async def till(open_till: Till) -> AsyncIterator[Till]:
    """A till without faults, until a test injects some."""
    yield open_till
    await open_till.services.http.delete("/faults")


@pytest.fixture(scope="session")
async def depot(client: Client, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Depot]:
    """A depot whose services fail only where a test makes them fail."""
    async with open_depot(client, tmp_path_factory.mktemp("depot")) as depot:
        yield depot


@pytest.fixture(scope="session")
def recorded(pytestconfig: pytest.Config) -> Recorder:
    """Records the history of a branch, or checks that it is recorded."""
    return Recorder(recording=bool(pytestconfig.getoption("--record-histories")))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """When recording, run only the tests that record."""
    if config.getoption("--record-histories"):
        items[:] = [item for item in items if "recorded" in getattr(item, "fixturenames", ())]
