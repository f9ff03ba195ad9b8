"""How the parts that watch one namespace are put together."""

import asyncio
import dataclasses
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, Self

from temporalio.client import Client
from temporalio.converter import DataConverter

from temporal_slo.errors import UsageError
from temporal_slo.exporter import sources
from temporal_slo.exporter.audit import Auditor
from temporal_slo.exporter.backfill import Backfill
from temporal_slo.exporter.bar import Bar
from temporal_slo.exporter.board import Board, Own
from temporal_slo.exporter.budget import Budget
from temporal_slo.exporter.connection import Connection
from temporal_slo.exporter.history import TemporalHistory
from temporal_slo.exporter.ledger import Ledger
from temporal_slo.exporter.measured import Measured
from temporal_slo.exporter.mirror import Mirror
from temporal_slo.exporter.outcome import (
    BAD,
    EXCLUDED,
    GOOD,
    UNKNOWN,
    OutcomeReader,
    RemoteCodec,
    converter_decode,
    load_converter,
)
from temporal_slo.exporter.paced import PacedHistory, PacedVisibility, Requests
from temporal_slo.exporter.poller import Poller
from temporal_slo.exporter.settler import Judge, Settler
from temporal_slo.exporter.snapshot import Snapshot
from temporal_slo.exporter.source import Watch
from temporal_slo.exporter.state import EDGES, SECOND, OverdueRule, Promise, State
from temporal_slo.exporter.traced import Trace, TracedVisibility
from temporal_slo.exporter.visibility import TemporalVisibility
from temporal_slo.names import OUTCOME_NONE
from temporal_slo.settings import RETENTION, ExporterSettings
from temporal_slo.spec.events import broken
from temporal_slo.spec.model import (
    Latency,
    Spec,
    latency_thresholds,
    overdue_slos,
    slos_of,
    spec_outcomes,
    watched_types,
)

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
        connection = await Connection.to(settings.connection, settings.reconnect)
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
    trace: Trace
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
        sources.adopt(self.watches, specs, self.namespace)

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
            "poll": {**self.trace.told(), "seconds": snapshot.poll_duration, "trouble": snapshot.trouble},
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
    budgets = sources.budgets(settings, HISTORY_CONCURRENCY)
    requests, trace = Requests(), Trace()
    site = sources.Site(namespace, common.client, ledger, state, specs, budgets, requests)
    traced = TracedVisibility(TemporalVisibility(common.client, namespace), trace)
    visibility = PacedVisibility(traced, budgets["visibility"], requests)
    history = PacedHistory(TemporalHistory(common.client, namespace), budgets["history"], requests)
    judge = Judge(reader, outcomes, state)
    mirror = Mirror(namespace, visibility, ledger, state, int(time.time() * SECOND), judge=judge.at_once)
    watches = sources.watches(settings, site)
    backfill = _backfill(common, site, mirror) if settings.since else None
    if backfill:
        watches = (*watches, Watch(namespace, backfill, PROGRESS_INTERVAL))
    gauge = Gauge(requests, budgets, watches, reader if outcomes else None)
    auditor, measured = Auditor(namespace, mirror, ledger, visibility), Measured(namespace, ledger, state)
    between = (measured.note, auditor.audit)
    poller = Poller(namespace, mirror, gauge, board.put, between=between, trace=trace, interval=settings.poll_interval)
    settler = Settler(namespace, mirror, ledger, history, judge=judge)
    return Parts(namespace, poller, settler, watches, gauge, trace, mirror, judge, settings, backfill)


def _backfill(common: Common, site: sources.Site, mirror: Mirror) -> Backfill:
    settings, namespace = common.settings, site.namespace
    visibility, history = TemporalVisibility(site.client, namespace), TemporalHistory(site.client, namespace)
    # Of its own: results of old that cannot be read must not stop the reading of new ones.
    judge = Judge(outcome_reader(settings, namespace, site.specs), spec_outcomes(site.specs, namespace), State())
    return Backfill(
        namespace,
        mirror,
        common.ledger,
        PacedVisibility(visibility, site.budgets["visibility"], site.requests, bulk=True),
        PacedHistory(history, site.budgets["history"], site.requests, bulk=True),
        judge=judge,
        since=None if settings.since == RETENTION else settings.since,
        show=common.bar,
    )


def go_by(specs: tuple[Spec, ...], namespace: str, state: State) -> None:
    """Have *state* go by the SLOs of *namespace*."""
    state.edges = _edges(specs, namespace)
    state.overdue = tuple(
        OverdueRule(
            slo.name, slo.workflow, slo.task_queue, overdue.max_age // timedelta(microseconds=1), overdue.tolerate
        )
        for slo, overdue in overdue_slos(specs, namespace)
    )
    state.latencies = {
        slo.name: round(slo.sli.threshold.total_seconds() * 1000)
        for slo in slos_of(specs, namespace)
        if isinstance(slo.sli, Latency)
    }
    state.promises = tuple(
        Promise(slo.name, slo.workflow, slo.task_queue, is_broken)
        for slo in slos_of(specs, namespace)
        if (is_broken := broken(slo.sli))
    )
    state.watched = dict(_watched(specs, namespace))


def _watched(specs: tuple[Spec, ...], namespace: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    outcomes = spec_outcomes(specs, namespace)
    for kind in watched_types(specs, namespace):
        yield kind, (GOOD, BAD, EXCLUDED, UNKNOWN) if kind in outcomes else (OUTCOME_NONE,)


@dataclass(slots=True)
class Gauge:
    """Puts what the exporter did into a snapshot."""

    requests: Requests
    budgets: Mapping[str, Budget]
    watches: tuple[Watch, ...]
    reader: OutcomeReader | None

    def __call__(self, snapshot: Snapshot) -> Snapshot:
        """Return *snapshot* with what there was until now."""
        return dataclasses.replace(
            snapshot,
            requests=dict(self.requests),
            budgets={name: budget.rate for name, budget in self.budgets.items()},
            waited={name: budget.waited_seconds for name, budget in self.budgets.items()},
            outcomes_stopped=self.reader.stopped if self.reader else None,
            readings={watch.name: watch.reading for watch in self.watches if watch.reading},
        )


def _edges(specs: tuple[Spec, ...], namespace: str) -> tuple[int, ...]:
    """Return the edges of the duration buckets in milliseconds: one at every latency threshold of the spec."""
    return tuple(sorted({*EDGES, *(round(seconds * 1000) for seconds in latency_thresholds(specs, namespace))}))


def outcome_reader(settings: ExporterSettings, namespace: str, specs: tuple[Spec, ...]) -> OutcomeReader:
    """Return what reads the outcomes of *namespace*.

    Raises:
        UsageError: The data converter or the codec endpoint is wrong.
    """
    decode = converter_decode(_converter(settings, namespace), namespace)
    return OutcomeReader(spec_outcomes(specs, namespace), decode)


def _converter(settings: ExporterSettings, namespace: str) -> DataConverter:
    converter = load_converter(settings.data_converter, "--data-converter")
    if not settings.codec_endpoint:
        return converter
    if converter.payload_codec:
        raise UsageError(
            "--codec-endpoint", "the data converter has a codec of its own", "give one of --data-converter and this"
        )
    codec = RemoteCodec(settings.codec_endpoint, namespace, authorization=settings.codec_authorization)
    return dataclasses.replace(converter, payload_codec=codec)
