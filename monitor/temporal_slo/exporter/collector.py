"""Snapshots as Prometheus metric families, and their two text formats."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from itertools import accumulate
from typing import NamedTuple

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import choose_encoder, generate_latest
from prometheus_client.openmetrics.exposition import CONTENT_TYPE_LATEST as OPENMETRICS
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from temporal_slo import names
from temporal_slo.exporter.snapshot import BUCKETS, Durations, Figures, Snapshot

TEXT = "text/plain; version=0.0.4; charset=utf-8"


class Sample(NamedTuple):
    """One labelled value of a family."""

    family: names.Family
    labels: Mapping[str, str]
    value: float | Durations


def collect(snapshots: Sequence[Snapshot]) -> list[Metric]:
    """Return every family of `names.EXPORTER_FAMILIES` with the samples of all *snapshots*; pure.

    Raises:
        ValueError: A sample's labels are not those that its family declares.
        TypeError: A sample's value does not fit the type of its family.
    """
    metrics = {family: _empty(family) for family in names.EXPORTER_FAMILIES}
    _add(metrics[names.EXPORTER_BUILD_INFO], _build_info())
    for snapshot in snapshots:
        for sample in _samples(snapshot):
            _add(metrics[sample.family], sample)
    return list(metrics.values())


@dataclass(frozen=True, slots=True)
class Exposition:
    """Both text formats of one set of snapshots, rendered once and served to every scrape."""

    text: bytes
    openmetrics: bytes

    def choose(self, accept: str) -> tuple[bytes, str]:
        """Return the body and the content type for an HTTP `Accept` header."""
        _, chosen = choose_encoder(accept)
        if chosen.startswith("application/openmetrics-text"):
            return self.openmetrics, OPENMETRICS
        return self.text, TEXT


def render(snapshots: Sequence[Snapshot]) -> Exposition:
    """Render *snapshots* in both formats."""
    metrics = _Collected(collect(snapshots))
    return Exposition(generate_latest(metrics), generate_openmetrics(metrics))  # type: ignore[no-untyped-call] # the library has it untyped


class _Collected(Collector):
    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        return self._metrics


def _samples(snapshot: Snapshot) -> Iterator[Sample]:
    namespace = snapshot.temporal_namespace
    for family, labels, value in (*_figures(snapshot.figures or Figures()), *_health(snapshot)):
        yield Sample(family, {names.NAMESPACE: namespace, **labels}, value)


def _figures(figures: Figures) -> Iterator[Sample]:
    for closed, count in figures.closed.items():
        yield Sample(names.WORKFLOWS_CLOSED, closed._asdict(), count)
    for duration, observed in figures.durations.items():
        yield Sample(names.WORKFLOW_DURATION, duration._asdict(), observed)
    for running, count in figures.running.items():
        yield Sample(names.WORKFLOWS_RUNNING, running._asdict(), count)
    for kind, age in figures.oldest_running_age.items():
        yield Sample(names.WORKFLOW_OLDEST_RUNNING_AGE, {names.WORKFLOW_TYPE: kind}, age)


def _health(snapshot: Snapshot) -> Iterator[Sample]:
    polled = snapshot.poll_duration is not None
    yield Sample(names.EXPORTER_UP, {}, float(polled and snapshot.trouble is None))
    if snapshot.last_success is not None:
        yield Sample(names.EXPORTER_LAST_SUCCESS, {}, snapshot.last_success)
    if snapshot.poll_duration is not None:
        yield Sample(names.EXPORTER_POLL_DURATION, {}, snapshot.poll_duration)
    for (api, code), count in snapshot.requests.items():
        yield Sample(names.EXPORTER_VISIBILITY_REQUESTS, {names.API: api, names.CODE: code}, count)
    yield Sample(names.EXPORTER_UNKNOWN_STATUS, {}, snapshot.unknown_status_rows)


def _build_info() -> Sample:
    return Sample(names.EXPORTER_BUILD_INFO, {names.VERSION: version("temporal-slo")}, 1)


def _empty(family: names.Family) -> Metric:
    if family.type == "histogram":
        return HistogramMetricFamily(family.name, family.help, labels=family.labels)
    if family.type == "counter":
        return CounterMetricFamily(family.name, family.help, labels=family.labels)
    return GaugeMetricFamily(family.name, family.help, labels=family.labels)


def _add(metric: Metric, sample: Sample) -> None:
    # prometheus_client zips names to values and drops the odd ones out in silence.
    if sample.labels.keys() != set(sample.family.labels):
        raise ValueError(f"{sample.family.name}: {sorted(sample.labels)} are not {sorted(sample.family.labels)}")
    values = [sample.labels[name] for name in sample.family.labels]
    if isinstance(metric, HistogramMetricFamily) and isinstance(sample.value, Durations):
        metric.add_metric(values, _buckets(sample.value), sample.value.total)
    elif isinstance(metric, CounterMetricFamily | GaugeMetricFamily) and not isinstance(sample.value, Durations):
        metric.add_metric(values, sample.value)
    else:
        raise TypeError(f"{sample.family.name}: {sample.value!r} does not fit a {metric.type}")


def _buckets(observed: Durations) -> list[tuple[str, float]]:
    edges = [*map(floatToGoString, BUCKETS), "+Inf"]
    return list(zip(edges, accumulate(observed.counts), strict=True))
