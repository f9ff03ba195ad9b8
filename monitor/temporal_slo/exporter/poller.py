"""The loop that polls a mirror and publishes what came of it."""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from typing import Final

from temporal_slo.errors import VisibilityError
from temporal_slo.exporter.mirror import SECOND, Mirror
from temporal_slo.exporter.snapshot import Snapshot
from temporal_slo.exporter.visibility import MeasuredVisibility, Visibility

BACKOFF_FIRST: Final = 1.0
BACKOFF_CAP: Final = 30.0

log = logging.getLogger(__name__)


def backoff(failures: int, jitter: float) -> float:
    """Return the seconds to wait after *failures* failed polls in a row: doubling, capped, jittered.

    Args:
        failures: At least 1.
        jitter: Between 0 and 1; spreads the wait over its upper half, so that exporters that failed together do
            not come back together.
    """
    # The exponent is bounded too: a float overflows after a thousand failures.
    full = min(BACKOFF_FIRST * 2.0 ** min(failures - 1, 16), BACKOFF_CAP)
    return full * (1 + jitter) / 2


class Poller:
    """Polls one namespace for ever.

    Args:
        namespace: Temporal namespace, for the snapshot.
        visibility: Its list of runs.
        publish: Gets a snapshot at once, and one after every poll.
        interval: Time from the end of a complete poll to the next.
        clock: Unix time in seconds.
        sleep: Waits so many seconds.

    Attributes:
        snapshot: The last one published.
    """

    def __init__(
        self,
        namespace: str,
        visibility: Visibility,
        publish: Callable[[Snapshot], None],
        *,
        interval: timedelta,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._visibility = MeasuredVisibility(visibility)
        self._publish = publish
        self._interval = interval.total_seconds()
        self._clock = clock
        self._sleep = sleep
        self._mirror = Mirror(self._visibility, self._now())
        self.snapshot = Snapshot(namespace, trouble="the first poll has not ended yet")
        publish(self.snapshot)

    async def run(self) -> None:
        """Poll until cancelled; a poll that fails is tried again after a growing wait."""
        failures = 0
        while True:
            before = self.snapshot
            failures = 0 if await self.poll() else failures + 1
            self._tell_change(before)
            await self._sleep(backoff(failures, random.random()) if failures else self._interval)  # noqa: S311 no secret

    async def poll(self) -> bool:
        """Poll once, publish a snapshot and return whether the poll was complete."""
        began = time.monotonic()
        before = self.snapshot
        try:
            figures = await self._mirror.poll(self._now())
        except VisibilityError as error:
            result = replace(before, trouble=str(error))
        else:
            result = replace(before, figures=figures, trouble=None, last_success=self._clock())
        self.snapshot = replace(
            result,
            poll_duration=time.monotonic() - began,
            requests=dict(self._visibility.requests),
            unknown_status_rows=self._mirror.unknown_status_rows,
        )
        self._publish(self.snapshot)
        return self.snapshot.trouble is None

    def _tell_change(self, before: Snapshot) -> None:
        # Once per change, not per poll: an outage of a night is two lines.
        trouble = self.snapshot.trouble
        if trouble == before.trouble:
            return
        if trouble:
            log.warning("%s: polling fails, the last good figures stay: %s", before.temporal_namespace, trouble)
        else:
            log.info("%s: polling works", before.temporal_namespace)

    def _now(self) -> int:
        return int(self._clock() * SECOND)
