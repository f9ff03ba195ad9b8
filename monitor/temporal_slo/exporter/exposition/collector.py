"""Snapshots as metric families with their series."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib.metadata import version

from temporal_slo import names
from temporal_slo.exporter.exposition.snapshot import Snapshot
from temporal_slo.names.samples import FamilySeries, Labels, Sample, Value


def collect(snapshots: Sequence[Snapshot], process: Sequence[Sample] = ()) -> list[FamilySeries]:
    """Return every family of `names.EXPORTER_FAMILIES` with its series in all *snapshots*. Pure.

    Args:
        snapshots: One of each namespace.
        process: Metrics of the exporter process.

    Raises:
        ValueError: A sample does not have the labels that its family declares.
    """
    series: dict[names.Family, list[tuple[Labels, Value]]] = {family: [] for family in names.EXPORTER_FAMILIES}
    for sample in process:
        series[sample.family].append(_row(sample))
    for snapshot in snapshots:
        for sample in (*snapshot.samples, *_poll(snapshot), *snapshot.self_metrics):
            series[sample.family].append(_row(sample, snapshot.temporal_namespace))
    return list(series.items())


def _row(sample: Sample, namespace: str | None = None) -> tuple[Labels, Value]:
    family, labels = sample.family, sample.labels
    if namespace is not None:
        labels = {names.NAMESPACE: namespace, **labels}
    if labels.keys() != set(family.labels):
        raise ValueError(f"{family.name}: labels {sorted(labels)} are not {sorted(family.labels)}")
    return tuple(labels[name] for name in family.labels), sample.value


def _poll(snapshot: Snapshot) -> Iterator[Sample]:
    polled = snapshot.poll_duration is not None
    yield Sample(names.EXPORTER_UP, {}, int(polled and snapshot.error is None))
    if snapshot.last_success is not None:
        yield Sample(names.EXPORTER_LAST_SUCCESS, {}, snapshot.last_success)
    if snapshot.poll_duration is not None:
        yield Sample(names.EXPORTER_POLL_DURATION, {}, snapshot.poll_duration)


@cache
def build_info() -> Sample:
    """Return the metric with the version of the exporter."""
    return Sample(names.EXPORTER_BUILD_INFO, {names.VERSION: version("temporal-slo")}, 1)


def replace_values(families: Sequence[FamilySeries], values: Mapping[tuple[str, Labels], Value]) -> list[FamilySeries]:
    """Return *families* with the values of some series, by family name and labels, replaced."""
    return [
        (family, [(labels, values.get((family.name, labels), value)) for labels, value in rows])
        for family, rows in families
    ]
