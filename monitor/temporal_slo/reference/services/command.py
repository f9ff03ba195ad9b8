"""The services as a process: serve until cancelled, shut down gracefully."""

import asyncio
import logging
from contextlib import suppress
from pathlib import Path

from temporal_slo.reference.services.app import create_app, performer_of
from temporal_slo.reference.services.books import Books
from temporal_slo.reference.services.webhook import Webhook
from temporal_slo.reference.web.serving import listen, serving

_log = logging.getLogger(__name__)


async def serve(address: tuple[str, int], path: Path, webhook_url: str | None = None, secret: str = "") -> None:
    """Run the services until cancelled.

    Args:
        address: Host and port to listen on.
        path: File of the books.
        webhook_url: Receives the events of payments; None for no delivery.
        secret: Signs the events.

    Raises:
        UsageError: The port is taken, or the books cannot be opened.
    """
    with listen(*address) as listener:
        async with Books(path) as books:
            webhook = Webhook(books, webhook_url, secret) if webhook_url else None
            app = create_app(books, webhook)
            async with serving(app, listener) as server:
                host, port = listener.getsockname()[:2]
                _log.info("services on %s:%d, books in %s", host, port, path)
                try:
                    await _run(server, webhook)
                finally:
                    performer_of(app).close()


async def _run(server: "asyncio.Task[None]", webhook: Webhook | None) -> None:
    delivering = asyncio.create_task(webhook.run()) if webhook else None
    try:
        # Neither ends by itself: one that does has crashed.
        await asyncio.wait(filter(None, [server, delivering]), return_when=asyncio.FIRST_COMPLETED)
    finally:
        if delivering:
            delivering.cancel()
            with suppress(asyncio.CancelledError):
                await delivering
