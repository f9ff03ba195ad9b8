"""Rate limiter of requests: a rate, a concurrency, and exponential backoff after overload."""

import asyncio
import random
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final

from temporalio.service import RPCStatusCode

from temporal_slo.errors import TemporalRequestError

OVERLOAD_CODES: Final = frozenset(
    code.name for code in (RPCStatusCode.RESOURCE_EXHAUSTED, RPCStatusCode.UNAVAILABLE, RPCStatusCode.DEADLINE_EXCEEDED)
)
"""gRPC codes of a server that may be overloaded."""

BACKOFF_FIRST: Final = 1.0
BACKOFF_CAP: Final = 30.0

TIMER_TOLERANCE: Final = 0.1
"""How late a timer may fire without lowering the rate, as a fraction of the interval between requests."""


def backoff(failures: int, jitter: float) -> float:
    """Return the seconds to wait after consecutive failures: doubling, capped, with jitter.

    Args:
        failures: At least 1.
        jitter: Between 0 and 1. Spreads the wait over its upper half, so that exporters that failed together do not
            retry together.
    """
    # The exponent is bounded too: a float overflows after a thousand failures.
    full = min(BACKOFF_FIRST * 2.0 ** min(failures - 1, 16), BACKOFF_CAP)
    return full * (1 + jitter) / 2


class RateLimiter:
    """Spaces requests evenly, first come, first served; bulk requests yield to all others.

    After a request that fails with one of OVERLOAD_CODES, all callers back off.

    Args:
        rate: Maximum requests per second; may be infinite.
        concurrency: Maximum requests at once.
        clock: Monotonic time in seconds.
        sleep: Waits so many seconds.
        jitter: Between 0 and 1, for the backoff.

    Attributes:
        rate: Maximum requests per second.
        requests: Requests admitted so far.
        waited_seconds: Total time that they waited for admission.
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
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._waiting_bulk: deque[asyncio.Future[None]] = deque()
        self._timer: asyncio.Task[None] | None = None
        self._next_at = self._backoff_until = clock()
        self._running = 0
        self._failures = 0
        self.requests = 0
        self.waited_seconds = 0.0

    @property
    def backoff_remaining(self) -> float:
        """Seconds until the current backoff ends; 0 if there is none."""
        return max(self._backoff_until - self._clock(), 0.0)

    @asynccontextmanager
    async def slot(self, *, bulk: bool = False) -> AsyncIterator[None]:
        """Wait for admission, and hold a slot while the body makes one request.

        A TemporalRequestError that leaves the body makes all callers back off if its code is one of OVERLOAD_CODES.

        Args:
            bulk: Whether the request yields to all waiting requests that are not bulk: for catching up.
        """
        await self._acquire(bulk=bulk)
        try:
            yield
        except TemporalRequestError as error:
            (self.back_off if error.code in OVERLOAD_CODES else self.reset_backoff)()
            raise
        else:
            self.reset_backoff()
        finally:
            self._release()

    def back_off(self) -> None:
        """Admit no request for a while: twice as long as the last time, up to a cap."""
        # Requests that were in flight when the backoff began fail for the same reason: they count once.
        if not self.backoff_remaining:
            self._failures += 1
            self._backoff_until = self._clock() + backoff(self._failures, self._jitter())

    def reset_backoff(self) -> None:
        """Start the next backoff at the shortest wait. The current one is not cut short."""
        if not self.backoff_remaining:
            self._failures = 0

    async def _acquire(self, *, bulk: bool) -> None:
        start = self._clock()
        admitted = asyncio.get_running_loop().create_future()
        (self._waiting_bulk if bulk else self._waiting).append(admitted)
        self._dispatch()
        try:
            await admitted
        except asyncio.CancelledError:
            # The request may be admitted at the very moment of the cancellation.
            if not admitted.cancelled():
                self._release()
            raise
        self.waited_seconds += self._clock() - start

    def _release(self) -> None:
        self._running -= 1
        self._dispatch()

    def _dispatch(self) -> None:
        """Admit the requests that are due, and set a timer for the next."""
        while self._can_admit() and not self._delay():
            self._admit()
        if self._can_admit() and self._timer is None:
            self._timer = asyncio.create_task(self._fire())

    async def _fire(self) -> None:
        try:
            await self._sleep(self._delay())
        finally:
            self._timer = None
        self._dispatch()

    def _can_admit(self) -> bool:
        """Whether a request waits and a slot is free."""
        for queue in (self._waiting, self._waiting_bulk):
            # Cancelled callers.
            while queue and queue[0].done():
                queue.popleft()
        return self._running < self._concurrency and bool(self._waiting or self._waiting_bulk)

    def _delay(self) -> float:
        """Seconds until the rate and the backoff allow a request."""
        return max(self._next_at - self._clock(), self.backoff_remaining, 0.0)

    def _admit(self) -> None:
        (self._waiting or self._waiting_bulk).popleft().set_result(None)
        self._running += 1
        self.requests += 1
        now = self._clock()
        late = now - self._next_at
        self._next_at = (self._next_at if late <= self._interval * TIMER_TOLERANCE else now) + self._interval
