"""A runtime whose metrics have base units, standard suffixes and buckets that suit the objectives."""

import re
from collections.abc import Iterable
from datetime import timedelta
from typing import Final
from weakref import WeakSet

from temporalio.runtime import PrometheusConfig, Runtime, TelemetryConfig
from temporalio.service import __version__

from temporal_slo import names
from temporal_slo.errors import UsageError
from temporal_slo.interceptor._labels import is_text
from temporal_slo.interceptor._rules import Objective, SpecPath, make_rules

WORKFLOW_BUCKETS: Final = (
    *(0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0),
    *(120.0, 300.0, 900.0, 3600.0, 21600.0, 86400.0),
)
"""Bucket bounds in seconds. The SDK's default buckets end at 10 s."""
SCHEDULE_TO_START_BUCKETS: Final = (0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0)
"""Bucket bounds in seconds."""
TOTAL_SUFFIX_SINCE: Final = (1, 33)
"""First SDK that appends `_total` to custom counters; older ones append it to their own counters only."""


def prometheus_runtime(
    *, bind_address: str, spec: SpecPath | None = None, objectives: Iterable[Objective] = ()
) -> Runtime:
    """Return a runtime that serves metrics to Prometheus. Create one per process, before the client connects.

    With this runtime all metrics of the SDK are in seconds and have the suffixes `_seconds` and `_total`.

    Args:
        bind_address: Address that serves `/metrics`, as `host:port`.
        spec: Spec files or folders; each latency threshold becomes a bucket bound. Requires the `spec` extra.
        objectives: Latency objectives whose thresholds become bucket bounds, too.

    Raises:
        UsageError: The address, a spec or an objective is invalid.
    """
    if not is_text(bind_address) or not re.fullmatch(r".+:\d+", bind_address):
        raise UsageError("bind_address", f"{bind_address!r} is not host:port", 'write for example "0.0.0.0:9000"')
    thresholds = {scoped.objective.threshold for scoped in make_rules(objectives, {}, spec, None).objectives}
    config = PrometheusConfig(
        bind_address=bind_address,
        counters_total_suffix=True,
        unit_suffix=True,
        durations_as_seconds=True,
        histogram_bucket_overrides=_buckets(thresholds),
    )
    runtime = Runtime(telemetry=TelemetryConfig(metrics=config))
    _suffixed_runtimes.add(runtime)
    return runtime


_suffixed_runtimes: Final[WeakSet[Runtime]] = WeakSet()
"""Runtimes made by `prometheus_runtime`; users may want no suffixes in runtimes of their own."""


def counter_suffix(runtime: Runtime) -> str:
    """Return the suffix to append to counter names in *runtime*, for SDKs that do not append it."""
    version = tuple(int(part) for part in __version__.split(".")[:2])
    return "_total" if runtime in _suffixed_runtimes and version < TOTAL_SUFFIX_SINCE else ""


def _buckets(thresholds: Iterable[timedelta]) -> dict[str, list[float]]:
    # The SDK matches a key anywhere in a metric name: a key shorter than our full names would match other metrics.
    bounds = {*WORKFLOW_BUCKETS, *(threshold.total_seconds() for threshold in thresholds)}
    return {
        names.WORKFLOW_LATENCY.name.removesuffix("_seconds"): sorted(bounds),
        names.ACTIVITY_SCHEDULE_TO_START.name.removesuffix("_seconds"): list(SCHEDULE_TO_START_BUCKETS),
    }
