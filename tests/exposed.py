"""Samples for assertions, by family and label values."""

from collections.abc import Iterable
from typing import Any

from temporal_slo import names
from temporal_slo.exporter.exposition.snapshot import Snapshot
from temporal_slo.exporter.mirror.mirror import Mirror
from temporal_slo.names.samples import Exemplar, Histogram, Sample, ValueWithExemplar
from temporal_slo.runs.counted import ClosedKey, FailureKey, RunningKey

Key = tuple[str, ...]


class Exposed:
    """Samples of one namespace.

    Args:
        samples: Samples of a mirror or of a snapshot.
    """

    def __init__(self, samples: Iterable[Sample]) -> None:
        self.samples = list(samples)

    def series(self, family: names.Family) -> dict[Key, Any]:
        """Return the values of a family by its label values in declared order, without the namespace."""
        found: dict[Key, Any] = {}
        for sample in self.samples:
            if sample.family is family:
                key = tuple(sample.labels[name] for name in family.labels if name != names.NAMESPACE)
                assert key not in found, f"{family.name}{key} is a duplicate"
                found[key] = sample.value.value if isinstance(sample.value, ValueWithExemplar) else sample.value
        return found

    def one(self, family: names.Family) -> Any:  # noqa: ANN401 a number or a histogram
        """Return the value of a family with one series; None if it is not exposed."""
        return self.series(family).get(())

    def by(self, family: names.Family) -> dict[str, Any]:
        """Return the values of a family with one label, by its value."""
        return {key: value for (key,), value in self.series(family).items()}

    @property
    def closed(self) -> dict[ClosedKey, int]:
        """Closed runs by series."""
        return {ClosedKey(*key): value for key, value in self.series(names.WORKFLOWS_CLOSED).items()}

    @property
    def started(self) -> dict[RunningKey, int]:
        """Started runs by series."""
        return {RunningKey(*key): value for key, value in self.series(names.WORKFLOWS_STARTED).items()}

    @property
    def running(self) -> dict[RunningKey, int]:
        """Running runs by series."""
        return {RunningKey(*key): value for key, value in self.series(names.WORKFLOWS_RUNNING).items()}

    @property
    def paused(self) -> dict[str, int]:
        """Paused runs by workflow type."""
        return self.by(names.WORKFLOWS_PAUSED)

    @property
    def failures(self) -> dict[FailureKey, int]:
        """Failures by series."""
        return {FailureKey(*key): value for key, value in self.series(names.WORKFLOW_FAILURES).items()}

    @property
    def durations(self) -> dict[Key, Histogram]:
        """Observations by workflow type, status and outcome."""
        return self.series(names.WORKFLOW_DURATION)

    @property
    def gap(self) -> float:
        """Seconds of close time that are not ingested yet."""
        return float(self.one(names.EXPORTER_GAP))

    @property
    def oldest_running_age(self) -> dict[str, float]:
        """Age in seconds by workflow type."""
        return self.by(names.WORKFLOW_OLDEST_RUNNING_AGE)

    @property
    def overdue(self) -> dict[Key, int]:
        """Overdue runs by workflow type and SLO."""
        return self.series(names.WORKFLOWS_OVERDUE)

    @property
    def observed_minutes(self) -> dict[str, int]:
        """Evaluated minutes by SLO."""
        return self.by(names.OBSERVED_MINUTES)

    @property
    def overdue_minutes(self) -> dict[str, int]:
        """Overdue minutes by SLO."""
        return self.by(names.OVERDUE_MINUTES)

    @property
    def counters(self) -> dict[names.Family, int]:
        """Counters of the exporter itself that are not 0."""
        return {family: value for family in names.STORED_COUNTERS if (value := self.one(family))}

    @property
    def exemplars(self) -> dict[ClosedKey | FailureKey, Exemplar]:
        """Exemplars by series."""
        kinds: dict[names.Family, type[ClosedKey | FailureKey]] = {
            names.WORKFLOWS_CLOSED: ClosedKey,
            names.WORKFLOW_FAILURES: FailureKey,
        }
        return {
            kinds[sample.family](**sample.labels): sample.value.exemplar
            for sample in self.samples
            if isinstance(sample.value, ValueWithExemplar)
        }


def exposed(mirror: Mirror, now: int) -> Exposed:
    """Return what *mirror* exposes at *now*, in microseconds of Unix time."""
    return Exposed(mirror.samples(now))


def published(snapshot: Snapshot) -> Exposed:
    """Return the samples of a snapshot, from its last complete poll."""
    return Exposed(snapshot.samples)
