"""How the parts that watch one namespace are put together."""

import asyncio
import sys
import time
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, Self

from temporalio.client import Client

from temporal_slo.exporter.backfill.backfill import Backfill
from temporal_slo.exporter.backfill.progress_bar import Bar
from temporal_slo.exporter.classify.classifier import Judge
from temporal_slo.exporter.classify.outcome import OutcomeReader
from temporal_slo.exporter.classify.payloads import _converter, converter_decode
from temporal_slo.exporter.classify.pending_runs import Settler
from temporal_slo.exporter.exposition.publisher import Board, Own
from temporal_slo.exporter.exposition.self_metrics import Gauge
from temporal_slo.exporter.mirror.audit import Auditor
from temporal_slo.exporter.mirror.latency_thresholds import Measured
from temporal_slo.exporter.mirror.mirror import Mirror
from temporal_slo.exporter.mirror.slo_rules import go_by
from temporal_slo.exporter.poller import Poller
from temporal_slo.exporter.sources import registry
from temporal_slo.exporter.sources.source import Watch
from temporal_slo.ledger.ledger import Ledger
from temporal_slo.ledger.state import State
from temporal_slo.runs.microseconds import SECOND
from temporal_slo.settings import RETENTION, ExporterSettings
from temporal_slo.spec.model import (
    Spec,
    spec_outcomes,
)
from temporal_slo.temporal.close_events import TemporalCloseEvents
from temporal_slo.temporal.connection import Connection
from temporal_slo.temporal.gateway import Gateway
from temporal_slo.temporal.request_log import RequestLog
from temporal_slo.temporal.visibility import TemporalVisibility

HISTORY_CONCURRENCY: Final = 8
PROGRESS_INTERVAL: Final = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Common:
    """What all namespaces share."""

    settings: ExporterSettings
    ledger: Ledger
    board: Board
    client: Client
    connection: Connection
    bar: Bar

    @classmethod
    async def of(cls, settings: ExporterSettings, ledger: Ledger, own: Own = tuple) -> Self:
        """Return it with a client that connects at its first request, and a board that also tells what *own* does."""
        connection = await Connection.lazy(settings.connection, settings.reload_connection)
        board = Board(ledger, lambda: (*own(), *connection.samples()))
        return cls(settings, ledger, board, connection.client, connection, Bar(sys.stderr))


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts that watch one namespace."""

    namespace: str
    poller: Poller
    settler: Settler
    watches: tuple[Watch, ...]
    gauge: "Gauge"
    trace: RequestLog
    mirror: Mirror
    judge: Judge
    settings: ExporterSettings
    backfill: Backfill | None

    def adopt(self, specs: tuple[Spec, ...]) -> None:
        """Go by *specs* from now on.

        Raises:
            UsageError: The data converter or the codec endpoint is wrong.
        """
        outcomes = spec_outcomes(specs, self.namespace)
        reader = outcome_reader(self.settings, self.namespace, specs)
        self.judge.adopt(reader, outcomes)
        self.gauge.reader = reader if outcomes else None
        if self.backfill:
            self.backfill.judge.adopt(outcome_reader(self.settings, self.namespace, specs), outcomes)
        go_by(specs, self.namespace, self.mirror.state)
        registry.adopt(self.watches, specs, self.namespace)

    async def run(self) -> None:
        """Poll, settle and read the sources, until cancelled or until one of them ends by a bug."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.poller.run())
            tasks.create_task(self.settler.run())
            if self.backfill:
                tasks.create_task(self.backfill.run())
            for watch in self.watches:
                tasks.create_task(watch.run())

    def told(self) -> dict[str, Any]:
        """Return what the last poll did and what is left to do, as JSON has it."""
        state, snapshot = self.mirror.state, self.poller.snapshot
        readings = [(watch.name, watch.reading) for watch in self.watches if watch.reading]
        return {
            "poll": {**self.trace.debug_info(), "seconds": snapshot.poll_duration, "trouble": snapshot.trouble},
            "last_success": snapshot.last_success,
            "positions": {name: position.position / SECOND for name, position in state.positions.items()},
            "uncovered": [{"from": gap.low / SECOND, "until": gap.high / SECOND} for gap in state.gaps],
            "pending_runs": state.waiting,
            "open_runs": len(state.open),
            "audit": {"drift": state.drift, **dict(state.others)},
            "sources": {
                name: {"trouble": told.trouble, "last_success": told.last_success, "seconds": told.duration}
                for name, told in readings
            },
        }


async def wire(common: Common, namespace: str, specs: tuple[Spec, ...]) -> Parts:
    """Return the parts that go on with *namespace* from what the ledger knows.

    Raises:
        UsageError: The data converter or the codec endpoint is wrong.
        LedgerError: The ledger cannot be read.
    """
    settings, ledger, board = common.settings, common.ledger, common.board
    outcomes = spec_outcomes(specs, namespace)
    reader = outcome_reader(settings, namespace, specs)
    state = await ledger.load(namespace)
    state.tell_ids = not settings.redact_ids
    go_by(specs, namespace, state)
    await board.join(namespace)
    limiters = registry.limiters(settings, HISTORY_CONCURRENCY)
    trace = RequestLog()
    gateway = Gateway(common.client, namespace, trace)
    site = registry.Site(namespace, gateway, ledger, state, specs, limiters)
    visibility = TemporalVisibility(gateway, limiters["visibility"])
    history = TemporalCloseEvents(gateway, limiters["history"])
    judge = Judge(reader, outcomes, state)
    mirror = Mirror(namespace, visibility, ledger, state, int(time.time() * SECOND), judge=judge.at_once)
    watches = registry.watches(settings, site)
    backfill = _backfill(common, site, mirror) if settings.backfill else None
    if backfill:
        watches = (*watches, Watch(namespace, backfill, PROGRESS_INTERVAL))
    gauge = Gauge(gateway.requests, limiters, watches, reader if outcomes else None)
    auditor, measured = Auditor(namespace, mirror, ledger, visibility), Measured(namespace, ledger, state)
    between = (measured.note, auditor.audit)
    poller = Poller(namespace, mirror, gauge, board.put, between=between, trace=trace, interval=settings.poll_interval)
    settler = Settler(namespace, mirror, ledger, history, judge=judge)
    return Parts(namespace, poller, settler, watches, gauge, trace, mirror, judge, settings, backfill)


def _backfill(common: Common, site: registry.Site, mirror: Mirror) -> Backfill:
    settings, namespace = common.settings, site.namespace
    # Of its own: results of old that cannot be read must not stop the reading of new ones.
    judge = Judge(outcome_reader(settings, namespace, site.specs), spec_outcomes(site.specs, namespace), State())
    return Backfill(
        namespace,
        mirror,
        common.ledger,
        TemporalVisibility(site.gateway, site.limiters["visibility"], bulk=True),
        TemporalCloseEvents(site.gateway, site.limiters["history"], bulk=True),
        judge=judge,
        since=None if settings.backfill == RETENTION else settings.backfill,
        show=common.bar,
    )


def outcome_reader(settings: ExporterSettings, namespace: str, specs: tuple[Spec, ...]) -> OutcomeReader:
    """Return what reads the outcomes of *namespace*.

    Raises:
        UsageError: The data converter or the codec endpoint is wrong.
    """
    decode = converter_decode(_converter(settings, namespace), namespace)
    return OutcomeReader(spec_outcomes(specs, namespace), decode)
