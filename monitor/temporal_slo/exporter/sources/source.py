"""Sources beside the mirror: each is read on its own, at its own interval, and fails alone."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from temporal_slo.errors import LedgerError, TemporalRequestError
from temporal_slo.names.samples import Sample

log = logging.getLogger(__name__)


class Source(Protocol):
    """Something else that a namespace can tell."""

    @property
    def name(self) -> str:
        """As the label `source` and the switch have it."""
        ...

    async def read(self, now: int) -> Iterable[Sample]:
        """Return all samples there are, without the label `temporal_namespace`.

        Args:
            now: Our clock, in microseconds of Unix time.

        Raises:
            TemporalRequestError: A request failed.
            LedgerError: The ledger could not be read.
        """
        ...


@dataclass(frozen=True, slots=True)
class Clocks:
    """The clocks of a watch, for tests to replace: Unix time, time that passes, and how to wait, all in seconds."""

    now: Callable[[], float] = time.time
    passing: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep


CLOCKS = Clocks()


class Watch:
    """Reads a source for ever.

    Args:
        namespace: Temporal namespace, for the log.
        source: What is read.
        interval: Time from the end of one reading to the beginning of the next.
        clocks: What it knows of time.

    Attributes:
        reading: What the last readings brought; None before the first.
    """

    def __init__(self, namespace: str, source: Source, interval: timedelta, clocks: Clocks = CLOCKS) -> None:
        self.name = source.name
        self.source = source
        self.reading: Reading | None = None
        self._namespace = namespace
        self._interval = interval.total_seconds()
        self._clocks = clocks

    async def run(self) -> None:
        """Read until cancelled."""
        while True:
            await self.read()
            await self._clocks.sleep(self._interval)

    async def read(self) -> None:
        """Read once; where that fails the last good samples stay."""
        before, began = self.reading or Reading(), self._clocks.passing()
        samples, last_success, trouble = before.samples, before.last_success, None
        try:
            samples = tuple(await self.source.read(int(self._clocks.now() * 1_000_000)))
            last_success = self._clocks.now()
        except (TemporalRequestError, LedgerError) as error:
            trouble = str(error)
        self.reading = Reading(samples, last_success, trouble, self._clocks.passing() - began)
        self._tell_change(before.trouble)

    def _tell_change(self, before: str | None) -> None:
        trouble = self.reading.trouble if self.reading else None
        if trouble == before:
            return
        if trouble:
            log.warning("%s: %s cannot be read, the last good figures stay: %s", self._namespace, self.name, trouble)
        else:
            log.info("%s: %s can be read again", self._namespace, self.name)


@dataclass(frozen=True, slots=True)
class Reading:
    """What a source beside the mirror told.

    Attributes:
        samples: Of the last time that it was read whole, without the label `temporal_namespace`.
        last_success: When that was, Unix time in seconds; None if never.
        trouble: Why it could not be read the last time; None if it could.
        duration: Seconds that the last reading took.
    """

    samples: tuple[Sample, ...] = ()
    last_success: float | None = None
    trouble: str | None = None
    duration: float = 0.0
