"""Values of a runtime's metrics, read from the SDK's metric buffer."""

from collections import Counter
from collections.abc import Iterator

from temporalio.runtime import MetricBuffer, MetricBufferDurationFormat, Runtime, TelemetryConfig

from temporal_slo import names
from temporal_slo.names import Family

Labels = tuple[str, ...]


class Metrics:
    """A runtime that buffers its metrics.

    Attributes:
        runtime: The runtime to pass to clients.
    """

    def __init__(self) -> None:
        self._buffer = MetricBuffer(1_000_000, MetricBufferDurationFormat.SECONDS)
        self.runtime = Runtime(telemetry=TelemetryConfig(metrics=self._buffer))
        self._counts: dict[str, Counter[frozenset[tuple[str, str]]]] = {}
        self._durations: dict[str, list[tuple[dict[str, str], float]]] = {}

    def _read(self) -> None:
        for update in self._buffer.retrieve_updates():
            name = update.metric.name
            attributes = {key: str(value) for key, value in update.attributes.items()}
            if "latency" in name or "schedule_to_start" in name:
                self._durations.setdefault(name, []).append((attributes, float(update.value)))
            elif name.startswith(names.PREFIX):
                self._counts.setdefault(name, Counter())[frozenset(attributes.items())] += int(update.value)

    def counts(self, family: Family, task_queue: str | None = None) -> dict[Labels, int]:
        """Return counter values by the labels without the namespace (and without *task_queue*, if given)."""
        self._read()
        return dict(self._select(family, task_queue))

    def _select(self, family: Family, task_queue: str | None) -> Iterator[tuple[Labels, int]]:
        hidden = {names.NAMESPACE} | ({names.TASK_QUEUE} if task_queue else set())
        for attributes, value in self._counts.get(family.name, Counter()).items():
            labels = dict(attributes)
            assert set(family.labels) <= set(labels), labels
            if value and task_queue in (None, labels.get(names.TASK_QUEUE)):
                yield tuple(labels[name] for name in family.labels if name not in hidden), value

    def seconds(self, family: Family, task_queue: str) -> list[tuple[dict[str, str], float]]:
        """Return the observations on a task queue, in seconds, with their labels."""
        self._read()
        observed = self._durations.get(family.name.removesuffix("_seconds"), [])
        return [(labels, value) for labels, value in observed if labels.get(names.TASK_QUEUE) == task_queue]

    def ends(self, task_queue: str) -> dict[Labels, int]:
        """Return workflow ends on a task queue by workflow type, child, status, outcome and failure type."""
        return self.counts(names.WORKFLOW_ENDS, task_queue)

    def closed(self, task_queue: str) -> Counter[tuple[str, str]]:
        """Return workflow ends on a task queue by workflow type and status."""
        found: Counter[tuple[str, str]] = Counter()
        for (type_, _, status, _, _), value in self.ends(task_queue).items():
            found[type_, status] += value
        return found
