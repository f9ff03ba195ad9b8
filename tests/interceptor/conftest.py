import uuid
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest
from temporalio.client import Client
from temporalio.client import Plugin as ClientPlugin

from tests.conftest import Temporal

from .metrics import Metrics

NAMESPACE = "interceptor-tests"

Connect = Callable[..., Awaitable[Client]]


@pytest.fixture(scope="session")
def metrics() -> Metrics:
    """Metrics of a runtime shared by these tests, each of which has its own task queue."""
    return Metrics()


@pytest.fixture
def queue(request: pytest.FixtureRequest) -> str:
    """A task queue name for one test."""
    return f"{request.node.name[:60]}-{uuid.uuid4().hex[:6]}"


@pytest.fixture(scope="session")
async def connect(temporal: Temporal, metrics: Metrics) -> Connect:
    """Connects clients of a namespace that only these tests use."""
    await temporal.namespace(NAMESPACE)

    async def connected(*plugins: ClientPlugin, interceptors: Sequence[Any] = ()) -> Client:
        return await Client.connect(
            temporal.address, namespace=NAMESPACE, runtime=metrics.runtime, plugins=plugins, interceptors=interceptors
        )

    return connected


@pytest.fixture(scope="session")
async def plain(connect: Connect) -> Client:
    """A client without plugins."""
    return await connect()
