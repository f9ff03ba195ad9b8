"""Rate limiter of requests: a rate that may adapt, a concurrency, and exponential backoff after overload."""

import asyncio
import random
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final

from temporalio.service import RPCStatusCode

from temporal_slo.errors import TemporalRequestError, UnreadableResponseError

OVERLOAD_CODES: Final = frozenset(
    code.name for code in (RPCStatusCode.RESOURCE_EXHAUSTED, RPCStatusCode.UNAVAILABLE, RPCStatusCode.DEADLINE_EXCEEDED)
)
"""gRPC codes of a server that may be overloaded."""

BACKOFF_FIRST: Final = 1.0
BACKOFF_CAP: Final = 30.0

TIMER_TOLERANCE: Final = 0.1
"""How late a timer may fire without lowering the rate, as a fraction of the interval between requests."""

GROWTH: Final = 0.0002
"""Growth of an adaptive rate after overload, for each request that had to wait, as a fraction of the maximum.

At 200 requests per second at most, the rate doubles in 17 seconds.
"""

LOWEST_RATE: Final = 1.0
"""Requests per second below which overload does not lower an adaptive rate."""


def is_overload(error: TemporalRequestError) -> bool:
    """Return whether *error* may be that of an overloaded server."""
    # A response that is too large has the code of a rate limit.
    return error.code in OVERLOAD_CODES and not isinstance(error, UnreadableResponseError)


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

    After a request that fails as on an overloaded server, all callers back off, and an adaptive rate is halved. It
    grows as TCP's congestion window does, RFC 5681: fast until the first overload, then slowly.

    Args:
        rate: Maximum requests per second; may be infinite.
        concurrency: Maximum requests at once.
        clock: Monotonic time in seconds.
        sleep: Waits so many seconds.
        jitter: Between 0 and 1, for the backoff.
        initial_rate: Requests per second at first of an adaptive rate, which then grows up to *rate* while requests
            wait for it; None for a constant rate.

    Attributes:
        rate: Maximum requests per second.
        current_rate: Requests per second now.
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
        initial_rate: float | None = None,
    ) -> None:
        self.rate = rate
        self.current_rate = rate if initial_rate is None else min(initial_rate, rate)
        self._adaptive = initial_rate is not None
        self._overloaded = False
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

        A TemporalRequestError that leaves the body makes all callers back off if the server may be overloaded.

        Args:
            bulk: Whether the request yields to all waiting requests that are not bulk: for catching up.
        """
        await self._acquire(bulk=bulk)
        try:
            yield
        except TemporalRequestError as error:
            (self.back_off if is_overload(error) else self.reset_backoff)()
            raise
        else:
            self.reset_backoff()
            self._grow()
        finally:
            self._release()

    def back_off(self) -> None:
        """Admit no request for a while: twice as long as the last time, up to a cap."""
        # Requests that were in flight when the backoff began fail for the same reason: they count once.
        if not self.backoff_remaining:
            self._failures += 1
            self._backoff_until = self._clock() + backoff(self._failures, self._jitter())
            if self._adaptive:
                self._overloaded = True
                self.current_rate = max(self.current_rate / 2, min(LOWEST_RATE, self.rate))

    def reset_backoff(self) -> None:
        """Start the next backoff at the shortest wait. The current one is not cut short."""
        if not self.backoff_remaining:
            self._failures = 0

    def _grow(self) -> None:
        """Raise an adaptive rate, if requests wait: a rate that is not used says nothing about the server."""
        if self._adaptive and (self._waiting or self._waiting_bulk):
            grown = self.current_rate + (self.rate * GROWTH if self._overloaded else 1.0)
            self.current_rate = min(grown, self.rate)

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
        now, interval = self._clock(), 1 / self.current_rate
        late = now - self._next_at
        self._next_at = (self._next_at if late <= interval * TIMER_TOLERANCE else now) + interval
