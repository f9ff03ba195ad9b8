"""Duration of scrapes: `python -m tests.bench.bench_scrape [types]`."""

import gzip
import http.client
import json
import multiprocessing
import random
import socket
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from itertools import accumulate, count
from typing import Final

import uvicorn
from fastapi import FastAPI
from prometheus_client import generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import CollectorRegistry

from temporal_slo import names
from temporal_slo.exporter.exposition.collector import collect
from temporal_slo.exporter.exposition.publisher import Publisher
from temporal_slo.exporter.exposition.renderer import Renderer
from temporal_slo.exporter.exposition.snapshot import Snapshot
from temporal_slo.exporter.http import create_app
from temporal_slo.names.samples import FamilySeries, Histogram, Labels, Observations, Sample, Value, ValueWithExemplar
from temporal_slo.runs.counted import BUCKET_BOUNDS_SECONDS

STATUSES: Final = ("completed", "failed", "timed_out", "canceled", "terminated")
ACCEPT: Final = "application/openmetrics-text;version=1.0.0;q=0.8,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
SHARE: Final = 0.05
"""Share of the histograms that change between two publishes."""


class Load:
    """Families of a busy exporter; the same seed gives the same values.

    Args:
        types: Number of workflow types, each with every status.
    """

    def __init__(self, types: int, seed: int = 7) -> None:
        self._random = random.Random(seed)  # noqa: S311 no secret
        self._types = [f"BookingWorkflow{number:04}" for number in range(types)]
        self._durations: dict[Labels, Histogram] = {
            ("shop", kind, status, "none"): self._histogram() for kind in self._types for status in STATUSES
        }

    def grow(self, share: float) -> None:
        """Add one observation to *share* of the histograms."""
        for labels in self._random.sample(list(self._durations), round(len(self._durations) * share)):
            counts, total = self._durations[labels].observed
            more = self._random.randrange(len(counts))
            counts = (*counts[:more], counts[more] + 1, *counts[more + 1 :])
            self._durations[labels] = Histogram(
                Observations(counts, total + self._random.random()), BUCKET_BOUNDS_SECONDS
            )

    def snapshot(self) -> Snapshot:
        """Return a snapshot to publish."""
        ages = self._random.random()
        return Snapshot("shop", tuple(self._samples(ages)), poll_duration=0.125, last_success=1_700_000_000.5)

    def _samples(self, ages: float) -> Iterator[Sample]:
        for (_, *labels), histogram in self._durations.items():
            duration = dict(zip(names.WORKFLOW_DURATION.labels[1:], labels, strict=True))
            closed = {**duration, names.TASK_QUEUE: "rides"}
            yield Sample(names.WORKFLOWS_CLOSED, closed, sum(histogram.observed.counts))
            yield Sample(names.WORKFLOW_DURATION, duration, histogram)
        for number, kind in enumerate(self._types):
            workflow_type = {names.WORKFLOW_TYPE: kind}
            yield Sample(names.WORKFLOWS_RUNNING, {**workflow_type, names.TASK_QUEUE: "rides"}, 17)
            yield Sample(names.WORKFLOW_OLDEST_RUNNING_AGE, workflow_type, ages + number)

    def families(self) -> list[FamilySeries]:
        """Return the families to render."""
        return collect([self.snapshot()])

    @property
    def closed(self) -> int:
        """Total number of closed runs."""
        return sum(sum(histogram.observed.counts) for histogram in self._durations.values())

    def _histogram(self) -> Histogram:
        counts = tuple(self._random.randrange(300) for _ in range(len(BUCKET_BOUNDS_SECONDS) + 1))
        return Histogram(Observations(counts, self._random.random() * 1e4), BUCKET_BOUNDS_SECONDS)


def by_library(rows: list[FamilySeries]) -> bytes:
    """Return *rows* as rendered by prometheus_client."""
    registry = CollectorRegistry()
    metrics = [_metric(family, list(series)) for family, series in rows]
    registry.collect = lambda: iter(metrics)  # type: ignore[method-assign] # already collected
    return generate_latest(registry)


def _metric(
    family: names.Family, series: list[tuple[Labels, Value]]
) -> CounterMetricFamily | GaugeMetricFamily | HistogramMetricFamily:
    if family.type == "histogram":
        histogram = HistogramMetricFamily(family.name, family.help, labels=family.labels)
        for labels, value in series:
            assert isinstance(value, Histogram)
            bounds = [*map(str, value.bounds), "+Inf"]
            counts = accumulate(value.observed.counts)
            histogram.add_metric(labels, list(zip(bounds, counts, strict=True)), value.observed.total)
        return histogram
    cls = CounterMetricFamily if family.type == "counter" else GaugeMetricFamily
    number = cls(family.name, family.help, labels=family.labels)
    for labels, value in series:
        assert not isinstance(value, Histogram | ValueWithExemplar)
        number.add_metric(labels, value)
    return number


class Site:
    """Publishes growing values with the publisher of the exporter."""

    def __init__(self, types: int) -> None:
        self._load = Load(types)
        # As after a restart: every series was released before.
        self._counters = [
            json.dumps([family.name, labels])
            for family, rows in self._load.families()
            if family in names.DURABLE_FAMILIES
            for labels, _ in rows
        ]
        self.publisher = Publisher(self)

    async def released(self, namespace: str) -> list[str]:
        """Return every counter."""
        assert namespace
        return self._counters

    async def mark_released(self, namespace: str, series: Iterable[str]) -> None:
        """Fail: there are no new series."""
        raise AssertionError(f"{len(list(series))} series of {namespace} are new")

    async def publish(self) -> dict[str, float]:
        """Publish grown values; return the duration in seconds and the number of closed runs."""
        self._load.grow(SHARE)
        snapshot = self._load.snapshot()
        if not self.publisher.snapshots:
            await self.publisher.join(snapshot.temporal_namespace)
        started = time.perf_counter()
        await self.publisher.put(snapshot)
        return {"seconds": time.perf_counter() - started, "closed": self._load.closed}


def make_app(types: int) -> FastAPI:
    """Return the application of the exporter, with an endpoint that publishes."""
    site = Site(types)
    app = create_app(site.publisher)

    @app.post("/publish")
    async def publish() -> dict[str, float]:
        return await site.publish()

    return app


def _serve(listener: socket.socket, types: int) -> None:
    config = uvicorn.Config(make_app(types), log_config=None, access_log=False, lifespan="off")
    uvicorn.Server(config).run(sockets=[listener])


@contextmanager
def served(types: int) -> Iterator[int]:
    """Serve *types* workflow types in a child process; yield its port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        # asyncio sets this only for sockets with a protocol; without it a small response waits 40 ms for the delayed
        # acknowledgement of its headers.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # A new interpreter, like the exporter; connections wait in the backlog until it accepts.
        child = multiprocessing.get_context("spawn").Process(target=_serve, args=(listener, types), daemon=True)
        child.start()
        port: int = listener.getsockname()[1]
    try:
        yield port
    finally:
        child.terminate()
        child.join(10)


class Scraper:
    """A client with one persistent connection, like Prometheus."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def scrape(self, encoding: str) -> tuple[float, bytes]:
        """Return the seconds from the request to the last byte of the response, and its body."""
        started = time.perf_counter()
        self._connection.request("GET", "/metrics", headers={"Accept": ACCEPT, "Accept-Encoding": encoding})
        body = self._connection.getresponse().read()
        return time.perf_counter() - started, body

    def publish(self) -> dict[str, float]:
        """Trigger a publish; return the result of `Site.publish`."""
        self._connection.request("POST", "/publish")
        response: dict[str, float] = json.loads(self._connection.getresponse().read())
        return response

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


@dataclass
class Result:
    """Measurements, in seconds and bytes.

    Attributes:
        scrapes: Durations of scrapes, by kind.
        bodies: Last body, by encoding.
        closed: Closed runs at the last publish.
        renders: Durations of renders, by kind.
    """

    scrapes: dict[str, list[float]] = field(default_factory=dict)
    bodies: dict[str, bytes] = field(default_factory=dict)
    closed: float = 0
    renders: dict[str, list[float]] = field(default_factory=dict)

    def p95(self, kind: str) -> float:
        """Return the 95th percentile of one kind of scrapes, in seconds."""
        return quantile(self.scrapes[kind], 0.95)

    @property
    def text(self) -> str:
        """Last exposition between polls."""
        return self.bodies["identity"].decode()


def quantile(values: list[float], share: float) -> float:
    """Return the smallest of *values* that *share* of them do not exceed."""
    return sorted(values)[max(0, -(-len(values) * round(share * 100) // 100) - 1)]


def measure(types: int, scrapes: int = 200) -> Result:
    """Scrape an exporter of *types* workflow types, and render the same number in this process."""
    result = Result()
    with served(types) as port:
        scraper = Scraper(port)
        for encoding in ("gzip", "identity"):
            _between(scraper, encoding, scrapes, result)
        for encoding in ("gzip", "identity"):
            _during(scraper, Scraper(port), encoding, scrapes, result)
        scraper.close()
    _renders(types, result)
    return result


def _between(scraper: Scraper, encoding: str, scrapes: int, result: Result) -> None:
    times, unpacked = [], []
    renders = result.renders.setdefault("ours, 5 % changed, collected, with two gzips, while serving", [])
    scraper.scrape(encoding)  # the first scrape with an encoding renders its variant
    for number in range(scrapes):
        if number % 10 == 0:
            published = scraper.publish()
            result.closed = published["closed"]
            renders.append(published["seconds"])
        seconds, body = scraper.scrape(encoding)
        times.append(seconds)
        if encoding == "gzip":
            started = time.perf_counter()
            gzip.decompress(body)
            unpacked.append(seconds + time.perf_counter() - started)
    result.bodies[encoding] = body
    result.scrapes[f"{encoding}, between polls"] = times
    if unpacked:
        result.scrapes["gzip, between polls, and unpacked"] = unpacked


def _during(scraper: Scraper, publisher: Scraper, encoding: str, scrapes: int, result: Result) -> None:
    done = threading.Event()

    def publish() -> None:
        while not done.is_set():
            publisher.publish()

    thread = threading.Thread(target=publish)
    thread.start()
    result.scrapes[f"{encoding}, while it renders"] = [scraper.scrape(encoding)[0] for _ in range(scrapes)]
    done.set()
    thread.join()
    publisher.close()


def _renders(types: int, result: Result) -> None:
    # With this clock every variant was requested too long ago: only plain text is rendered, as by the library.
    load, renderer = Load(types), Renderer(count(0, 10_000).__next__)
    for share, kind in ((0.0, "first"), (0.0, "unchanged"), (SHARE, "5 % changed"), (1.0, "all changed")):
        times = result.renders[f"ours, {kind}"] = []
        for _ in range(1 if kind == "first" else 5):
            load.grow(share)
            rows = load.families()
            times.append(_timed(lambda: renderer.render(rows).text))  # noqa: B023 called at once
    result.renders["prometheus_client"] = [_timed(lambda: by_library(rows)) for _ in range(2)]


def _timed(action: Callable[[], object]) -> float:
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def table(result: Result) -> str:
    """Return the results as a table."""
    lines = len(result.text.splitlines())
    sizes = ", ".join(f"{encoding} {len(body):,} bytes" for encoding, body in result.bodies.items())
    parser = "httptools" if find_spec("httptools") else "h11"
    loop = "uvloop" if find_spec("uvloop") else "asyncio"
    rows = [f"{lines:,} lines; {sizes}; uvicorn with {parser}, {loop}", _row("ms", "p50", "p95", "max", "n")]
    for kind, times in (*result.scrapes.items(), *(("render: " + kind, t) for kind, t in result.renders.items())):
        values = (statistics.median(times), quantile(times, 0.95), max(times))
        rows.append(_row(kind, *(f"{1000 * seconds:.1f}" for seconds in values), str(len(times))))
    return "\n".join(rows)


def _row(name: str, *values: str) -> str:
    return f"{name:<68}" + "".join(f"{value:>9}" for value in values)


if __name__ == "__main__":
    print(table(measure(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)))
