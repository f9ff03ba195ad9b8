"""The loop that polls a mirror and publishes what came of it."""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Final

from temporal_slo.errors import LedgerError, TemporalRequestError
from temporal_slo.exporter.exposition.figures import figures
from temporal_slo.exporter.exposition.snapshot import Snapshot
from temporal_slo.exporter.mirror.mirror import Mirror
from temporal_slo.runs.microseconds import SECOND
from temporal_slo.temporal.rate_limit import backoff
from temporal_slo.temporal.request_log import RequestLog

PUBLISH_INTERVAL: Final = 1.0
"""Seconds between two snapshots while catching up: making one, a walk over all open runs, costs more than a page."""

log = logging.getLogger(__name__)

Publish = Callable[[Snapshot], Awaitable[None]]
Gauge = Callable[[Snapshot], Snapshot]
Between = Callable[[int], Awaitable[None]]


class Poller:
    """Polls one namespace for ever.

    Args:
        namespace: Temporal namespace, for the snapshot.
        mirror: What is polled.
        gauge: Puts what requests there were into a snapshot.
        publish: Gets a snapshot after every poll.
        between: Are given their turn when a poll is complete and nothing is left to catch up on.
        trace: Is told when a poll begins.
        interval: Time from one complete poll to the next; what was passed over is read in what is left of it.
        clock: Unix time in seconds.
        sleep: Waits so many seconds.

    Attributes:
        snapshot: The last one published.
    """

    def __init__(
        self,
        namespace: str,
        mirror: Mirror,
        gauge: Gauge,
        publish: Publish,
        *,
        between: Sequence[Between] = (),
        trace: RequestLog | None = None,
        interval: timedelta,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._mirror = mirror
        self._gauge = gauge
        self._publish = publish
        self._between = between
        self._trace = trace or RequestLog()
        self._interval = interval.total_seconds()
        self._clock = clock
        self._sleep = sleep
        # A ledger that has polled before has figures at once.
        known = figures(mirror.state, self._now()) if mirror.state.positions else None
        self.snapshot = Snapshot(namespace, known, "the first poll has not ended yet")

    async def run(self) -> None:
        """Publish what is known, and poll until cancelled; a poll that fails is tried again after a growing wait."""
        await self._publish(self.snapshot)
        failures = 0
        while True:
            began, before = self._clock(), self.snapshot
            complete = await self.poll() and await self._catch_up(began + self._interval)
            failures = 0 if complete else failures + 1
            self._tell_change(before)
            for act in self._between if complete else ():
                await act(self._now())
            rest = max(began + self._interval - self._clock(), 0.0)
            await self._sleep(backoff(failures, random.random()) if failures else rest)  # noqa: S311 no secret

    async def poll(self) -> bool:
        """Poll once, publish a snapshot and return whether the poll was complete."""
        self._trace.start_poll(self._clock())
        began = time.monotonic()
        complete = await self._try(self._mirror.poll)
        self.snapshot = replace(self.snapshot, poll_duration=time.monotonic() - began)
        if complete:
            self._renew(self._clock())
        await self._publish(self.snapshot)
        return complete

    async def _catch_up(self, deadline: float) -> bool:
        """Read what was passed over until the next poll is due; return whether every request was answered."""
        answered, good, published = True, None, self._clock()
        over = not self._mirror.state.gaps or published >= deadline
        while not over:
            answered = await self._try(self._mirror.catch_up)
            now = self._clock()
            good = now if answered else good
            over = not answered or not self._mirror.state.gaps or now >= deadline
            if over or now - published >= PUBLISH_INTERVAL:
                if good:
                    self._renew(good)
                await self._publish(self.snapshot)
                published, good = self._clock(), None
        return answered

    async def _try(self, act: Callable[[int], Awaitable[object]]) -> bool:
        trouble = None
        try:
            await act(self._now())
        except (TemporalRequestError, LedgerError) as error:
            trouble = str(error)
        self.snapshot = self._gauge(replace(self.snapshot, trouble=trouble))
        return trouble is None

    def _renew(self, good: float) -> None:
        known = figures(self._mirror.state, self._now())
        self.snapshot = replace(self.snapshot, figures=known, last_success=good)

    def _tell_change(self, before: Snapshot) -> None:
        # Once per change, not per poll: an outage of a night is two lines.
        trouble = self.snapshot.trouble
        if trouble == before.trouble:
            return
        if trouble:
            kept = "the last good figures stay" if self.snapshot.figures else "there are no figures yet"
            log.warning("%s: polling fails, %s: %s", before.temporal_namespace, kept, trouble)
        else:
            log.info("%s: polling works", before.temporal_namespace)

    def _now(self) -> int:
        return int(self._clock() * SECOND)
