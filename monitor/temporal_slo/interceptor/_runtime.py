"""A runtime whose metrics have base units, whole names and buckets that fit."""

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
from temporal_slo.interceptor._rules import Objective, SpecPath, rules

WORKFLOW_BUCKETS: Final = (
    0.1,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
    30.0,
    60.0,
    120.0,
    300.0,
    900.0,
    3600.0,
    21600.0,
    86400.0,
)
"""Seconds. The SDK's own end at 10."""
SUFFIXING: Final = (1, 33)
"""The first SDK that gives custom counters their `_total`; older ones give it to their own alone."""
WAIT_BUCKETS: Final = (0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0)


def prometheus_runtime(
    *, bind_address: str, spec: SpecPath | None = None, objectives: Iterable[Objective] = ()
) -> Runtime:
    """Return a runtime that serves metrics to Prometheus; make one a process, before the client connects.

    All metrics of the SDK get seconds, `_seconds` and `_total` with it.

    Args:
        bind_address: Where to serve `/metrics`, as `host:port`.
        spec: Spec files or folders: each latency threshold becomes a bucket edge. Needs the `spec` extra.
        objectives: Their thresholds become bucket edges too.

    Raises:
        UsageError: The address is none, or the spec or an objective is not valid.
    """
    if not is_text(bind_address) or not re.fullmatch(r".+:\d+", bind_address):
        raise UsageError("bind_address", f"{bind_address!r} is not host:port", 'write for example "0.0.0.0:9000"')
    thresholds = {scoped.objective.threshold for scoped in rules(objectives, {}, spec, None).objectives}
    config = PrometheusConfig(
        bind_address=bind_address,
        counters_total_suffix=True,
        unit_suffix=True,
        durations_as_seconds=True,
        histogram_bucket_overrides=_buckets(thresholds),
    )
    runtime = Runtime(telemetry=TelemetryConfig(metrics=config))
    _whole_names.add(runtime)
    return runtime


_whole_names: Final[WeakSet[Runtime]] = WeakSet()
"""Runtimes made here: those of users may want names without suffixes."""


def counter_suffix(runtime: Runtime) -> str:
    """Return what the names of counters lack in *runtime*: older SDKs append nothing to them."""
    version = tuple(int(part) for part in __version__.split(".")[:2])
    return "_total" if runtime in _whole_names and version < SUFFIXING else ""


def _buckets(thresholds: Iterable[timedelta]) -> dict[str, list[float]]:
    # The SDK matches a key anywhere in a name: nothing shorter than ours whole, or other metrics would change too.
    edges = {*WORKFLOW_BUCKETS, *(threshold.total_seconds() for threshold in thresholds)}
    return {
        names.WORKFLOW_LATENCY.name.removesuffix("_seconds"): sorted(edges),
        names.ACTIVITY_SCHEDULE_TO_START.name.removesuffix("_seconds"): list(WAIT_BUCKETS),
    }
