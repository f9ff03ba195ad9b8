"""What a poll publishes."""

from dataclasses import dataclass

from temporal_slo.names.samples import Sample


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The metrics of one namespace after a poll, complete or not; samples have no label `temporal_namespace`.

    Attributes:
        samples: From the last complete poll; empty before the first.
        error: Why the last poll was not complete; None if it was.
        last_success: When the last complete poll ended, Unix time in seconds; None before the first.
        poll_duration: Seconds that the last poll took; None before the first.
        self_metrics: The exporter's metrics about itself, and the metrics of the data sources.
    """

    temporal_namespace: str
    samples: tuple[Sample, ...] = ()
    error: str | None = None
    last_success: float | None = None
    poll_duration: float | None = None
    self_metrics: tuple[Sample, ...] = ()
