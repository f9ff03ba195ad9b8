import asyncio
from collections.abc import Awaitable
from contextlib import suppress

import pytest

from temporal_slo.errors import TemporalRequestError
from temporal_slo.temporal.rate_limit import BACKOFF_CAP, RateLimiter, backoff
from temporal_slo.testing import FixedClock

EXHAUSTED = TemporalRequestError("RESOURCE_EXHAUSTED", "namespace rate limit exceeded")


class Bench:
    """A rate limiter on a clock that every sleep moves forward, and a record of which requests it admitted when."""

    def __init__(self, rate: float, concurrency: int = 1, late: float = 0.0, initial_rate: float | None = None) -> None:
        self.clock = FixedClock(0.0)
        self.late = late
        self.admitted: list[tuple[str, float]] = []
        self.limiter = RateLimiter(
            rate, concurrency, self.clock, self.sleep, jitter=lambda: 1.0, initial_rate=initial_rate
        )

    async def sleep(self, seconds: float) -> None:
        """Move the clock, and a little further if timers are late."""
        await asyncio.sleep(0)
        self.clock.forward(seconds + self.late)

    async def request(self, name: str = "", *, bulk: bool = False, body: Awaitable[object] | None = None) -> None:
        """Make one request, which takes no time, or as long as *body*."""
        async with self.limiter.slot(bulk=bulk):
            self.admitted.append((name, self.clock()))
            if body:
                await body

    def start(self, name: str, *, bulk: bool = False, body: Awaitable[object] | None = None) -> asyncio.Task[None]:
        """Start one request concurrently with others."""
        return asyncio.create_task(self.request(name, bulk=bulk, body=body))

    async def fail(self, error: Exception = EXHAUSTED) -> None:
        """Make one request that fails."""
        with suppress(TemporalRequestError):
            async with self.limiter.slot():
                raise error

    @property
    def names(self) -> str:
        """The admitted requests, in order."""
        return "".join(name for name, _ in self.admitted)

    @property
    def times(self) -> list[float]:
        """The times of their admission."""
        return [time for _, time in self.admitted]


async def settled() -> None:
    """Let every task run until it waits."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_even_spacing() -> None:
    """Requests that arrive together are admitted one by one: the first at once, each an interval after the previous."""
    bench = Bench(rate=4, concurrency=7)
    await asyncio.gather(*(bench.request() for _ in range(5)))
    assert bench.times == [0, 0.25, 0.5, 0.75, 1.0]
    assert (bench.limiter.requests, bench.limiter.waited_seconds) == (5, 2.5)


async def test_no_burst_after_idle_time() -> None:
    """After an idle hour no more than one request is admitted at once."""
    bench = Bench(rate=4, concurrency=7)
    await bench.request()
    bench.clock.forward(3600)
    await asyncio.gather(*(bench.request() for _ in range(3)))
    assert bench.times[1:] == [3600, 3600.25, 3600.5]


async def test_late_timers_cost_no_rate() -> None:
    """Timers that fire a tenth of the interval late neither lower the rate nor raise it."""
    bench = Bench(rate=50, concurrency=3, late=0.0018)
    await asyncio.gather(*(bench.request() for _ in range(101)))
    assert bench.times[-1] == pytest.approx(2.0, abs=0.01)
    assert all(later - time > 0.97 for time, later in zip(bench.times, bench.times[49:], strict=False))


async def test_concurrency() -> None:
    """With every slot taken a request waits for a free one, though the rate allows it."""
    bench, end = Bench(rate=1000, concurrency=2), asyncio.Event()
    tasks = [bench.start(name, body=end.wait()) for name in "abc"]
    await settled()
    assert bench.names == "ab"
    end.set()
    await asyncio.gather(*tasks)
    assert bench.names == "abc"


async def test_first_come_first_served() -> None:
    """Requests of one class are admitted in the order of their arrival."""
    bench = Bench(rate=3, concurrency=2)
    await asyncio.gather(*(bench.request(name) for name in "abcdefg"))
    assert bench.names == "abcdefg"


async def test_bulk_yields() -> None:
    """A request that arrives while bulk requests wait, for the rate or a slot, is admitted before all of them."""
    bench, end = Bench(rate=1), asyncio.Event()
    tasks = [bench.start(name, bulk=True) for name in "xyz"]
    await asyncio.sleep(0)
    tasks.append(bench.start("a", body=end.wait()))
    await settled()
    assert bench.names == "xa"
    tasks.append(bench.start("b"))
    await settled()
    end.set()
    await asyncio.gather(*tasks)
    assert bench.names == "xabyz"


async def test_unlimited() -> None:
    """An infinite rate admits every request that there is a slot for."""
    bench = Bench(rate=float("inf"), concurrency=100)
    await asyncio.gather(*(bench.request() for _ in range(100)))
    assert set(bench.times) == {0.0}


@pytest.mark.parametrize("code", ["RESOURCE_EXHAUSTED", "UNAVAILABLE", "DEADLINE_EXCEEDED"])
async def test_backs_off_after_overload(code: str) -> None:
    """After an overload error no request is admitted for a while, twice as long each time."""
    bench = Bench(rate=100, concurrency=9)
    for _ in range(3):
        await bench.fail(TemporalRequestError(code, "no"))
    assert bench.clock() == 1 + 2
    await asyncio.gather(bench.request(), bench.request(bulk=True))
    assert bench.times == pytest.approx([7.0, 7.01])


async def test_success_resets_backoff() -> None:
    """After a request that succeeds the next failure starts at the shortest backoff again."""
    bench = Bench(rate=100)
    for _ in range(4):
        await bench.fail()
    await bench.request()
    await bench.fail()
    assert bench.limiter.backoff_remaining == pytest.approx(1)


async def test_another_error_resets_backoff() -> None:
    """An error that does not mean overload causes no backoff, and resets it."""
    bench = Bench(rate=100)
    await bench.fail()
    await bench.fail(TemporalRequestError("NOT_FOUND", "Namespace shop is not found."))
    assert bench.limiter.backoff_remaining == 0
    await bench.fail()
    assert bench.limiter.backoff_remaining == pytest.approx(1)


async def test_concurrent_failures_count_once() -> None:
    """Requests in flight that fail together cause one backoff, and one that succeeds then does not end it."""
    bench, begin = Bench(rate=float("inf"), concurrency=8), asyncio.Event()

    async def overloaded() -> None:
        await begin.wait()
        raise EXHAUSTED

    tasks = [bench.start(str(number), body=overloaded()) for number in range(7)]
    tasks.append(bench.start("ok", body=begin.wait()))
    await settled()
    begin.set()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert bench.limiter.backoff_remaining == pytest.approx(1)
    await bench.fail()
    assert bench.limiter.backoff_remaining == pytest.approx(2)


async def test_backoff_holds_waiting_requests() -> None:
    """A backoff also holds back the requests that waited when it began."""
    bench, begin = Bench(rate=4, concurrency=2), asyncio.Event()

    async def overloaded() -> None:
        await begin.wait()
        raise EXHAUSTED

    failing = bench.start("f", body=overloaded())
    await asyncio.sleep(0)
    waiting = bench.start("w")
    await asyncio.sleep(0)
    begin.set()
    await asyncio.gather(failing, waiting, return_exceptions=True)
    assert bench.admitted == [("f", 0.0), ("w", 1.0)]


async def test_cancelled_while_waiting() -> None:
    """A request cancelled while it waits does not block those behind it."""
    bench, end = Bench(rate=1000), asyncio.Event()
    first, second, third = bench.start("a", body=end.wait()), bench.start("b"), bench.start("c")
    await settled()
    second.cancel()
    end.set()
    await asyncio.wait_for(asyncio.gather(first, third), 5)
    assert bench.names == "ac"


async def test_cancelled_on_admission() -> None:
    """A request cancelled at the moment of its admission releases its slot."""
    bench = Bench(rate=float("inf"))
    async with bench.limiter.slot():
        second = bench.start("b")
        await settled()
    second.cancel()
    await asyncio.wait_for(bench.request("c"), 5)
    assert (bench.names, bench.limiter.requests) == ("c", 3)


def test_backoff() -> None:
    """The backoff doubles from a second up to a cap, for any number of failures; jitter subtracts up to half of it."""
    assert [backoff(failures, 1.0) for failures in range(1, 8)] == [1, 2, 4, 8, 16, BACKOFF_CAP, BACKOFF_CAP]
    assert backoff(5000, 1.0) == BACKOFF_CAP
    assert (backoff(3, 0.0), backoff(3, 0.5)) == (2, 3)


async def test_adaptive_rate_grows_while_requests_wait() -> None:
    """An adaptive rate grows to its maximum within seconds while requests wait for it, and not beyond."""
    bench = Bench(rate=200, initial_rate=50)
    await asyncio.gather(*(bench.request() for _ in range(1000)))
    assert bench.limiter.current_rate == 200
    assert len([time for time in bench.times if time < 1]) < 100
    assert len([time for time in bench.times if 3 <= time < 4]) == pytest.approx(200, abs=2)


async def test_adaptive_rate_that_is_not_used() -> None:
    """Requests that do not wait say nothing about the server: the rate stays."""
    bench = Bench(rate=200, initial_rate=50)
    for _ in range(100):
        await bench.request()
        bench.clock.forward(1)
    assert bench.limiter.current_rate == 50


async def test_overload_halves_an_adaptive_rate() -> None:
    """Each overload halves an adaptive rate, down to one request per second; a constant rate stays."""
    adaptive, constant = Bench(rate=200, initial_rate=50), Bench(rate=200)
    for _ in range(3):
        await adaptive.fail()
        await constant.fail()
    assert (adaptive.limiter.current_rate, constant.limiter.current_rate) == (6.25, 200)
    for _ in range(9):
        await adaptive.fail()
    assert adaptive.limiter.current_rate == 1


async def test_adapts_to_a_server_that_throttles() -> None:
    """Against a server that admits 80 requests per second, most of the 80 get through, and few are refused."""
    bench, allowed, refused = Bench(rate=200, concurrency=20, initial_rate=50), 0.0, 0

    async def request(checked_at: list[float]) -> None:
        nonlocal allowed, refused
        async with bench.limiter.slot():
            now = bench.clock()
            allowed = min(allowed + 80 * (now - checked_at[0]), 80)
            checked_at[0] = now
            if allowed < 1:
                refused += 1
                raise EXHAUSTED
            allowed -= 1

    checked_at = [0.0]
    for _ in range(400):
        await asyncio.gather(*(request(checked_at) for _ in range(20)), return_exceptions=True)
    admitted = 8000 - refused
    assert admitted / bench.clock() > 0.55 * 80
    assert refused < 0.02 * 8000
