"""Adds the exporter's self-metrics to a snapshot."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

from temporal_slo.exporter.classify.outcome import OutcomeReader
from temporal_slo.exporter.exposition.snapshot import Snapshot
from temporal_slo.exporter.sources.source import Watch
from temporal_slo.temporal.gateway import RequestCounts
from temporal_slo.temporal.rate_limit import RateLimiter


@dataclass(slots=True)
class Gauge:
    """Puts what the exporter did into a snapshot."""

    requests: RequestCounts
    budgets: Mapping[str, RateLimiter]
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
