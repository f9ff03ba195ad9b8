"""Writes series with their history as OpenMetrics text with timestamps, from which promtool makes blocks."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple, TypeVar

from temporal_slo import names
from temporal_slo.errors import UsageError
from temporal_slo.exporter.exposition.escaping import escaped, label_set
from temporal_slo.exporter.exposition.renderer import encoded, family_headers, number_text

V = TypeVar("V")

MAX_SAMPLE_INTERVAL: Final = 240_000
"""Maximum milliseconds between two samples of a constant value: Prometheus drops a series as stale after 5 minutes."""

MAX_HISTOGRAM_SAMPLE_INTERVAL: Final = 3_600_000
"""The same for histograms, which have many lines a sample; ranges of hours and days need no more samples."""

PROMTOOL_OPTION: Final = "--max-block-duration=256h"
"""Without it promtool reads the whole file once for every two hours in it."""

OPTION: Final = "--openmetrics"


class Window(NamedTuple):
    """Time range of the samples, in milliseconds; the first two of Unix time.

    Attributes:
        end: Time of the last sample. The exposed series start after it, at 0, which Prometheus reads as a reset.
        step: Interval between samples; their times are multiples of it, except the last.
    """

    begin: int
    end: int
    step: int

    def sample_time(self, moment: int) -> int:
        """Return the time of the first sample that includes what happened before *moment*."""
        return min(-(-moment // self.step) * self.step, self.end)


@dataclass(frozen=True)
class ExportedSeries:
    """A series with its samples.

    Attributes:
        suffixes: Text after the family name on each line of a sample; a histogram has one line per bucket.
        samples: Time in milliseconds of Unix time, and one value per line.
    """

    suffixes: Sequence[str]
    samples: Iterable[tuple[int, Sequence[float]]]


@dataclass(frozen=True)
class ExportedFamily:
    """A metric family or recorded series; its series can be read only once, in order."""

    family: names.Family
    series: Iterable[ExportedSeries]


class WrittenCounts(NamedTuple):
    """Numbers of series and samples written."""

    series: int = 0
    samples: int = 0


def counter_samples(
    changes: Iterable[tuple[int, V]], zero: V, window: Window, max_interval: int = MAX_SAMPLE_INTERVAL
) -> Iterator[tuple[int, V]]:
    """Yield the samples of a counter: 0 before its first change, one before and one after each change.

    Args:
        changes: Time in milliseconds, ascending, and the value from just before that time on.
        zero: Initial value.
        window: Time range of the samples.
        max_interval: Maximum milliseconds between two samples, or a step if that is longer.
    """
    last, value = 0, zero
    for moment, group in groupby(changes, lambda change: window.sample_time(change[0])):
        if not last:
            last = _before(moment, window)
            yield last, zero
        for between in _between(last, moment, window, max_interval):
            yield between, value
        last, value = moment, list(group)[-1][1]
        yield last, value
    if last:
        for between in _between(last, window.end, window, max_interval):
            yield between, value
        if last < window.end:
            yield window.end, value


def _before(moment: int, window: Window) -> int:
    """Return the last sample time before *moment*."""
    return (moment - 1) // window.step * window.step


def _between(last: int, moment: int, window: Window, max_interval: int) -> Iterator[int]:
    """Yield sample times after *last* and before *moment*, including the last one before *moment*."""
    stride = max(max_interval // window.step, 1) * window.step
    before = _before(moment, window)
    yield from range(_before(last + 1, window) + stride, before, stride)
    if before > last:
        yield before


def counter_suffix(labels: Mapping[str, str]) -> list[str]:
    """Return the suffix of the line of a counter with *labels*."""
    return [f"_total{label_set(_pairs(labels))}"]


def histogram_suffixes(labels: Mapping[str, str], bounds: Sequence[str]) -> list[str]:
    """Return the suffixes of the lines of a histogram with *labels*: one for each of *bounds*, and the count."""
    buckets = [f"_bucket{label_set(_pairs({**labels, 'le': bound}))}" for bound in bounds]
    return [*buckets, f"_count{label_set(_pairs(labels))}"]


def _pairs(labels: Mapping[str, str]) -> list[tuple[str, str]]:
    return sorted((name, escaped(value)) for name, value in labels.items())


def write(file: BinaryIO, families: Iterable[ExportedFamily]) -> WrittenCounts:
    """Write *families* as OpenMetrics, with one sample in memory at a time.

    Raises:
        OSError: The file could not be written.
    """
    series_count = sample_count = 0
    for exported in families:
        file.write(family_headers(exported.family)[1])
        for series in exported.series:
            series_count += len(series.suffixes)
            lines = [exported.family.name + suffix for suffix in series.suffixes]
            for moment, values in series.samples:
                sample_count += len(lines)
                time = f"{moment // 1000}.{moment % 1000:03}"
                pairs = zip(lines, values, strict=True)
                file.write(encoded("".join(f"{line} {number_text(value)} {time}\n" for line, value in pairs)))
    file.write(b"# EOF\n")
    return WrittenCounts(series_count, sample_count)


@contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """Open a file that appears at *path* only when the body succeeds; a failure leaves no file.

    Raises:
        UsageError: The file exists already, or cannot be written.
    """
    where = f"{OPTION} {path}"
    if path.exists():
        raise UsageError(where, "already exists", "choose another name, or remove the file")
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(path)
    except OSError as error:
        remedy = "choose a writable folder with enough space"
        raise UsageError(where, f"cannot be written: {error.strerror}", remedy) from error
    finally:
        with suppress(OSError):
            temporary.unlink()
