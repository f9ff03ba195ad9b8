"""Data sources in addition to closed and open runs: each has its own interval and fails independently."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from temporal_slo.errors import LedgerError, TemporalRequestError
from temporal_slo.names.samples import Sample
from temporal_slo.runs.microseconds import SECOND
from temporal_slo.spec.bound import BoundSlo

log = logging.getLogger(__name__)


class Source(Protocol):
    """A data source of one namespace."""

    @property
    def name(self) -> str:
        """Value of the label `source`, and name in the option `--sources`."""
        ...

    async def read(self, now: int) -> Iterable[Sample]:
        """Return all samples, without the label `temporal_namespace`.

        Args:
            now: Local clock, in microseconds of Unix time.

        Raises:
            TemporalRequestError: A request failed.
            LedgerError: The ledger could not be read.
        """
        ...

    def apply_slos(self, slos: Sequence[BoundSlo]) -> None:
        """Use *slos* from the next read on; most sources need none."""
        del slos


@dataclass(frozen=True, slots=True)
class Clocks:
    """Clocks of a source runner, for tests to replace: Unix time, a monotonic clock, and sleep, all in seconds."""

    now: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep


CLOCKS = Clocks()


@dataclass(frozen=True, slots=True)
class SourceResult:
    """What the reads of a data source gave.

    Attributes:
        samples: Of the last successful read, without the label `temporal_namespace`.
        last_success: When that ended, Unix time in seconds; None if never.
        error: Why the last read failed; None if it succeeded.
        duration: Seconds that the last read took.
    """

    samples: tuple[Sample, ...] = ()
    last_success: float | None = None
    error: str | None = None
    duration: float = 0.0


class SourceRunner:
    """Reads a data source at its interval.

    Args:
        namespace: Temporal namespace, for the log.
        source: The data source.
        interval: Time from the end of one read to the start of the next.
        clocks: Clocks and sleep.

    Attributes:
        result: What the reads so far gave; None before the first.
    """

    def __init__(self, namespace: str, source: Source, interval: timedelta, clocks: Clocks = CLOCKS) -> None:
        self.name = source.name
        self.source = source
        self.result: SourceResult | None = None
        self._namespace = namespace
        self._interval = interval.total_seconds()
        self._clocks = clocks

    async def run(self) -> None:
        """Read until cancelled."""
        while True:
            await self.read()
            await self._clocks.sleep(self._interval)

    async def read(self) -> None:
        """Read once; after a failure the samples of the last successful read stay."""
        before, began = self.result or SourceResult(), self._clocks.monotonic()
        samples, last_success, failure = before.samples, before.last_success, None
        try:
            samples = tuple(await self.source.read(int(self._clocks.now() * SECOND)))
            last_success = self._clocks.now()
        except (TemporalRequestError, LedgerError) as error:
            failure = str(error)
        self.result = SourceResult(samples, last_success, failure, self._clocks.monotonic() - began)
        if failure != before.error:
            self._log(failure)

    def _log(self, failure: str | None) -> None:
        if failure:
            log.warning("%s: reading %s failed, keeping the last values: %s", self._namespace, self.name, failure)
        else:
            log.info("%s: reading %s succeeded again", self._namespace, self.name)
