"""A poller in this process, for tests that count what a single poll does."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

from temporalio.envconfig import ClientConnectConfig

from temporal_slo.exporter.board import Board
from temporal_slo.exporter.ledger import Ledger
from temporal_slo.exporter.poller import Poller
from temporal_slo.exporter.service import make_poller
from temporal_slo.settings import ExporterSettings


@asynccontextmanager
async def polling(folder: Path, connection: ClientConnectConfig) -> AsyncIterator[Poller]:
    """A poller with a ledger of its own, that polls when it is told."""
    url = f"sqlite:///{folder / 'polling.db'}"
    settings = ExporterSettings(connection, url, ("127.0.0.1", 0), timedelta(seconds=1))
    ledger = Ledger(url)
    try:
        yield await make_poller(settings, ledger, await Board.of(ledger, connection["namespace"]))
    finally:
        ledger.close()
