"""A budget of requests: how many a second, how many at once, and a rest when the server asks for it."""

import asyncio
import random
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final

from temporal_slo.errors import TemporalRequestError

OVERLOAD: Final = frozenset({"RESOURCE_EXHAUSTED", "UNAVAILABLE", "DEADLINE_EXCEEDED"})
"""Answers after which more requests would do harm."""

BACKOFF_FIRST: Final = 1.0
BACKOFF_CAP: Final = 30.0

SLACK: Final = 0.1
"""How late a timer may ring, as part of the pace's interval, without slowing the pace down."""


def backoff(failures: int, jitter: float) -> float:
    """Return the seconds to wait after *failures* failures in a row: doubling, capped, jittered.

    Args:
        failures: At least 1.
        jitter: Between 0 and 1; spreads the wait over its upper half, so that exporters that failed together do
            not come back together.
    """
    # The exponent is bounded too: a float overflows after a thousand failures.
    full = min(BACKOFF_FIRST * 2.0 ** min(failures - 1, 16), BACKOFF_CAP)
    return full * (1 + jitter) / 2


class Budget:
    """Paces requests evenly, first come, first served; those of catching up wait until nobody else does.

    Args:
        rate: Requests a second at most; may be infinite.
        concurrency: Requests at once at most.
        clock: Seconds that only rise.
        sleep: Waits so many seconds.
        jitter: Between 0 and 1, for the rests.

    Attributes:
        rate: Requests a second at most.
        requests: Requests let through so far.
        waited_seconds: How long they waited for that, together.
    """

    def __init__(
        self,
        rate: float,
        concurrency: int,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        *,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.rate = rate
        self._interval = 1 / rate
        self._concurrency = concurrency
        self._clock = clock
        self._sleep = sleep
        self._jitter = jitter
        # Steady callers and those that catch up.
        self._waiting: tuple[deque[asyncio.Future[None]], ...] = (deque(), deque())
        self._timer: asyncio.Task[None] | None = None
        self._due = self._rest_until = clock()
        self._running = 0
        self._failures = 0
        self.requests = 0
        self.waited_seconds = 0.0

    @property
    def resting(self) -> float:
        """Seconds of rest that are left after failures."""
        return max(self._rest_until - self._clock(), 0.0)

    @asynccontextmanager
    async def slot(self, *, bulk: bool = False) -> AsyncIterator[None]:
        """Wait for a turn, and hold a place while the body makes one request.

        A TemporalRequestError that leaves the body makes all callers rest if it tells of overload.

        Args:
            bulk: Lets every waiting caller that is not bulk go ahead: for catching up.
        """
        await self._enter(bulk=bulk)
        try:
            yield
        except TemporalRequestError as error:
            (self.penalize if error.code in OVERLOAD else self.recover)()
            raise
        else:
            self.recover()
        finally:
            self._leave()

    def penalize(self) -> None:
        """Let all callers rest, twice as long as the last time, up to a cap."""
        # Requests that were under way when the rest began fail for the same reason: they count once.
        if not self.resting:
            self._failures += 1
            self._rest_until = self._clock() + backoff(self._failures, self._jitter())

    def recover(self) -> None:
        """Forget failures: the server answers. A rest that has begun is kept."""
        if not self.resting:
            self._failures = 0

    async def _enter(self, *, bulk: bool) -> None:
        began = self._clock()
        turn = asyncio.get_running_loop().create_future()
        self._waiting[bulk].append(turn)
        self._serve()
        try:
            await turn
        except asyncio.CancelledError:
            # The turn may have come at the very moment of the cancellation.
            if not turn.cancelled():
                self._leave()
            raise
        self.waited_seconds += self._clock() - began

    def _leave(self) -> None:
        self._running -= 1
        self._serve()

    def _serve(self) -> None:
        """Let through whom it is time for; see to it that the next is served when it is time."""
        while self._wanted() and not self._delay():
            self._let_through()
        if self._wanted() and self._timer is None:
            self._timer = asyncio.create_task(self._ring())

    async def _ring(self) -> None:
        try:
            await self._sleep(self._delay())
        finally:
            self._timer = None
        self._serve()

    def _wanted(self) -> bool:
        for queue in self._waiting:
            while queue and queue[0].done():
                queue.popleft()
        return self._running < self._concurrency and any(self._waiting)

    def _delay(self) -> float:
        return max(self._due - self._clock(), self.resting, 0.0)

    def _let_through(self) -> None:
        steady, bulk = self._waiting
        (steady or bulk).popleft().set_result(None)
        self._running += 1
        self.requests += 1
        now = self._clock()
        late = now - self._due
        self._due = (self._due if late <= self._interval * SLACK else now) + self._interval
