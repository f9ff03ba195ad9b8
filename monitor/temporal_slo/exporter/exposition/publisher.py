"""Where the newest snapshots hang, rendered, for the scrapes to read."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Protocol

from temporal_slo.errors import LedgerError, UsageError
from temporal_slo.exporter.exposition.collector import COUNTERS, collect, zeroed
from temporal_slo.exporter.exposition.renderer import Answer, Exposition, Renderer
from temporal_slo.exporter.exposition.snapshot import Snapshot
from temporal_slo.exporter.exposition.start_at_zero import ZeroFirst, zero_of
from temporal_slo.names.samples import FamilySeries, Labels, Sample, Value

Series = tuple[str, Labels]
Own = Callable[[], Iterable[Sample]]


class Memory(Protocol):
    """What remembers which series were let go from 0; a ledger does."""

    def released(self, namespace: str) -> Awaitable[Iterable[str]]:
        """Return the names of the series of *namespace* that were let go."""
        ...

    def mark_released(self, namespace: str, series: Iterable[str]) -> Awaitable[None]:
        """Store names of series of *namespace*."""
        ...


class Board:
    """What the service answers with.

    Args:
        memory: Remembers which series were let go from 0.
        own: Returns what the exporter tells of itself, whatever the namespace.
        clock: Seconds, never going back.

    Attributes:
        snapshots: The newest one of each namespace.
    """

    def __init__(self, memory: Memory, own: Own = tuple, clock: Callable[[], float] = time.monotonic) -> None:
        self.snapshots: dict[str, Snapshot] = {}
        self._memory = memory
        self._own = own
        self._renderer = Renderer(clock)
        self._first: ZeroFirst[Series, Value] = ZeroFirst(clock)
        self._unmarked: set[Series] = set()
        self._exposition: Exposition = self._renderer.render(collect([]))
        self._rendering = asyncio.Lock()
        self._wanted = self._rendered = 0

    async def join(self, namespace: str) -> None:
        """Learn what was let go of *namespace*, before its first snapshot.

        Raises:
            LedgerError: That cannot be read.
        """
        self._first.know(map(_series, await self._memory.released(namespace)))

    async def leave(self, namespace: str) -> None:
        """Show nothing of *namespace* any more."""
        if self.snapshots.pop(namespace, None):
            await self.renew()

    async def put(self, snapshot: Snapshot) -> None:
        """Publish *snapshot*; it is rendered here, once, and not by each scrape."""
        self.snapshots[snapshot.temporal_namespace] = snapshot
        await self.renew()

    async def renew(self) -> None:
        """Render all snapshots; those that came while others were rendered are rendered together."""
        self._wanted += 1
        wanted = self._wanted
        async with self._rendering:
            if self._rendered < wanted:
                self._rendered = self._wanted
                await self._render()

    async def _render(self) -> None:
        # In threads: both take long where there are many series, and a scrape is not to wait for them.
        families = await asyncio.to_thread(collect, tuple(self.snapshots.values()), tuple(self._own()))
        counters = _counters(families)
        shown = dict(self._first.expose(counters))
        self._unmarked |= self._first.released
        shown.update({series: zero_of(counters[series]) for series in await self._held_back() if series in counters})
        held = {series: value for series, value in shown.items() if value is not counters[series]}
        generation = self._first.generation
        families = zeroed(families, held) if held else families
        self._exposition = await asyncio.to_thread(self._renderer.render, families, generation)

    async def _held_back(self) -> set[Series]:
        """Store what was let go; return what could not be stored and so must stay at 0.

        A series that began at 0 again after a restart would be counted twice.
        """
        for namespace in {labels[0] for _, labels in self._unmarked}:
            own = {series for series in self._unmarked if series[1][0] == namespace}
            try:
                await self._memory.mark_released(namespace, [json.dumps(series) for series in own])
            except (LedgerError, UsageError):
                break
            self._unmarked -= own
        return self._unmarked

    def answer(self, accept: str, accept_encoding: str) -> tuple[Answer, int]:
        """Return what a scrape with these two headers gets, and the number to give to `served`."""
        exposition = self._exposition
        return exposition.answer(accept, accept_encoding), exposition.generation

    def served(self, generation: int, scraper: str) -> None:
        """Take note that *scraper* has had the exposition of that number to its end."""
        self._first.served(generation, scraper)


def _counters(families: Iterable[FamilySeries]) -> Mapping[Series, Value]:
    return {(family.name, labels): value for family, rows in families if family in COUNTERS for labels, value in rows}


def _series(text: str) -> Series:
    name, labels = json.loads(text)
    return name, tuple(labels)
