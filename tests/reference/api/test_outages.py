import logging
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from temporalio.client import Client

from temporal_slo.reference.api.app import create_app
from temporal_slo.reference.api.service_reader import ServiceReader
from temporal_slo.reference.api.temporal_service import TemporalService
from temporal_slo.reference.api.webhooks import PATH
from temporal_slo.reference.web.paystack import SIGNATURE
from temporal_slo.servers.process import LOOPBACK, free_port, until
from tests.conftest import Temporal
from tests.interceptor.proxy import Proxy

from .desk import SIGNING, Desk, assert_problem, charge, new, open_desk, ride, top_up

DECISION = {"approved": True, "approver": "finance-1", "reason": "ok"}
TEMPORAL_ROUTES = [
    ("POST", "/api/v1/bookings", ride()),
    ("GET", "/api/v1/bookings/booking-1/status", None),
    ("POST", "/api/v1/bookings/booking-1/cancel", {}),
    ("POST", "/api/v1/wallets/user-1/topups", {"requestId": "1", "amount": 5}),
    ("GET", "/api/v1/topups/topup-1/status", None),
    ("POST", "/api/v1/approvals/topup-1/decision", DECISION),
]


@pytest.fixture
async def proxy(temporal: Temporal) -> AsyncIterator[Proxy]:
    """A proxy of Temporal, stopped after the test."""
    proxy = Proxy(temporal.address)
    yield proxy
    await proxy.stop()


@pytest.fixture(params=["refuses connections", "never answers"])
def unreachable(request: pytest.FixtureRequest) -> Iterator[str]:
    """The address of a server that is down, or hangs."""
    if request.param == "refuses connections":
        yield f"{LOOPBACK}:{free_port()}"
        return
    with socket.create_server((LOOPBACK, 0)) as hanging:
        yield f"{LOOPBACK}:{hanging.getsockname()[1]}"


@dataclass(frozen=True)
class Api:
    """An API in this process, and its client."""

    app: FastAPI
    http: httpx.AsyncClient


@asynccontextmanager
async def api_over(
    client: Client, services: str = "http://services.invalid", deadline: float = 5
) -> AsyncIterator[Api]:
    """Yield a client of an API in this process, which answers errors as a server would."""
    async with ServiceReader(services) as reader:
        app = create_app(TemporalService(client, deadline), reader, SIGNING)
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://api") as http:
            yield Api(app, http)


async def deliver(api: Api, event: bytes) -> httpx.Response:
    """Deliver an event with its signature."""
    return await api.http.post(PATH, content=event, headers={SIGNATURE: SIGNING.of(event)})


@pytest.mark.parametrize("hangs", [False, True], ids=["down", "hangs"])
async def test_temporal_down(proxy: Proxy, api_client: Client, hangs: bool) -> None:  # noqa: FBT001 a parameter
    """While Temporal does not answer, each route that needs it answers 503 in time, with the seconds to wait."""
    client = await Client.connect(await proxy.start(), namespace=api_client.namespace)
    async with api_over(client, deadline=0.5) as api:
        if hangs:
            proxy.drop()
        else:
            await proxy.stop()
        for method, path, body in TEMPORAL_ROUTES:
            begin = time.monotonic()
            response = await api.http.request(method, path, json=body)
            assert_problem(response, 503)
            assert response.headers["retry-after"] == "5"
            assert time.monotonic() - begin < 2
        assert_problem(await deliver(api, charge("topup-1", 5)), 503)
        assert (await api.http.get("/healthz")).json() == {"status": "ok"}


async def test_client_gives_up(proxy: Proxy, api_client: Client) -> None:
    """If Temporal's client gives up before the deadline, the response is the same."""
    client = await Client.connect(await proxy.start(), namespace=api_client.namespace)
    async with api_over(client, deadline=60) as api:
        await proxy.stop()
        response = await api.http.get("/api/v1/bookings/booking-1/status", timeout=60)
        assert_problem(response, 503, "Temporal is unreachable")
        assert response.headers["retry-after"] == "5"


async def test_lost_response(proxy: Proxy, desk: Desk) -> None:
    """A booking whose response from Temporal was lost is 503; repeated, it is accepted, and nothing starts twice."""
    client = await Client.connect(await proxy.start(), namespace=desk.client.namespace)
    body = ride()
    async with api_over(client, deadline=1) as api:
        proxy.drop()
        assert_problem(await api.http.post("/api/v1/bookings", json=body), 503)
        await desk.services.called("seats/reserve", str(body["userId"]))
        proxy.close_connections()

        async def accepted() -> bool:
            return (await api.http.post("/api/v1/bookings", json=body)).status_code == 202

        await until(accepted, deadline=20, what="booking accepted")
    await desk.closed(f"bookings/booking-{body['requestId']}/status")
    assert len(await desk.services.calls("seats/reserve", str(body["userId"]))) == 1


async def test_services_down(unreachable: str, api_client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the services do not answer, routes that read from them and late webhooks are answered 503."""
    monkeypatch.setattr("temporal_slo.reference.api.service_reader.TIMEOUT", 0.5)
    async with api_over(api_client, f"http://{unreachable}") as api:
        for path in ("/api/v1/wallets/user-1", "/api/v1/approvals"):
            response = await api.http.get(path)
            assert_problem(response, 503, "the services are unreachable")
            assert response.headers["retry-after"] == "5"
        assert_problem(await deliver(api, charge(f"topup-{new('r')}", 5)), 503)


@pytest.mark.parametrize("kind", ["outage", "error"])
async def test_service_errors(desk: Desk, kind: str) -> None:
    """An error of the services is 503: the client may try again."""
    user = new("user")
    async with desk.failing(user, "wallets", kind):
        assert_problem(await desk.get(f"wallets/{user}"), 503)
    assert (await desk.get(f"wallets/{user}")).status_code == 200


async def test_late_webhook_while_services_fail(desk: Desk) -> None:
    """A late webhook that was refused during an outage of the services takes effect when it is delivered again."""
    reference, user = await top_up(desk)
    await desk.webhook(charge(reference, 5000, success=False))
    await desk.closed(f"topups/{reference}/status")
    body = charge(reference, 5000, f"{reference}-late")
    async with desk.failing(user, "paystack/transactions", "outage"):
        assert_problem(await desk.webhook(body), 503)
    assert (await desk.webhook(body)).json() == {"status": "delivered"}
    assert (await desk.closed(f"topups/{reference}/status"))["status"] == "REFUNDED"


async def test_unexpected_answer(desk: Desk, api_client: Client) -> None:
    """An answer that is not the services' is reported as a bad gateway."""
    # Wallets are not what is listed at /calls.
    async with api_over(api_client, f"{desk.services.url}/calls?") as api:
        response = await api.http.get("/api/v1/wallets/user-1")
        assert_problem(response, 502, "the services gave an unexpected answer")


async def test_decision_without_worker(temporal: Temporal, tmp_path: Path) -> None:
    """Without a running worker a decision is 503 after the deadline, and a top-up's status is still answered."""
    client = await temporal.namespace("reference-api-without-workers")
    async with open_desk(client, tmp_path, TemporalService(client, deadline=1), workers=False) as desk:
        body = {"requestId": new("r"), "amount": 5}
        reference = (await desk.post("wallets/user-1/topups", body)).json()["reference"]
        assert_problem(await desk.post(f"approvals/{reference}/decision", DECISION), 503)
        assert (await desk.get(f"topups/{reference}/status")).json()["status"] == "RUNNING"
        assert (await desk.webhook(charge(reference, 5))).json() == {"status": "delivered"}


async def test_unexpected_error(api_client: Client) -> None:
    """The response to an unexpected error does not have its message."""
    async with api_over(api_client) as api:

        async def broken() -> None:
            raise RuntimeError("secret detail")

        api.app.add_api_route("/broken", broken)
        assert_problem(await api.http.get("/broken"), 500, "internal error")


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/nothing", 404), ("DELETE", "/api/v1/bookings", 405)])
async def test_framework_errors(desk: Desk, method: str, path: str, status: int) -> None:
    """Errors of the framework are problems, too."""
    assert_problem(await desk.http.request(method, path), status)


async def test_secret_is_not_logged(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    """Neither the secret nor a signature is logged."""
    with caplog.at_level(logging.DEBUG):
        reference, _ = await top_up(desk)
        body = charge(reference, 5000)
        await desk.webhook(body)
        await desk.webhook(body, "wrong")
    ours = "\n".join(
        record.getMessage() for record in caplog.records if not record.name.startswith(("httpcore", "httpx"))
    )
    assert "sk_test" not in ours
    assert SIGNING.of(body) not in ours
