"""A receiver of webhook events."""

import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from fastapi import FastAPI, Request, Response

from temporal_slo.reference.web.serving import listen, serving
from temporal_slo.servers.process import LOOPBACK, until
from tests.reference.services_process import SECRET

DEADLINE = 20.0


@dataclass(frozen=True)
class Delivery:
    """A request that arrived."""

    signature: str
    body: bytes

    @property
    def event(self) -> Any:  # noqa: ANN401 any JSON
        """The event."""
        return json.loads(self.body)

    @property
    def is_signed(self) -> bool:
        """Whether the signature is that of the body."""
        return self.signature == hmac.new(SECRET.encode(), self.body, hashlib.sha512).hexdigest()


@dataclass
class Receiver:
    """What arrived.

    Attributes:
        url: Where to send events.
        deliveries: Requests so far.
    """

    url: str
    deliveries: list[Delivery] = field(default_factory=list)

    async def received(self, count: int) -> list[Delivery]:
        """Wait until so many requests have arrived, and return all."""

        async def enough() -> bool:
            return len(self.deliveries) >= count

        await until(enough, deadline=DEADLINE, what=f"{count} deliveries")
        return self.deliveries


@asynccontextmanager
async def receiver(statuses: Iterable[int] = (), port: int = 0) -> AsyncIterator[Receiver]:
    """Receive events inside the context; respond with these statuses in turn, and with 200 after the last."""
    with listen(LOOPBACK, port) as listener:
        received = Receiver(f"http://{LOOPBACK}:{listener.getsockname()[1]}/hook")
        async with serving(_app(received, iter(statuses)), listener):
            yield received


def _app(received: Receiver, statuses: Iterator[int]) -> FastAPI:
    app = FastAPI()

    @app.post("/hook")
    async def hook(request: Request) -> Response:
        received.deliveries.append(Delivery(request.headers["x-paystack-signature"], await request.body()))
        return Response(status_code=next(statuses, 200), headers={"location": "/elsewhere"})

    return app
