from collections.abc import AsyncIterator

import pytest
from temporalio.client import Client

from tests.conftest import Temporal

from .shop import NAMESPACE, Shop, open_shop


@pytest.fixture(scope="session")
async def client(temporal: Temporal) -> Client:
    """A client of a Temporal namespace for these tests only."""
    return await temporal.namespace(NAMESPACE)


@pytest.fixture(scope="session")
async def shop(client: Client) -> AsyncIterator[Shop]:
    """A shop without simulated failures; test users cause theirs."""
    async with open_shop(client) as shop:
        yield shop
