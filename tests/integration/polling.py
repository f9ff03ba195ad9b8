"""A poller in this process, for tests that count what a single poll does."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

from temporalio.envconfig import ClientConnectConfig

from temporal_slo.exporter.namespace import NamespaceMonitor, SharedParts, monitor
from temporal_slo.ledger.ledger import Ledger
from temporal_slo.settings import ExporterSettings


async def parts_of(settings: ExporterSettings, ledger: Ledger) -> NamespaceMonitor:
    """The monitor of the one namespace of *settings*, without SLOs."""
    return await monitor(await SharedParts.of(settings, ledger), settings.namespaces[0], ())


@asynccontextmanager
async def polling(folder: Path, connection: ClientConnectConfig) -> AsyncIterator[NamespaceMonitor]:
    """A monitor with a ledger of its own, that polls and counts pending runs on request."""
    url = f"sqlite:///{folder / 'polling.db'}"
    settings = ExporterSettings(connection, url, ("127.0.0.1", 0), timedelta(seconds=1), visibility_rate=1000)
    ledger = Ledger(url)
    try:
        yield await parts_of(settings, ledger)
    finally:
        ledger.close()
