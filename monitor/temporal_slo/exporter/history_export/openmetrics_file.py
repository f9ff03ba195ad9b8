"""Series of the past as OpenMetrics text with timestamps, which promtool makes blocks of."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple, TypeVar

from temporal_slo import names
from temporal_slo.errors import UsageError
from temporal_slo.exporter.exposition.escaping import braced, escaped
from temporal_slo.exporter.exposition.renderer import encoded, heads, number

V = TypeVar("V")

HEARTBEAT: Final = 240_000
"""Milliseconds between two samples of a value that stays: Prometheus takes a series for gone after five minutes."""

RARE: Final = 3_600_000
"""The same for a series of many lines, where one in each hour must do: sums over hours and days need no more."""

BLOCKS: Final = "--max-block-duration=256h"
"""Without it promtool reads the whole file once for every two hours in it."""

OPTION: Final = "--openmetrics"


class Window(NamedTuple):
    """When there are samples; all in milliseconds, the first two of Unix time.

    Attributes:
        end: Of the last sample: the exposed series begin after it, at 0, which Prometheus reads as a reset.
        step: Between two samples; they lie on whole multiples of it, but for the last.
    """

    begin: int
    end: int
    step: int

    def sample(self, moment: int) -> int:
        """Return the time of the first sample that tells of what happened before *moment*."""
        return min(-(-moment // self.step) * self.step, self.end)


@dataclass(frozen=True)
class PastSeries:
    """A series of the past.

    Attributes:
        suffixes: What follows the family's name on each line: for a histogram one line a bucket.
        samples: Time in milliseconds, and a value for each of the lines.
    """

    suffixes: Sequence[str]
    samples: Iterable[tuple[int, Sequence[float]]]


@dataclass(frozen=True)
class PastFamily:
    """A family with its series of the past, read once and in their order; recorded series of rules are such too."""

    family: names.Family
    series: Iterable[PastSeries]


class Tally(NamedTuple):
    """What was written."""

    series: int = 0
    samples: int = 0


def sampled(
    changes: Iterable[tuple[int, V]], zero: V, window: Window, heartbeat: int = HEARTBEAT
) -> Iterator[tuple[int, V]]:
    """Yield the samples of a counter: at 0 before its first change, around each change, and often enough between.

    Args:
        changes: A moment in milliseconds, rising, and the value from just before it on.
        zero: What it begins at.
        window: When there are samples.
        heartbeat: Milliseconds between two samples at most, or a step if that is longer.
    """
    last, value = 0, zero
    for moment, group in groupby(changes, lambda change: window.sample(change[0])):
        if not last:
            last = _before(moment, window)
            yield last, zero
        for between in _between(last, moment, window, heartbeat):
            yield between, value
        last, value = moment, list(group)[-1][1]
        yield last, value
    if last:
        for between in _between(last, window.end, window, heartbeat):
            yield between, value
        if last < window.end:
            yield window.end, value


def _before(moment: int, window: Window) -> int:
    return (moment - 1) // window.step * window.step


def _between(last: int, moment: int, window: Window, heartbeat: int) -> Iterator[int]:
    """Yield times after *last* and before *moment*, the sample just before that among them."""
    stride = max(heartbeat // window.step, 1) * window.step
    before = _before(moment, window)
    yield from range(_before(last + 1, window) + stride, before, stride)
    if before > last:
        yield before


def counter_suffix(labels: Mapping[str, str]) -> list[str]:
    """Return what follows the name of a counter with *labels*."""
    return [f"_total{braced(_pairs(labels))}"]


def histogram_suffixes(labels: Mapping[str, str], edges: Sequence[str]) -> list[str]:
    """Return what follows the name of a histogram with *labels*: a line for each of *edges*, and the count."""
    buckets = [f"_bucket{braced(_pairs({**labels, 'le': edge}))}" for edge in edges]
    return [*buckets, f"_count{braced(_pairs(labels))}"]


def _pairs(labels: Mapping[str, str]) -> list[tuple[str, str]]:
    return sorted((name, escaped(value)) for name, value in labels.items())


def write(file: BinaryIO, families: Iterable[PastFamily]) -> Tally:
    """Write *families* as OpenMetrics, one sample in memory at a time; return what was written.

    Raises:
        OSError: It could not be written.
    """
    series = samples = 0
    for past in families:
        file.write(heads(past.family)[1])
        for one in past.series:
            series += len(one.suffixes)
            lines = [past.family.name + suffix for suffix in one.suffixes]
            for moment, values in one.samples:
                samples += len(lines)
                at = f"{moment // 1000}.{moment % 1000:03}"
                text = "".join(f"{line} {number(value)} {at}\n" for line, value in zip(lines, values, strict=True))
                file.write(encoded(text))
    file.write(b"# EOF\n")
    return Tally(series, samples)


@contextmanager
def replaced(path: Path) -> Iterator[BinaryIO]:
    """Give a file that appears at *path* when the body ends well, whole, and else leaves nothing behind.

    Raises:
        UsageError: There is a file, or it cannot be written.
    """
    where = f"{OPTION} {path}"
    if path.exists():
        raise UsageError(where, "is there already", "give another name, or remove it")
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with part.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.rename(path)
    except OSError as error:
        remedy = "give a place that can be written and has room"
        raise UsageError(where, f"cannot be written: {error.strerror}", remedy) from error
    finally:
        with suppress(OSError):
            part.unlink()
