"""What a poll publishes: figures and the exporter's own health, frozen."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from temporal_slo.exporter.sources.source import Reading
from temporal_slo.names.samples import Exemplar, Observations
from temporal_slo.runs.counted import BUCKET_BOUNDS_SECONDS, ClosedKey, FailureKey, RunningKey


class DurationKey(NamedTuple):
    """What durations are observed by."""

    workflow_type: str
    status: str
    outcome: str


class OverdueKey(NamedTuple):
    """What overdue runs are counted by."""

    workflow_type: str
    slo: str


@dataclass(frozen=True, slots=True)
class Figures:
    """What visibility said at one complete poll.

    Attributes:
        oldest_running_age: Seconds, by workflow type; 0 where none is open now but some were before.
        paused: Paused runs by workflow type.
        observed_minutes: Minutes judged, by SLO.
        overdue_minutes: Those of them that were overdue.
        others: Counters of the exporter itself.
        edges: Upper edges of the duration buckets, in seconds.
        measured_since: Close time from which the threshold of each latency SLO is measured, Unix time in seconds.
        exemplars: The newest run of each series whose runs went wrong.
        waiting: Closed runs that wait for their close event.
        covered_until: Close time up to which all was read but for `uncovered`, Unix time in seconds.
        audited_until: Close time up to which the server's count was compared with ours, Unix time in seconds.
        audit_drift: Runs that it counted beyond ours the last time; None before.
        uncovered: Seconds of close time that are still to be read.
    """

    closed: Mapping[ClosedKey, int] = field(default_factory=dict)
    durations: Mapping[DurationKey, Observations] = field(default_factory=dict)
    running: Mapping[RunningKey, int] = field(default_factory=dict)
    oldest_running_age: Mapping[str, float] = field(default_factory=dict)
    edges: tuple[float, ...] = BUCKET_BOUNDS_SECONDS
    overdue: Mapping[OverdueKey, int] = field(default_factory=dict)
    paused: Mapping[str, int] = field(default_factory=dict)
    observed_minutes: Mapping[str, int] = field(default_factory=dict)
    overdue_minutes: Mapping[str, int] = field(default_factory=dict)
    started: Mapping[RunningKey, int] = field(default_factory=dict)
    failures: Mapping[FailureKey, int] = field(default_factory=dict)
    others: Mapping[str, int] = field(default_factory=dict)
    measured_since: Mapping[str, float] = field(default_factory=dict)
    exemplars: Mapping[ClosedKey | FailureKey, Exemplar] = field(default_factory=dict)
    waiting: int = 0
    covered_until: float | None = None
    audited_until: float | None = None
    audit_drift: int | None = None
    uncovered: float = 0.0


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The state of one namespace's mirror after a poll, complete or not.

    Attributes:
        figures: Of the last complete poll; None before the first.
        trouble: Why the last poll was not complete; None if it was.
        last_success: When the last complete poll ended, Unix time in seconds; None before the first.
        poll_duration: Seconds that the last poll took; None before the first.
        requests: Requests so far, by API and code of the answer.
        outcomes_stopped: Whether business outcomes are no longer read; None if none were asked for.
        waited: Seconds that requests have waited for their turn so far, by budget.
        budgets: Requests a second that each budget allows.
        readings: What each source beside the mirror told, by name.
    """

    temporal_namespace: str
    figures: Figures | None = None
    trouble: str | None = None
    last_success: float | None = None
    poll_duration: float | None = None
    requests: Mapping[tuple[str, str], int] = field(default_factory=dict)
    waited: Mapping[str, float] = field(default_factory=dict)
    budgets: Mapping[str, float] = field(default_factory=dict)
    outcomes_stopped: bool | None = None
    readings: Mapping[str, Reading] = field(default_factory=dict)
