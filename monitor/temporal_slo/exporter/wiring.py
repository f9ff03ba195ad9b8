"""How the parts of an exporter are put together from its settings."""

import dataclasses
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final

from temporalio.client import Client
from temporalio.converter import DataConverter

from temporal_slo.errors import LedgerError, UsageError
from temporal_slo.exporter.audit import Auditor
from temporal_slo.exporter.board import Board
from temporal_slo.exporter.budget import Budget
from temporal_slo.exporter.history import TemporalHistory
from temporal_slo.exporter.ledger import Ledger
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
from temporal_slo.exporter.state import EDGES, SECOND, OverdueRule, Promise
from temporal_slo.exporter.visibility import TemporalVisibility
from temporal_slo.names import OUTCOME_NONE
from temporal_slo.settings import ExporterSettings
from temporal_slo.spec.events import broken
from temporal_slo.spec.load import load
from temporal_slo.spec.model import Spec, latency_thresholds, overdue_slos, slos_of, spec_outcomes, watched_types

HISTORY_CONCURRENCY: Final = 8


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of an exporter that run."""

    board: Board
    poller: Poller
    settler: Settler


async def wire(settings: ExporterSettings, ledger: Ledger) -> Parts:
    """Return an exporter that goes on from what *ledger* knows.

    Raises:
        UsageError: A spec, the data converter or the codec endpoint is wrong, or the ledger cannot be read.
    """
    namespace = settings.connection["namespace"]
    specs = load([Path(path) for path in settings.specs]) if settings.specs else ()
    outcomes = spec_outcomes(specs, namespace)
    reader = OutcomeReader(outcomes, converter_decode(_converter(settings, namespace), namespace))
    try:
        state = await ledger.load(namespace)
    except LedgerError as error:
        raise UsageError("--ledger", f"cannot be read: {error}", "restore a copy, or give another ledger") from error
    state.edges = _edges(specs, namespace)
    state.overdue = tuple(
        OverdueRule(
            slo.name, slo.workflow, slo.task_queue, overdue.max_age // timedelta(microseconds=1), overdue.tolerate
        )
        for slo, overdue in overdue_slos(specs, namespace)
    )
    state.promises = tuple(
        Promise(slo.name, slo.workflow, slo.task_queue, is_broken)
        for slo in slos_of(specs, namespace)
        if (is_broken := broken(slo.sli))
    )
    state.watched = {
        kind: (GOOD, BAD, EXCLUDED, UNKNOWN) if kind in outcomes else (OUTCOME_NONE,)
        for kind in watched_types(specs, namespace)
    }
    board = await Board.of(ledger, namespace)
    client = await Client.connect(**settings.connection, lazy=True)
    budgets = {
        "visibility": Budget(settings.visibility_rate, 1),
        "history": Budget(settings.history_rate, HISTORY_CONCURRENCY),
    }
    requests = Requests()
    visibility = PacedVisibility(TemporalVisibility(client, namespace), budgets["visibility"], requests)
    history = PacedHistory(TemporalHistory(client, namespace), budgets["history"], requests)
    judge = Judge(reader, outcomes, state)
    mirror = Mirror(namespace, visibility, ledger, state, int(time.time() * SECOND), judge=judge.at_once)
    gauge = _Gauge(requests, budgets, reader if outcomes else None)
    auditor = Auditor(namespace, mirror, ledger, visibility)
    poller = Poller(namespace, mirror, gauge, board.put, audit=auditor.audit, interval=settings.poll_interval)
    return Parts(board, poller, Settler(namespace, mirror, ledger, history, judge=judge))


@dataclass(frozen=True, slots=True)
class _Gauge:
    """Puts what the exporter did into a snapshot."""

    requests: Requests
    budgets: Mapping[str, Budget]
    reader: OutcomeReader | None

    def __call__(self, snapshot: Snapshot) -> Snapshot:
        return dataclasses.replace(
            snapshot,
            requests=dict(self.requests),
            budgets={name: budget.rate for name, budget in self.budgets.items()},
            waited={name: budget.waited_seconds for name, budget in self.budgets.items()},
            outcomes_stopped=self.reader.stopped if self.reader else None,
        )


def _edges(specs: tuple[Spec, ...], namespace: str) -> tuple[int, ...]:
    """Return the edges of the duration buckets in milliseconds: one at every latency threshold of the spec."""
    return tuple(sorted({*EDGES, *(round(seconds * 1000) for seconds in latency_thresholds(specs, namespace))}))


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
