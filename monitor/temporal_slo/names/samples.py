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


class Exemplar(NamedTuple):
    """The run that a counter counted last.

    Attributes:
        workflow_id: As its application named it: anything.
        run_id: As the server named it.
        timestamp: When the run closed, Unix time in seconds.
    """

    workflow_id: str
    run_id: str
    timestamp: float


class Exemplified(NamedTuple):
    """A counter's value with an exemplar, for the format that has them."""

    value: float
    exemplar: Exemplar


Value = float | Histogram | Exemplified
Labels = tuple[str, ...]
Rows = tuple[Family, Iterable[tuple[Labels, Value]]]
"""A family and its series: label values in the order of `Family.labels`, and the value."""


class Sample(NamedTuple):
    """One labelled value of a family."""

    family: Family
    labels: Mapping[str, str]
    value: Value
