import asyncio
from collections.abc import Awaitable, Iterator
from contextlib import suppress

import pytest

from temporal_slo.errors import TemporalRequestError
from temporal_slo.temporal.rate_limit import BACKOFF_CAP, Budget, backoff
from temporal_slo.testing import FixedClock

EXHAUSTED = TemporalRequestError("RESOURCE_EXHAUSTED", "namespace rate limit exceeded")
FOREVER = asyncio.Event


class Bench:
    """A budget on a clock that every sleep moves, and a record of who was let through when."""

    def __init__(self, rate: float, concurrency: int = 1, late: float = 0.0) -> None:
        self.clock = FixedClock(0.0)
        self.late = late
        self.passed: list[tuple[str, float]] = []
        self.budget = Budget(rate, concurrency, self.clock, self.sleep, jitter=lambda: 1.0)

    async def sleep(self, seconds: float) -> None:
        """Let time pass, and a little more if timers are late."""
        await asyncio.sleep(0)
        self.clock.forward(seconds + self.late)

    async def request(self, name: str = "", *, bulk: bool = False, body: Awaitable[object] | None = None) -> None:
        """Make one request, which takes no time, or as long as *body*."""
        async with self.budget.slot(bulk=bulk):
            self.passed.append((name, self.clock()))
            if body:
                await body

    def start(self, name: str, *, bulk: bool = False, body: Awaitable[object] | None = None) -> asyncio.Task[None]:
        """Make one request beside others."""
        return asyncio.create_task(self.request(name, bulk=bulk, body=body))

    async def fail(self, error: Exception = EXHAUSTED) -> None:
        """Make one request that fails."""
        with suppress(TemporalRequestError):
            async with self.budget.slot():
                raise error

    @property
    def names(self) -> str:
        """Who was let through, in order."""
        return "".join(name for name, _ in self.passed)

    @property
    def times(self) -> list[float]:
        """When they were."""
        return [time for _, time in self.passed]


async def settled() -> None:
    """Let every task go as far as it can."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_paces_evenly() -> None:
    """Requests that come at once are let through one by one, the first at once, each an interval after the last."""
    bench = Bench(rate=4, concurrency=7)
    await asyncio.gather(*(bench.request() for _ in range(5)))
    assert bench.times == [0, 0.25, 0.5, 0.75, 1.0]
    assert (bench.budget.requests, bench.budget.waited_seconds) == (5, 2.5)


async def test_idle_time_is_not_saved_up() -> None:
    """After an idle hour no more than one request is let through at once."""
    bench = Bench(rate=4, concurrency=7)
    await bench.request()
    bench.clock.forward(3600)
    await asyncio.gather(*(bench.request() for _ in range(3)))
    assert bench.times[1:] == [3600, 3600.25, 3600.5]


async def test_late_timers_cost_no_rate() -> None:
    """Timers that ring a tenth of the interval late do not slow the requests down, nor let more through."""
    bench = Bench(rate=50, concurrency=3, late=0.0018)
    await asyncio.gather(*(bench.request() for _ in range(101)))
    assert bench.times[-1] == pytest.approx(2.0, abs=0.01)
    assert all(later - time > 0.97 for time, later in zip(bench.times, bench.times[49:], strict=False))


async def test_concurrency() -> None:
    """With every place taken a request waits until one is free, though its time has come."""
    bench, end = Bench(rate=1000, concurrency=2), FOREVER()
    tasks = [bench.start(name, body=end.wait()) for name in "abc"]
    await settled()
    assert bench.names == "ab"
    end.set()
    await asyncio.gather(*tasks)
    assert bench.names == "abc"


async def test_first_come_first_served() -> None:
    """Callers of one class are served in the order in which they came."""
    bench = Bench(rate=3, concurrency=2)
    await asyncio.gather(*(bench.request(name) for name in "abcdefg"))
    assert bench.names == "abcdefg"


async def test_bulk_waits_for_steady() -> None:
    """A steady request that comes while bulk ones wait, for their time or a place, goes ahead of all of them."""
    bench, end = Bench(rate=1), FOREVER()
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
    """An infinite rate lets everything through that there is a place for."""
    bench = Bench(rate=float("inf"), concurrency=100)
    await asyncio.gather(*(bench.request() for _ in range(100)))
    assert set(bench.times) == {0.0}


@pytest.mark.parametrize("code", ["RESOURCE_EXHAUSTED", "UNAVAILABLE", "DEADLINE_EXCEEDED"])
async def test_rests_after_overload(code: str) -> None:
    """After an answer that tells of overload nobody is let through for a while, twice as long each time."""
    bench = Bench(rate=100, concurrency=9)
    for _ in range(3):
        await bench.fail(TemporalRequestError(code, "no"))
    assert bench.clock() == 1 + 2
    await asyncio.gather(bench.request(), bench.request(bulk=True))
    assert bench.times == pytest.approx([7.0, 7.01])


async def test_success_ends_the_doubling() -> None:
    """Once a request is answered the next failure brings the shortest rest again."""
    bench = Bench(rate=100)
    for _ in range(4):
        await bench.fail()
    await bench.request()
    await bench.fail()
    assert bench.budget.resting == pytest.approx(1)


async def test_another_error_is_an_answer() -> None:
    """An error that tells of no overload brings no rest, and ends the doubling."""
    bench = Bench(rate=100)
    await bench.fail()
    await bench.fail(TemporalRequestError("NOT_FOUND", "Namespace shop is not found."))
    assert bench.budget.resting == 0
    await bench.fail()
    assert bench.budget.resting == pytest.approx(1)


async def test_failures_of_one_moment_count_once() -> None:
    """Requests under way together that fail together bring one rest, and one that succeeds then does not end it."""
    bench, begin = Bench(rate=float("inf"), concurrency=8), FOREVER()

    async def overloaded() -> None:
        await begin.wait()
        raise EXHAUSTED

    tasks = [bench.start(str(number), body=overloaded()) for number in range(7)]
    tasks.append(bench.start("ok", body=begin.wait()))
    await settled()
    begin.set()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert bench.budget.resting == pytest.approx(1)
    await bench.fail()
    assert bench.budget.resting == pytest.approx(2)


async def test_rest_that_begins_while_others_wait() -> None:
    """A rest holds back also those who were waiting for their turn when it began."""
    bench, begin = Bench(rate=4, concurrency=2), FOREVER()

    async def overloaded() -> None:
        await begin.wait()
        raise EXHAUSTED

    failing = bench.start("f", body=overloaded())
    await asyncio.sleep(0)
    waiting = bench.start("w")
    await asyncio.sleep(0)
    begin.set()
    await asyncio.gather(failing, waiting, return_exceptions=True)
    assert bench.passed == [("f", 0.0), ("w", 1.0)]


async def test_cancelled_while_it_waits() -> None:
    """A caller cancelled while it waits stops nobody behind it."""
    bench, end = Bench(rate=1000), FOREVER()
    first, second, third = bench.start("a", body=end.wait()), bench.start("b"), bench.start("c")
    await settled()
    second.cancel()
    end.set()
    await asyncio.wait_for(asyncio.gather(first, third), 5)
    assert bench.names == "ac"


async def test_cancelled_as_its_turn_comes() -> None:
    """A caller cancelled in the moment in which its turn comes gives its place back."""
    bench = Bench(rate=float("inf"))
    async with bench.budget.slot():
        second = bench.start("b")
        await settled()
    second.cancel()
    await asyncio.wait_for(bench.request("c"), 5)
    assert (bench.names, bench.budget.requests) == ("c", 3)


def rests() -> Iterator[float]:
    """The rests after one failure, two, and so on, without jitter."""
    return (backoff(failures, 1.0) for failures in range(1, 8))


def test_backoff() -> None:
    """The rest doubles from a second up to a cap, for however many failures; jitter takes up to half of it away."""
    assert list(rests()) == [1, 2, 4, 8, 16, BACKOFF_CAP, BACKOFF_CAP]
    assert backoff(5000, 1.0) == BACKOFF_CAP
    assert (backoff(3, 0.0), backoff(3, 0.5)) == (2, 3)
