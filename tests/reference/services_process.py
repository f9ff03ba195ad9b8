"""The services for tests: in the process of the test, or as a child that can be killed and restarted."""

import asyncio
import sqlite3
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import httpx

from temporal_slo.reference.services.app import create_app, performer_of
from temporal_slo.reference.services.books import Books
from temporal_slo.reference.services.calls import Clock, utc_now
from temporal_slo.reference.services.webhook import Webhook
from temporal_slo.reference.web.serving import listen, serving
from temporal_slo.servers.process import LOOPBACK, Child, free_port, until

DEADLINE = 20.0
START_DEADLINE = 60.0
SECRET = "sk_test_services"  # noqa: S105 signs only the events of tests


@dataclass(frozen=True)
class ServicesUnderTest:
    """Services that serve.

    Attributes:
        url: Base URL.
        books: File of the books.
        http: Client with this base URL.
        shut_down: Ends all waits of faults, as the shutdown of the process does.
    """

    url: str
    books: Path
    http: httpx.AsyncClient
    shut_down: Callable[[], None] = lambda: None

    async def put_fault(self, name: str, **rule: object) -> None:
        """Make calls fail, for example `put_fault("down", endpoint="payments/charge", kind="outage")`."""
        (await self.http.put(f"/faults/{name}", json=rule)).raise_for_status()

    async def delete_fault(self, name: str) -> None:
        """Delete a fault; the calls that it delays go on."""
        (await self.http.delete(f"/faults/{name}")).raise_for_status()

    async def calls(self, endpoint: str | None = None, user: str | None = None) -> list[dict[str, Any]]:
        """Return the calls so far, oldest first; only those of an endpoint and a user, if given."""
        found: list[dict[str, Any]] = []
        while page := await self._page(found[-1]["seq"] if found else 0):
            found += page
        return [call for call in found if endpoint in {None, call["endpoint"]} and user in {None, call["userId"]}]

    async def called(self, endpoint: str, user: str | None = None, *, times: int = 1) -> list[dict[str, Any]]:
        """Wait until an endpoint was called for a user, and return these calls."""

        async def enough() -> list[dict[str, Any]]:
            found = await self.calls(endpoint, user)
            return found if len(found) >= times else []

        return await until(enough, deadline=DEADLINE, what=f"{endpoint} called for {user}")

    async def totals(self) -> dict[str, Any]:
        """Return the totals of the books."""
        return await self.get("books")

    async def get(self, path: str) -> dict[str, Any]:
        """Return what is at a path below /api/v1."""
        return _content(await self.http.get(f"/api/v1/{path}"))

    async def post(self, path: str, body: Mapping[str, object], key: str | None = None) -> dict[str, Any]:
        """Call a path below /api/v1 and return the response; it must succeed."""
        return _content(await self.send(path, body, key))

    async def send(self, path: str, body: Mapping[str, object], key: str | None = None) -> httpx.Response:
        """Call a path below /api/v1 and return the response, also an error."""
        return await self.http.post(f"/api/v1/{path}", json=body, headers=_headers(key))

    async def pay(self, reference: str, amount: int, *, success: bool = True) -> dict[str, Any]:
        """Pay as the customer and return the event."""
        return await self.post(f"paystack/transactions/{reference}/pay", {"amount": amount, "success": success})

    def rows(self, query: str, *values: object) -> list[dict[str, Any]]:
        """Return the rows of a query of the books."""
        with closing(sqlite3.connect(f"file:{self.books}?mode=ro", uri=True)) as db:
            db.row_factory = sqlite3.Row
            return [dict(row) for row in db.execute(query, values)]

    async def _page(self, after: int) -> list[dict[str, Any]]:
        calls: list[dict[str, Any]] = _content(await self.http.get("/calls", params={"after": after}))["calls"]
        return calls


@asynccontextmanager
async def running_services(
    directory: Path, *, webhook_url: str | None = None, clock: Clock = utc_now
) -> AsyncIterator[ServicesUnderTest]:
    """Run the services inside the context, over `books.db` in *directory*; their events are signed with SECRET."""
    path = directory / "books.db"
    with listen(LOOPBACK, 0) as listener:
        async with Books(path) as books:
            webhook = Webhook(books, webhook_url, SECRET) if webhook_url else None
            url = f"http://{LOOPBACK}:{listener.getsockname()[1]}"
            app = create_app(books, webhook, clock=clock)
            async with serving(app, listener), _delivering(webhook), httpx.AsyncClient(base_url=url) as http:
                try:
                    yield ServicesUnderTest(url, path, http, performer_of(app).close)
                finally:
                    performer_of(app).close()


class ServicesProcess:
    """The services as a child process, which keeps its port and its books over a restart.

    Args:
        directory: Holds `books.db` and the log.
        webhook_url: Receives the events, signed with SECRET.
    """

    def __init__(self, directory: Path, webhook_url: str | None = None) -> None:
        self.port = free_port()
        self.url = f"http://{LOOPBACK}:{self.port}"
        self.books = directory / "books.db"
        self._log = directory / "services.log"
        self._options = ["--webhook-url", webhook_url] if webhook_url else []
        self.child: Child | None = None

    async def start(self) -> Self:
        """Start it, and wait until it serves."""
        address = ["--listen", f"{LOOPBACK}:{self.port}", "--books", str(self.books)]
        command = [sys.executable, "-m", "temporal_slo", "services", *address, *self._options]
        self.child = Child("services", command, self._log, {"PAYSTACK_SECRET_KEY": SECRET})
        await until(self._serves, deadline=START_DEADLINE, what="services")
        return self

    def kill(self) -> None:
        """Send SIGKILL and wait until it has exited."""
        if self.child:
            self.child.kill()

    def stop(self) -> int | None:
        """Send SIGTERM, wait until it has exited, and return its exit code."""
        if self.child:
            self.child.stop()
        return self.child.exit_code if self.child else None

    async def _serves(self) -> bool:
        if self.child:
            self.child.check()
        try:
            async with httpx.AsyncClient() as http:
                return (await http.get(f"{self.url}/healthz")).is_success
        except httpx.TransportError:
            return False


@asynccontextmanager
async def services_process(
    directory: Path, *, webhook_url: str | None = None
) -> AsyncIterator[tuple[ServicesProcess, ServicesUnderTest]]:
    """Run the services as a child process inside the context."""
    process = ServicesProcess(directory, webhook_url)
    try:
        await process.start()
        async with httpx.AsyncClient(base_url=process.url) as http:
            yield process, ServicesUnderTest(process.url, process.books, http)
    finally:
        process.stop()


@asynccontextmanager
async def _delivering(webhook: Webhook | None) -> AsyncIterator[None]:
    task = asyncio.create_task(webhook.run()) if webhook else None
    try:
        yield
    finally:
        if task:
            task.cancel()
            await asyncio.wait([task])


def _headers(key: str | None) -> dict[bytes, bytes]:
    return {} if key is None else {b"X-Activity-ID": key.encode("latin-1")}


def _content(response: httpx.Response) -> dict[str, Any]:
    assert response.is_success, f"{response.request.url.path}: {response.status_code} {response.text}"
    content: dict[str, Any] = response.json()
    return content
