"""Builds and runs what monitors one namespace."""

import asyncio
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, Self

from temporalio.client import Client

from temporal_slo import names
from temporal_slo.exporter.backfill.backfill import Backfill
from temporal_slo.exporter.backfill.progress_bar import ProgressBar
from temporal_slo.exporter.classify.classifier import Classifier
from temporal_slo.exporter.classify.payloads import Converters, Decoder
from temporal_slo.exporter.classify.pending_runs import PendingRuns
from temporal_slo.exporter.exposition.publisher import ProcessMetrics, Publisher
from temporal_slo.exporter.exposition.self_metrics import SelfMetrics
from temporal_slo.exporter.mirror.audit import Auditor
from temporal_slo.exporter.mirror.chain_starts import ChainStarts
from temporal_slo.exporter.mirror.exemplars import Exemplars
from temporal_slo.exporter.mirror.latency_thresholds import LatencyThresholds
from temporal_slo.exporter.mirror.mirror import Mirror
from temporal_slo.exporter.mirror.series_bounds import Limits, SeriesBounds
from temporal_slo.exporter.mirror.slo_rules import SloRules
from temporal_slo.exporter.poller import Poller
from temporal_slo.exporter.sources import registry
from temporal_slo.exporter.sources.source import SourceRunner
from temporal_slo.exporter.spec_reload import AppliesSlos
from temporal_slo.ledger.ledger import Ledger
from temporal_slo.runs.microseconds import SECOND
from temporal_slo.settings import RETENTION, ExporterSettings
from temporal_slo.spec.bound import BoundSlo, outcomes
from temporal_slo.temporal.close_events import TemporalCloseEvents
from temporal_slo.temporal.connection import Connection
from temporal_slo.temporal.gateway import Gateway
from temporal_slo.temporal.history import HistoryRequests
from temporal_slo.temporal.merged_visibility import MergedVisibility
from temporal_slo.temporal.request_log import RequestLog
from temporal_slo.temporal.start_events import TemporalStartEvents
from temporal_slo.temporal.visibility import TemporalVisibility

HISTORY_CONCURRENCY: Final = 8
PROGRESS_INTERVAL: Final = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class SharedParts:
    """What all namespaces share."""

    settings: ExporterSettings
    ledger: Ledger
    publisher: Publisher
    client: Client
    connection: Connection
    progress_bar: ProgressBar
    converters: Converters

    @classmethod
    async def of(cls, settings: ExporterSettings, ledger: Ledger, process_metrics: ProcessMetrics = tuple) -> Self:
        """Return the shared parts; the client connects at its first request.

        Args:
            settings: Of the exporter.
            ledger: Opened.
            process_metrics: Returns metrics of the process, in addition to those of the connection.

        Raises:
            UsageError: The data converter or the codec endpoint is wrong.
        """
        converters = Converters(settings)
        connection = await Connection.lazy(settings.connection, settings.reload_connection)
        publisher = Publisher(ledger, lambda: (*process_metrics(), *connection.samples(), *converters.samples()))
        return cls(settings, ledger, publisher, connection.client, connection, ProgressBar(sys.stderr), converters)


@dataclass(frozen=True, slots=True)
class NamespaceMonitor:
    """Monitors one namespace.

    Attributes:
        slo_users: What the SLOs of the namespace configure; a reload replaces them in each.
    """

    namespace: str
    mirror: Mirror
    poller: Poller
    pending_runs: PendingRuns
    chain_starts: ChainStarts
    runners: tuple[SourceRunner, ...]
    backfill: Backfill | None
    request_log: RequestLog
    decoder: Decoder
    slo_users: tuple[AppliesSlos, ...]

    def apply_slos(self, slos: Sequence[BoundSlo]) -> None:
        """Use these SLOs of the namespace from now on."""
        for user in self.slo_users:
            user.apply_slos(slos)

    async def run(self) -> None:
        """Poll, count pending runs and read the data sources, until cancelled or until one of them crashes."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self.poller.run())
                tasks.create_task(self.pending_runs.run())
                tasks.create_task(self.chain_starts.run())
                if self.backfill:
                    tasks.create_task(self.backfill.run())
                for runner in self.runners:
                    tasks.create_task(runner.run())
        finally:
            await self.close()

    async def close(self) -> None:
        """Close the connections of the remote codec. It may be called more than once."""
        await self.decoder.close()

    def debug_info(self) -> dict[str, Any]:
        """Return what the last poll did and what is left to do, as JSON."""
        store, state, snapshot = self.mirror.store, self.mirror.state, self.poller.snapshot
        results = [(runner.name, runner.result) for runner in self.runners if runner.result]
        counters = {names.STORED_COUNTERS[family]: count for family, count in state.counters.items()}
        return {
            "poll": {**self.request_log.debug_info(), "seconds": snapshot.poll_duration, "error": snapshot.error},
            "last_success": snapshot.last_success,
            "positions": {name: position.position / SECOND for name, position in state.positions.items()},
            "gaps": [{"from": gap.low / SECOND, "until": gap.high / SECOND} for gap in state.gaps],
            "pending_runs": state.pending,
            "open_runs": len(state.open),
            "audit": {"drift": store.audit_drift, **counters},
            "sources": {
                name: {"error": result.error, "last_success": result.last_success, "seconds": result.duration}
                for name, result in results
            },
        }


async def monitor(shared: SharedParts, namespace: str, slos: Sequence[BoundSlo]) -> NamespaceMonitor:
    """Return what continues to monitor *namespace* from the ledger.

    Args:
        shared: What all namespaces share.
        namespace: Temporal namespace.
        slos: Its SLOs.

    Raises:
        LedgerError: The ledger cannot be read.
    """
    settings, ledger, publisher = shared.settings, shared.ledger, shared.publisher
    state = await ledger.load(namespace)
    await publisher.join(namespace)
    limiters, request_log = registry.limiters(settings, HISTORY_CONCURRENCY), RequestLog()
    gateway = Gateway(shared.client, namespace, request_log)
    decoder = Decoder.of(settings, namespace, shared.converters.current())
    classifier = Classifier(decoder.decode, outcomes(slos), state.failures)
    visibility = MergedVisibility(TemporalVisibility(gateway, limiters["visibility"]))
    history = TemporalCloseEvents(HistoryRequests(gateway, limiters["history"]))
    limits = Limits(settings.workflow_types_max, settings.task_queues_max)
    mirror = Mirror(
        namespace,
        visibility,
        ledger,
        state,
        int(time.time() * SECOND),
        classify=classifier.from_visibility,
        rules=SloRules.of(slos),
        exemplars=Exemplars(enabled=not settings.redact_ids),
        bounds=SeriesBounds(state, slos, limits),
    )
    context = registry.SourceContext(namespace, gateway, ledger, mirror.store, slos, limiters)
    runners = registry.source_runners(settings, context)
    users: tuple[AppliesSlos, ...] = (mirror, classifier, *(runner.source for runner in runners))
    backfill = _backfill(
        shared, context, mirror, Classifier(decoder.decode, outcomes(slos)), SeriesBounds(state, slos, limits)
    )
    if backfill:
        runners = (*runners, SourceRunner(namespace, backfill, PROGRESS_INTERVAL))
        users = (*users, backfill)
    after_poll = (LatencyThresholds(mirror.store, ledger).record, Auditor(mirror.store, ledger, visibility).audit)
    poller = Poller(
        namespace,
        mirror,
        SelfMetrics(gateway, limiters, runners, classifier),
        publisher.put,
        after_poll=after_poll,
        request_log=request_log,
        interval=settings.poll_interval,
    )
    pending_runs = PendingRuns(mirror.store, ledger, history, classifier=classifier)
    events = TemporalStartEvents(HistoryRequests(gateway, limiters["history"], bulk=True))
    chain_starts = ChainStarts(mirror.store, ledger, events)
    return NamespaceMonitor(
        namespace, mirror, poller, pending_runs, chain_starts, runners, backfill, request_log, decoder, users
    )


def _backfill(
    shared: SharedParts,
    context: registry.SourceContext,
    mirror: Mirror,
    classifier: Classifier,
    bounds: SeriesBounds,
) -> Backfill | None:
    settings, namespace = shared.settings, context.namespace
    if not settings.backfill:
        return None
    history = HistoryRequests(context.gateway, context.limiters["history"], bulk=True)
    return Backfill(
        namespace,
        mirror,
        shared.ledger,
        TemporalVisibility(context.gateway, context.limiters["visibility"], bulk=True),
        TemporalCloseEvents(history),
        starts=TemporalStartEvents(history),
        classifier=classifier,
        bounds=bounds,
        since=None if settings.backfill == RETENTION else settings.backfill,
        on_progress=shared.progress_bar,
    )
