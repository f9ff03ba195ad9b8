"""Where the newest snapshot hangs, rendered, for the scrapes to read."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Self

from temporal_slo.errors import LedgerError
from temporal_slo.exporter.collector import COUNTERS, collect, zeroed
from temporal_slo.exporter.exposition import Answer, Exposition, Renderer
from temporal_slo.exporter.ledger import Ledger
from temporal_slo.exporter.samples import Labels, Value
from temporal_slo.exporter.snapshot import Snapshot
from temporal_slo.exporter.zerofirst import ZeroFirst, zero_of

Series = tuple[str, Labels]
Mark = Callable[[Iterable[str]], Awaitable[None]]


class Board:
    """What the service answers with.

    Args:
        mark: Stores the names of series that were let go from 0.
        known: Those that were let go before.
        clock: Seconds, never going back.

    Attributes:
        snapshot: The newest one; None before the first.
    """

    def __init__(self, mark: Mark, known: Iterable[str] = (), clock: Callable[[], float] = time.monotonic) -> None:
        self.snapshot: Snapshot | None = None
        self._mark = mark
        self._renderer = Renderer(clock)
        self._first: ZeroFirst[Series, Value] = ZeroFirst(clock, known=map(_series, known))
        self._unmarked: set[Series] = set()
        self._exposition: Exposition = self._renderer.render(collect([]))

    @classmethod
    async def of(cls, ledger: Ledger, namespace: str) -> Self:
        """Return a board that knows what *ledger* has let go."""

        async def mark(series: Iterable[str]) -> None:
            await ledger.mark_exposed(namespace, series)

        return cls(mark, await ledger.exposed(namespace))

    async def put(self, snapshot: Snapshot) -> None:
        """Publish *snapshot*; it is rendered here, once, and not by each scrape."""
        # In threads: both take long where there are many series, and a scrape is not to wait for them.
        families = await asyncio.to_thread(collect, [snapshot])
        counters = {
            (family.name, labels): value for family, rows in families if family in COUNTERS for labels, value in rows
        }
        shown = dict(self._first.expose(counters))
        self._unmarked |= self._first.released
        shown.update({series: zero_of(counters[series]) for series in await self._held_back() if series in counters})
        held = {series: value for series, value in shown.items() if value is not counters[series]}
        generation = self._first.generation
        families = zeroed(families, held) if held else families
        self._exposition = await asyncio.to_thread(self._renderer.render, families, generation)
        self.snapshot = snapshot

    async def _held_back(self) -> set[Series]:
        """Store what was let go; return what could not be stored and so must stay at 0.

        A series that began at 0 again after a restart would be counted twice.
        """
        if self._unmarked:
            try:
                await self._mark([json.dumps(series) for series in self._unmarked])
            except LedgerError:
                return self._unmarked
            self._unmarked = set()
        return set()

    def answer(self, accept: str, accept_encoding: str) -> tuple[Answer, int]:
        """Return what a scrape with these two headers gets, and the number to give to `served`."""
        exposition = self._exposition
        return exposition.answer(accept, accept_encoding), exposition.generation

    def served(self, generation: int, scraper: str) -> None:
        """Take note that *scraper* has had the exposition of that number to its end."""
        self._first.served(generation, scraper)


def _series(text: str) -> Series:
    name, labels = json.loads(text)
    return name, tuple(labels)
