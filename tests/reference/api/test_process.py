import asyncio
import os
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
from temporalio.client import Client

from temporal_slo.servers.process import LOOPBACK, Child, free_port, until
from tests.conftest import Temporal

from .desk import Desk, ride

SECRET = "sk_live_never_printed"  # noqa: S105 of the test
DEADLINE = 30.0


def start(log: Path, temporal: str, port: int, namespace: str, services: str = "http://127.0.0.1:1") -> Child:
    """Start `temporal-slo api`."""
    command = [sys.executable, "-m", "temporal_slo", "api", "--temporal-address", temporal]
    options = ["--temporal-namespace", namespace, "--listen", f"{LOOPBACK}:{port}", "--services", services]
    environ = {**os.environ, "PAYSTACK_SECRET_KEY": SECRET}
    return Child("API", [*command, *options], log, environ)


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Path]:
    """The log of the process, which never has the secret."""
    path = tmp_path / "api.log"
    yield path
    assert SECRET not in path.read_text()


@pytest.fixture
async def process(temporal: Temporal, api_client: Client, desk: Desk, log: Path) -> AsyncIterator[tuple[Child, str]]:
    """The API as a process, with its URL."""
    port = free_port()
    child = start(log, temporal.address, port, api_client.namespace, desk.services.url)
    url = f"http://{LOOPBACK}:{port}"

    async def serves() -> bool:
        child.check()
        try:
            async with httpx.AsyncClient() as http:
                return (await http.get(f"{url}/healthz")).is_success
        except httpx.TransportError:
            return False

    await until(serves, deadline=DEADLINE, what="API")
    yield child, url
    child.stop()


async def test_serves(process: tuple[Child, str], desk: Desk) -> None:
    """The process serves the API with the defaults of the workflows, and exits with 0 on SIGTERM."""
    child, url = process
    body = ride()
    async with httpx.AsyncClient(base_url=url) as http:
        assert (await http.post("/api/v1/bookings", json=body)).status_code == 202
        assert (await http.get("/api/v1/wallets/user-1")).json() == {"userId": "user-1", "balance": 0}
        assert (await http.post("/api/v1/webhooks/paystack", content=b"{}")).status_code == 401
    assert (await desk.closed(f"bookings/booking-{body['requestId']}/status"))["status"] == "CONFIRMED"
    child.terminate()
    assert child.wait(DEADLINE) == 0
    assert f"API on {url.removeprefix('http://')}" in child.log.read_text()


async def test_drains(process: tuple[Child, str], desk: Desk) -> None:
    """A request in flight is answered after SIGTERM, and the process then exits with 0."""
    child, url = process
    async with desk.failing("user-slow", "wallets", "latency", seconds=2), httpx.AsyncClient(base_url=url) as http:
        answering = asyncio.ensure_future(http.get("/api/v1/wallets/user-slow"))
        await desk.services.called("wallets", "user-slow")
        child.terminate()
        assert (await answering).json()["balance"] == 0
    assert child.wait(DEADLINE) == 0


async def test_port_taken(temporal: Temporal, log: Path) -> None:
    """A taken port is a mistake of the user: one line, exit code 2."""
    with socket.create_server((LOOPBACK, 0)) as taken:
        port = taken.getsockname()[1]
        child = start(log, temporal.address, port, "default")
        assert child.wait(DEADLINE) == 2
    assert log.read_text() == (
        f"temporal-slo: --listen {LOOPBACK}:{port}: cannot listen there: Address already in use; "
        "give a free port or another address\n"
    )


async def test_no_namespace(temporal: Temporal, log: Path) -> None:
    """A namespace that does not exist is a mistake of the user: one line, exit code 2."""
    child = start(log, temporal.address, 0, "no-such-namespace")
    assert child.wait(DEADLINE) == 2
    assert log.read_text().startswith(
        f"temporal-slo: Temporal at {temporal.address}: Namespace no-such-namespace is not"
    )
