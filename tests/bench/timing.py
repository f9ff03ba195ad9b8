"""Timings of one piece of work, and of two ways to do it."""

import statistics
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field


@dataclass
class Side:
    """Timings of one way to do a piece of work.

    Attributes:
        seconds: Duration of each call.
        count: Rows, runs or requests, total of all calls.
        requests: Requests of the most expensive call; in a race, of all calls.
    """

    seconds: list[float] = field(default_factory=list)
    count: int = 0
    requests: int = 0

    async def timed(self, act: Callable[[], Awaitable[int]]) -> int:
        """Time one call of *act*; return the count that it returns."""
        started = time.perf_counter()
        count = await act()
        self.seconds.append(time.perf_counter() - started)
        self.count += count
        return count

    @property
    def median(self) -> float:
        """Median duration in seconds."""
        return statistics.median(self.seconds)

    @property
    def rate(self) -> float:
        """Rows or runs per second."""
        return self.count / sum(self.seconds)

    def typical(self, other: "Side") -> float:
        """Median ratio of our duration to the other's, per turn: other load on the machine affects both alike."""
        return statistics.median(ours / theirs for ours, theirs in zip(self.seconds, other.seconds, strict=True))


@dataclass
class Race:
    """The same work, done alternately by our code and by a bare loop."""

    ours: Side = field(default_factory=Side)
    bare: Side = field(default_factory=Side)

    @property
    def ratio(self) -> float:
        """Our rate divided by the rate of the bare loop."""
        return self.ours.rate / self.bare.rate

    @property
    def typical(self) -> float:
        """The same ratio in the median turn; valid for turns of equal size."""
        return self.bare.typical(self.ours)
