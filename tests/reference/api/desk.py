"""The API with real services and real workers, and the requests of tests."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI
from temporalio.client import Client

from temporal_slo.reference.activities.service_client import ServiceClient
from temporal_slo.reference.api.app import Starts, create_app
from temporal_slo.reference.api.service_reader import ServiceReader
from temporal_slo.reference.api.temporal_service import TemporalService
from temporal_slo.reference.api.topups import TopUps
from temporal_slo.reference.api.webhooks import PATH, PaystackSignature
from temporal_slo.reference.web.paystack import SIGNATURE
from temporal_slo.reference.web.serving import listen, serving
from temporal_slo.reference.workers.booking import booking_worker
from temporal_slo.reference.workers.fleet import fleet_worker
from temporal_slo.reference.workers.payment import payment_worker
from temporal_slo.reference.workflows.timings import ActivityTimings
from temporal_slo.servers.process import LOOPBACK, until
from tests.reference.services_process import SECRET, ServicesUnderTest, running_services

NAMESPACE = "reference-api"
QUICK = ActivityTimings(start_to_close=20, retry_initial=0.05, retry_maximum=0.1, max_attempts=3)
STARTS = Starts(booking_timings=QUICK, topups=TopUps(timings=QUICK))
SIGNING = PaystackSignature(SECRET)
DEADLINE = 30.0


@dataclass(frozen=True)
class Desk:
    """The API that serves, its services and its Temporal namespace.

    Attributes:
        client: Client of the namespace.
        services: The services.
        app: The application.
        http: Client of the API.
    """

    client: Client
    services: ServicesUnderTest
    app: FastAPI
    http: httpx.AsyncClient

    async def post(self, path: str, body: object = None) -> httpx.Response:
        """Send JSON to a path below /api/v1."""
        # As ASCII, unlike httpx, which cannot encode lone surrogates.
        headers = {"content-type": "application/json"}
        return await self.http.post(f"/api/v1/{path}", content=json.dumps(body), headers=headers)

    async def get(self, path: str, **query: str | int) -> httpx.Response:
        """Read a path below /api/v1."""
        return await self.http.get(f"/api/v1/{path}", params=query)

    async def webhook(self, body: bytes, signature: str | bytes | None = None) -> httpx.Response:
        """Deliver a body, with its own signature if none is given."""
        headers = {SIGNATURE: SIGNING.of(body) if signature is None else signature}
        return await self.http.post(PATH, content=body, headers=headers)  # type: ignore[arg-type]  # str or bytes

    async def closed(self, path: str) -> dict[str, Any]:
        """Wait until the status at *path* is not RUNNING, and return it."""

        async def found() -> dict[str, Any] | None:
            status: dict[str, Any] = (await self.get(path)).raise_for_status().json()
            return None if status["status"] == "RUNNING" else status

        return await until(found, deadline=DEADLINE, what=f"{path} closed")

    @asynccontextmanager
    async def failing(self, user: str, endpoint: str, kind: str, **rule: float) -> AsyncIterator[None]:
        """Make a user's calls of an endpoint of the services fail inside the context."""
        name = new("fault")
        await self.services.put_fault(name, endpoint=endpoint, kind=kind, userPrefix=user, **rule)
        yield
        await self.services.delete_fault(name)

    async def run_id(self, workflow_id: str) -> str | None:
        """Return the ID of the latest run of a workflow."""
        return (await self.client.get_workflow_handle(workflow_id).describe()).run_id


def new(prefix: str) -> str:
    """Return an identifier that no other test has."""
    return f"{prefix}-{uuid.uuid4().hex[:10]}"


def ride(**changed: object) -> dict[str, object]:
    """Return the body of a booking."""
    body = {"requestId": new("r"), "userId": new("user"), "busId": "bus-3", "segment": "lagos-ibadan", "fare": 2500}
    return {**body, **changed}


def charge(reference: str, amount: int, transaction_id: object = "trx-1", *, success: bool = True) -> bytes:
    """Return an event as Paystack sends it."""
    status = "success" if success else "failed"
    data = {"id": transaction_id, "reference": reference, "amount": amount, "status": status, "channel": "card"}
    return json.dumps({"event": f"charge.{status}", "data": data}).encode()


def assert_problem(response: httpx.Response, status: int, detail: str | None = None) -> None:
    """Check that a response is the problem of a status."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    body = response.json()
    assert (body["type"], body["status"], sorted(body)) == (
        "about:blank",
        status,
        ["detail", "status", "title", "type"],
    )
    assert detail in {None, body["detail"]}, body["detail"]


@asynccontextmanager
async def open_desk(
    client: Client, directory: Path, temporal: TemporalService | None = None, *, workers: bool = True
) -> AsyncIterator[Desk]:
    """Serve the API inside the context, with the services and with workers, unless there shall be none."""
    async with AsyncExitStack() as stack:
        listener = stack.enter_context(listen(LOOPBACK, 0))
        url = f"http://{LOOPBACK}:{listener.getsockname()[1]}"
        services = await stack.enter_async_context(running_services(directory, webhook_url=f"{url}{PATH}"))
        if workers:
            await stack.enter_async_context(running_workers(client, services.url))
        reader = await stack.enter_async_context(ServiceReader(services.url))
        app = create_app(temporal or TemporalService(client), reader, SIGNING, STARTS)
        await stack.enter_async_context(serving(app, listener))
        http = await stack.enter_async_context(httpx.AsyncClient(base_url=url, timeout=DEADLINE))
        yield Desk(client, services, app, http)


@asynccontextmanager
async def running_workers(client: Client, services: str) -> AsyncIterator[None]:
    """Run all workers inside the context."""
    async with (
        ServiceClient(services) as service_client,
        booking_worker(client, service_client),
        payment_worker(client, service_client),
        fleet_worker(client, service_client),
    ):
        yield


async def both(*responses: Any) -> list[httpx.Response]:  # noqa: ANN401 coroutines
    """Send requests at the same time."""
    return list(await asyncio.gather(*responses))


def without(body: Mapping[str, object], field: str) -> dict[str, object]:
    """Return *body* without a field."""
    return {name: value for name, value in body.items() if name != field}


async def top_up(desk: Desk, amount: int = 5000) -> tuple[str, str]:
    """Start a top-up; return its reference and its user once the payment was initiated."""
    user, request_id = new("user"), new("r")
    response = await desk.post(f"wallets/{user}/topups", {"requestId": request_id, "amount": amount})
    await desk.services.called("paystack/transactions", user)
    reference: str = response.raise_for_status().json()["reference"]
    return reference, user
