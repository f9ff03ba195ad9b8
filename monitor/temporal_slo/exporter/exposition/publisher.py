"""Renders the latest snapshots and serves them to scrapes."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Final, Protocol

from temporal_slo import names
from temporal_slo.errors import LedgerError, UsageError
from temporal_slo.exporter.exposition.collector import build_info, collect, replace_values
from temporal_slo.exporter.exposition.renderer import Exposition, Renderer, ScrapeResponse
from temporal_slo.exporter.exposition.scrapers import Scraper
from temporal_slo.exporter.exposition.snapshot import Snapshot
from temporal_slo.exporter.exposition.start_at_zero import StartAtZero, zero_of
from temporal_slo.names.samples import FamilySeries, Labels, Sample, Value
from temporal_slo.runs.status_groups import status_group

Series = tuple[str, Labels]
CLOSED: Final = names.WORKFLOWS_CLOSED.name

ProcessMetrics = Callable[[], Iterable[Sample]]


class Memory(Protocol):
    """Remembers which series were released after their initial zero; a ledger does."""

    def released(self, namespace: str) -> Awaitable[Iterable[str]]:
        """Return the names of the released series of *namespace*."""
        ...

    def mark_released(self, namespace: str, series: Iterable[str]) -> Awaitable[None]:
        """Store the names of released series of *namespace*."""
        ...


class Publisher:
    """Holds the latest snapshot of each namespace, and their rendering.

    Args:
        memory: Remembers which series were released after their initial zero.
        process_metrics: Returns the metrics of the exporter process.
        clock: Monotonic seconds.

    Attributes:
        snapshots: The latest one of each namespace.
    """

    def __init__(
        self,
        memory: Memory,
        process_metrics: ProcessMetrics = tuple,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.snapshots: dict[str, Snapshot] = {}
        self._memory = memory
        self._process_metrics = process_metrics
        self._renderer = Renderer(clock)
        self._initial: StartAtZero[Series, Value] = StartAtZero(clock)
        self._unmarked: set[Series] = set()
        self._exposition: Exposition = self._renderer.render(collect([], [build_info()]))
        self._rendering = asyncio.Lock()
        self._requested = self._rendered = 0

    async def join(self, namespace: str) -> None:
        """Load the released series of *namespace*, before its first snapshot.

        Raises:
            LedgerError: They could not be read.
        """
        released = {_series(text) for text in await self._memory.released(namespace)}
        self._initial.add_released_before(released | {_seen(labels) for name, labels in released if name == CLOSED})

    async def leave(self, namespace: str) -> None:
        """Stop exposing *namespace*."""
        if self.snapshots.pop(namespace, None):
            await self.renew()

    async def put(self, snapshot: Snapshot) -> None:
        """Publish *snapshot*. It is rendered here, once, and not by each scrape."""
        self.snapshots[snapshot.temporal_namespace] = snapshot
        await self.renew()

    async def renew(self) -> None:
        """Render all snapshots; those that arrive during a rendering are rendered together."""
        self._requested += 1
        requested = self._requested
        async with self._rendering:
            if self._rendered < requested:
                self._rendered = self._requested
                await self._render()

    async def _render(self) -> None:
        # In threads: with many series both steps take long, and a scrape must not wait for them.
        process = (build_info(), *self._process_metrics())
        families = await asyncio.to_thread(collect, tuple(self.snapshots.values()), process)
        counters = _counters(families)
        exposed = dict(self._initial.expose(counters))
        self._unmarked |= self._initial.released
        exposed.update({series: zero_of(counters[series]) for series in await self._unstored() if series in counters})
        initial = {series: value for series, value in exposed.items() if value is not counters[series]}
        generation = self._initial.generation
        families = replace_values(families, initial) if initial else families
        self._exposition = await asyncio.to_thread(self._renderer.render, families, generation)

    async def _unstored(self) -> set[Series]:
        """Store which series were released; return those that could not be stored, and so must stay at 0.

        A series that started at 0 again after a restart would be counted twice.
        """
        for namespace in {labels[0] for _, labels in self._unmarked}:
            own = {series for series in self._unmarked if series[1][0] == namespace}
            try:
                await self._memory.mark_released(namespace, [json.dumps(series, ensure_ascii=False) for series in own])
            except (LedgerError, UsageError):
                break
            self._unmarked -= own
        return self._unmarked

    def response(self, accept: str, accept_encoding: str) -> tuple[ScrapeResponse, int]:
        """Return the response to a scrape with these two headers, and the number to pass to `served`."""
        exposition = self._exposition
        return exposition.response(accept, accept_encoding), exposition.generation

    def served(self, generation: int, scraper: Scraper) -> None:
        """Record that *scraper* received the exposition of that number completely."""
        self._initial.served(generation, scraper)


def _counters(families: Iterable[FamilySeries]) -> Mapping[Series, Value]:
    return {
        (family.name, labels): value
        for family, rows in families
        if family in names.DURABLE_FAMILIES
        for labels, value in rows
    }


def _seen(closed: Labels) -> Series:
    """Return the series of runs seen closed that includes a series of closed runs.

    An older version exposed only the latter. Starting the former at 0 would make an increase of all counts so far.
    """
    labels = dict(zip(names.WORKFLOWS_CLOSED.labels, closed, strict=True))
    labels[names.STATUS_GROUP] = status_group(labels[names.STATUS])
    return names.WORKFLOWS_SEEN_CLOSED.name, tuple(labels[name] for name in names.WORKFLOWS_SEEN_CLOSED.labels)


def _series(text: str) -> Series:
    name, labels = json.loads(text)
    return name, tuple(labels)
