"""An exporter with a backfill, in a separate process that a test can kill."""

import asyncio
import logging
import sys
from collections.abc import Mapping
from datetime import timedelta

from temporalio.client import Client
from temporalio.envconfig import ClientConnectConfig

from temporal_slo.exporter.backfill.backfill import Backfill
from temporal_slo.exporter.classify.classifier import Classifier
from temporal_slo.exporter.classify.payloads import converter_decode, load_converter
from temporal_slo.exporter.exposition.self_metrics import SelfMetrics
from temporal_slo.exporter.namespace import NamespaceMonitor
from temporal_slo.ledger.ledger import Ledger
from temporal_slo.settings import DEFAULT_CONVERTER, ExporterSettings
from temporal_slo.temporal.close_events import TemporalCloseEvents
from temporal_slo.temporal.gateway import Gateway
from temporal_slo.temporal.history import HistoryRequests
from temporal_slo.temporal.rate_limit import RateLimiter
from temporal_slo.temporal.start_events import TemporalStartEvents
from temporal_slo.temporal.visibility import PAGE_SIZE_MAX, TemporalVisibility

from .polling import parts_of


def backfill_of(parts: NamespaceMonitor, ledger: Ledger, client: Client, page_size: int = PAGE_SIZE_MAX) -> Backfill:
    """Return a backfill without limit of `since`, which shares the rate limiters of *parts*."""
    limiters, gateway = _limiters(parts), Gateway(client, parts.namespace)
    history = HistoryRequests(gateway, limiters["history"], bulk=True)
    decode = converter_decode(load_converter(DEFAULT_CONVERTER, "test"), parts.namespace)
    return Backfill(
        parts.namespace,
        parts.mirror,
        ledger,
        TemporalVisibility(gateway, limiters["visibility"], bulk=True),
        TemporalCloseEvents(history),
        starts=TemporalStartEvents(history),
        classifier=Classifier(decode),
        since=None,
        page_size=page_size,
    )


def _limiters(parts: NamespaceMonitor) -> Mapping[str, RateLimiter]:
    metrics = parts.poller._self_metrics  # noqa: SLF001 - shared by the parts
    assert isinstance(metrics, SelfMetrics)
    return metrics.limiters


async def main(address: str, namespace: str, url: str, page_size: str, rate: str) -> None:
    """Poll and backfill until killed."""
    logging.basicConfig(level=logging.INFO)
    connection: ClientConnectConfig = {"target_host": address, "namespace": namespace}
    settings = ExporterSettings(
        connection, url, ("127.0.0.1", 0), timedelta(seconds=1), visibility_rate=float(rate), history_rate=1000
    )
    ledger = Ledger(url)
    parts = await parts_of(settings, ledger)
    client = await Client.connect(**connection, lazy=True)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(parts.run())
        tasks.create_task(backfill_of(parts, ledger, client, int(page_size)).run())


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
