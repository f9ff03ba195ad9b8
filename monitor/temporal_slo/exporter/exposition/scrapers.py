"""Who scrapes, and which generations every one of them has received for sure."""

import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

WINDOW: Final = 150.0
"""Seconds of scrapes in which a pattern is searched: three scrapes a minute apart, with some tolerance."""
SCRAPES_MIN: Final = 3
"""Scrapes with two intervals between them, the least that can be compared."""
SCRAPES_MAX: Final = 300
"""Maximum number of scrapes remembered of one scraper; if it scrapes more often, no pattern is searched."""
SCRAPERS_MAX: Final = 200
"""Maximum number of known scrapers; the names that a client may give itself are unbounded."""
JITTER: Final = 0.1
JITTER_SECONDS: Final = 0.5
"""How much the times of scrapes vary: by a share of the mean time between two, or by this time if that is more."""


class Scraper(NamedTuple):
    """What a request says about the scraper.

    Attributes:
        address: IP address of the client.
        agent: `User-Agent`.
        timeout: `X-Prometheus-Scrape-Timeout-Seconds`, which Prometheus sends; empty for other clients.
    """

    address: str = ""
    agent: str = ""
    timeout: str = ""


class _Scrape(NamedTuple):
    time: float
    generation: int


class Scrapers:
    """Remembers the scrapes of each scraper, to know which generation every one of them has received.

    Several Prometheus behind one address, such as a pair, send the same: they are one scraper here. Their scrapes
    repeat in a pattern: after one scrape if they are evenly spaced, else after as many as there are until all have
    scraped again. So what was answered to a whole pattern of scrapes has reached each of them. One more is required,
    because one scraper and two evenly spaced ones look the same, and because jitter changes the order of scrapes that
    are close. As long as there is no pattern, nothing is known.

    A client that sends no scrape timeout is not Prometheus: a probe, a browser. It counts only as long as there is no
    Prometheus, from its second request on, as one client, without waiting for a pattern.

    Not thread-safe.

    Args:
        clock: Monotonic seconds.
        timeout: Seconds after its last scrape for which a scraper counts.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic, timeout: float = 120.0) -> None:
        self._clock = clock
        self._timeout = timeout
        self._scrapes: dict[Scraper, deque[_Scrape]] = {}

    def record(self, scraper: Scraper, generation: int) -> None:
        """Record that *scraper* received the complete exposition of *generation*."""
        if scraper not in self._scrapes:
            if len(self._scrapes) >= SCRAPERS_MAX:
                self._expire()
            if len(self._scrapes) >= SCRAPERS_MAX:
                return
        scrapes = self._scrapes.setdefault(scraper, deque(maxlen=SCRAPES_MAX))
        scrapes.append(_Scrape(self._clock(), generation))

    def received(self) -> int:
        """Return the newest generation that all scrapers have received; 0 if there are none, or it is unknown."""
        self._expire()
        prometheus = any(scraper.timeout for scraper in self._scrapes)
        counting = [
            (scraper, scrapes)
            for scraper, scrapes in self._scrapes.items()
            if (scraper.timeout if prometheus else len(scrapes) > 1)
        ]
        return min((_received(scraper, scrapes) for scraper, scrapes in counting), default=0)

    def _expire(self) -> None:
        now = self._clock()
        for scraper, scrapes in list(self._scrapes.items()):
            while scrapes and now - scrapes[0].time > WINDOW:
                scrapes.popleft()
            if not scrapes or now - scrapes[-1].time >= self._timeout:
                del self._scrapes[scraper]


def _received(scraper: Scraper, scrapes: Sequence[_Scrape]) -> int:
    """Return the newest generation that each of the clients that *scraper* stands for has received."""
    newest_first = sorted((scrape.generation for scrape in scrapes), reverse=True)
    if not scraper.timeout:
        return newest_first[0]
    pattern = pattern_length([scrape.time for scrape in scrapes])
    return newest_first[pattern] if pattern else 0


def pattern_length(times: Sequence[float]) -> int | None:
    """Return after how many scrapes the intervals between them repeat; None if they do not, or it is unknown."""
    if not SCRAPES_MIN <= len(times) < SCRAPES_MAX:
        return None
    # Not a share of the pattern: a single scrape of a second scraper in a long pattern would be within that.
    jitter = max(JITTER * (times[-1] - times[0]) / (len(times) - 1), JITTER_SECONDS)
    lengths = range(1, (len(times) - 1) // 2 + 1)
    return next((length for length in lengths if _repeats(times, length, jitter)), None)


def _repeats(times: Sequence[float], length: int, jitter: float) -> bool:
    """Return whether it always takes the same time until *length* scrapes later."""
    shortest = longest = times[length] - times[0]
    for earlier, later in zip(times[1:], times[length + 1 :], strict=False):
        shortest, longest = min(shortest, later - earlier), max(longest, later - earlier)
        if longest - shortest > jitter:
            return False
    return True
