"""Metric families, their series, and the values of these, as the exposition renders them."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from temporal_slo.names import Family


class Observations(NamedTuple):
    """What a histogram has observed.

    Attributes:
        counts: Observations per bucket, not cumulative; the last bucket is `+Inf`.
        total: Sum of the observations, in seconds.
    """

    counts: tuple[int, ...]
    total: float


class Histogram(NamedTuple):
    """The value of a histogram series.

    Attributes:
        observed: One count per bucket bound, and one for `+Inf`.
        bounds: Upper bounds of the buckets in seconds, positive and ascending, without `+Inf`.
    """

    observed: Observations
    bounds: tuple[float, ...]


class Exemplar(NamedTuple):
    """The workflow run that last incremented a counter.

    Attributes:
        workflow_id: Chosen by the application: any string.
        run_id: Assigned by the server.
        timestamp: Close time of the run, Unix time in seconds.
    """

    workflow_id: str
    run_id: str
    timestamp: float


class ValueWithExemplar(NamedTuple):
    """A counter's value with an exemplar; only the OpenMetrics format exposes the exemplar."""

    value: float
    exemplar: Exemplar


Value = float | Histogram | ValueWithExemplar
Labels = tuple[str, ...]
FamilySeries = tuple[Family, Iterable[tuple[Labels, Value]]]
"""A family and its series: label values in the order of `Family.labels`, and the value."""


class Sample(NamedTuple):
    """One value of a family, with its labels by name."""

    family: Family
    labels: Mapping[str, str]
    value: Value
