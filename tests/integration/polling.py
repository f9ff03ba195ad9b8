"""A poller in this process, for tests that count what a single poll does."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

from temporalio.envconfig import ClientConnectConfig

from temporal_slo.exporter.namespace import Common, Parts, wire
from temporal_slo.ledger.ledger import Ledger
from temporal_slo.settings import ExporterSettings


async def parts_of(settings: ExporterSettings, ledger: Ledger) -> Parts:
    """What watches the one namespace of *settings*, without specs."""
    return await wire(await Common.of(settings, ledger), settings.namespaces[0], ())


@asynccontextmanager
async def polling(folder: Path, connection: ClientConnectConfig) -> AsyncIterator[Parts]:
    """The parts of an exporter with a ledger of its own, that polls and settles when it is told."""
    url = f"sqlite:///{folder / 'polling.db'}"
    settings = ExporterSettings(connection, url, ("127.0.0.1", 0), timedelta(seconds=1), visibility_rate=1000)
    ledger = Ledger(url)
    try:
        yield await parts_of(settings, ledger)
    finally:
        ledger.close()
