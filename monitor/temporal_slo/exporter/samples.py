"""What the exposition is made of: families, their series, and the values of these."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from temporal_slo.names import Family


class Durations(NamedTuple):
    """A histogram of durations.

    Attributes:
        counts: Observations in each bucket, not cumulative; the last one is above every edge.
        total: Sum of the observations, in seconds.
    """

    counts: tuple[int, ...]
    total: float


class Histogram(NamedTuple):
    """A histogram's value.

    Attributes:
        observed: A count for each edge, and one above them all.
        edges: Upper edges of the buckets in seconds, positive and ascending, without the infinite one.
    """

    observed: Durations
    edges: tuple[float, ...]


Value = float | Histogram
Labels = tuple[str, ...]
Rows = tuple[Family, Iterable[tuple[Labels, Value]]]
"""A family and its series: label values in the order of `Family.labels`, and the value."""


class Sample(NamedTuple):
    """One labelled value of a family."""

    family: Family
    labels: Mapping[str, str]
    value: Value
