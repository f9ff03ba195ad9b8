"""Polls a mirror at its interval and publishes a snapshot after each poll."""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Final

from temporal_slo.errors import LedgerError, TemporalRequestError
from temporal_slo.exporter.exposition.snapshot import Snapshot
from temporal_slo.exporter.mirror.mirror import Mirror
from temporal_slo.names.samples import Sample
from temporal_slo.runs.microseconds import SECOND
from temporal_slo.temporal.rate_limit import backoff
from temporal_slo.temporal.request_log import RequestLog

PUBLISH_INTERVAL: Final = 1.0
"""Seconds between two snapshots while catching up: a snapshot visits all open runs and costs more than a page."""

log = logging.getLogger(__name__)

Publish = Callable[[Snapshot], Awaitable[None]]
SelfMetrics = Callable[[], Iterable[Sample]]
AfterPoll = Callable[[int], Awaitable[None]]


class Poller:
    """Polls one namespace.

    Args:
        namespace: Temporal namespace, for the snapshot.
        mirror: What is polled.
        self_metrics: Returns the exporter's metrics about itself.
        publish: Gets a snapshot after every poll.
        after_poll: Called after each complete poll that left no gap to catch up on, with the time in microseconds.
        request_log: Starts anew with each poll.
        interval: Time from one complete poll to the next; the rest of it is used to catch up.
        clock: Unix time in seconds.
        sleep: Waits a number of seconds.

    Attributes:
        snapshot: The last snapshot.
    """

    def __init__(
        self,
        namespace: str,
        mirror: Mirror,
        self_metrics: SelfMetrics,
        publish: Publish,
        *,
        after_poll: Sequence[AfterPoll] = (),
        request_log: RequestLog | None = None,
        interval: timedelta,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._mirror = mirror
        self._self_metrics = self_metrics
        self._publish = publish
        self._after_poll = after_poll
        self._request_log = request_log or RequestLog()
        self._interval = interval.total_seconds()
        self._clock = clock
        self._sleep = sleep
        # A ledger that was polled before has values at once.
        known = tuple(mirror.samples(self._now())) if mirror.state.positions else ()
        self.snapshot = Snapshot(namespace, known, "the first poll has not ended yet")

    async def run(self) -> None:
        """Publish what the ledger has, then poll until cancelled; failed polls are retried with back-off."""
        await self._publish(self.snapshot)
        failures = 0
        while True:
            began, before = self._clock(), self.snapshot
            complete = await self.poll() and await self._catch_up(began + self._interval)
            failures = 0 if complete else failures + 1
            self._log_change(before)
            for act in self._after_poll if complete else ():
                await act(self._now())
            rest = max(began + self._interval - self._clock(), 0.0)
            await self._sleep(backoff(failures, random.random()) if failures else rest)  # noqa: S311 no secret

    async def poll(self) -> bool:
        """Poll once, publish a snapshot and return whether the poll was complete."""
        self._request_log.start_poll(self._clock())
        began = time.monotonic()
        complete = await self._try(self._mirror.poll)
        self.snapshot = replace(self.snapshot, poll_duration=time.monotonic() - began)
        if complete:
            self._renew(self._clock())
        await self._publish(self.snapshot)
        return complete

    async def _catch_up(self, deadline: float) -> bool:
        """Ingest gaps until the next poll is due; return whether every request succeeded."""
        succeeded, last_success, published = True, None, self._clock()
        over = not self._mirror.state.gaps or published >= deadline
        while not over:
            succeeded = await self._try(self._mirror.catch_up)
            now = self._clock()
            last_success = now if succeeded else last_success
            over = not succeeded or not self._mirror.state.gaps or now >= deadline
            if over or now - published >= PUBLISH_INTERVAL:
                if last_success:
                    self._renew(last_success)
                await self._publish(self.snapshot)
                published, last_success = self._clock(), None
        return succeeded

    async def _try(self, act: Callable[[int], Awaitable[object]]) -> bool:
        failure = None
        try:
            await act(self._now())
        except (TemporalRequestError, LedgerError) as error:
            failure = str(error)
        self.snapshot = replace(self.snapshot, error=failure, self_metrics=tuple(self._self_metrics()))
        return failure is None

    def _renew(self, last_success: float) -> None:
        samples = tuple(self._mirror.samples(self._now()))
        self.snapshot = replace(self.snapshot, samples=samples, last_success=last_success)

    def _log_change(self, before: Snapshot) -> None:
        # Once per change, not per poll: an outage of a night is two lines.
        namespace, failure = before.temporal_namespace, self.snapshot.error
        if failure == before.error:
            return
        if failure:
            kept = "keeping the last values" if self.snapshot.samples else "no values yet"
            log.warning("%s: poll failed, %s: %s", namespace, kept, failure)
        else:
            log.info("%s: poll succeeded", namespace)

    def _now(self) -> int:
        return int(self._clock() * SECOND)
