from collections.abc import AsyncIterator

import pytest
from temporalio.client import Client

from tests.conftest import Temporal

from .desk import NAMESPACE, Desk, open_desk


@pytest.fixture(scope="session")
async def api_client(temporal: Temporal) -> Client:
    """A client of a Temporal namespace for these tests only."""
    return await temporal.namespace(NAMESPACE)


@pytest.fixture(scope="session")
async def desk(api_client: Client, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Desk]:
    """The API with services and workers."""
    async with open_desk(api_client, tmp_path_factory.mktemp("desk")) as desk:
        yield desk
