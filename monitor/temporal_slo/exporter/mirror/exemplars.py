"""Exemplars: the newest failed or bad run of each counter."""

from collections.abc import Iterable, Iterator
from typing import Final

from temporal_slo.names.samples import Exemplar
from temporal_slo.names.values import BAD
from temporal_slo.runs.counted import ClosedKey, Counted, FailureKey
from temporal_slo.runs.microseconds import SECOND

SeriesKey = ClosedKey | FailureKey


class Exemplars:
    """Keeps the newest failed or bad run of each series, in memory only.

    Args:
        enabled: False where workflow ids must not leave the exporter: then none is kept.
    """

    def __init__(self, *, enabled: bool = True) -> None:
        self._enabled: Final = enabled
        self._newest: dict[SeriesKey, Exemplar] = {}

    def __len__(self) -> int:
        return len(self._newest)

    def get(self, key: SeriesKey) -> Exemplar | None:
        """Return the exemplar of a series, if it has one."""
        return self._newest.get(key)

    def add(self, runs: Iterable[Counted]) -> None:
        """Add runs that were counted."""
        for counted in runs if self._enabled else ():
            closed = counted.run.close_time / SECOND
            for key in _series(counted):
                # Close events arrive in any order; Prometheus refuses an exemplar older than the one it has.
                if key not in self._newest or self._newest[key].timestamp <= closed:
                    self._newest[key] = Exemplar(counted.run.workflow_id, counted.run.run_id, closed)


def _series(counted: Counted) -> Iterator[SeriesKey]:
    """Yield the series in which a failed or bad run is counted; none for any other run."""
    failed = bool(counted.classification.failure_type)
    if failed or counted.classification.outcome == BAD:
        yield counted.key
    if failed:
        yield counted.failure
