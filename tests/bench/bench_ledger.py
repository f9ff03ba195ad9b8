"""Cost of a ledger in PostgreSQL compared with SQLite: `python -m tests.bench.bench_ledger [--rows 50000]`."""

import argparse
import asyncio
import statistics
import tempfile
import time
from bisect import bisect_right
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from temporal_slo.exporter.mirror.mirror import Mirror
from temporal_slo.ledger.ledger import Ledger
from temporal_slo.ledger.state import State
from temporal_slo.runs.microseconds import MINUTE, SECOND
from temporal_slo.runs.run import Run
from temporal_slo.servers.postgres import Postgres, programs
from temporal_slo.temporal.visibility import Page
from tests.run_factory import BEGAN, closed, from_visibility

NEW: Final = 100
"""Number of runs that close between two polls."""

INTERVAL: Final = 15 * SECOND


class Listed:
    """Visibility in memory, so that only the ledger is measured."""

    def __init__(self) -> None:
        self._rows: list[Run] = []

    def put(self, rows: list[Run]) -> None:
        """Add rows in order of close time, all later than the existing ones."""
        self._rows += rows

    async def closed(self, size: int, token: bytes = b"", until: int | None = None) -> Page:
        """Return a page of closed runs, newest close first."""
        last = len(self._rows)
        if token:
            last = int(token)
        elif until is not None:
            last = bisect_right(self._rows, until, key=lambda run: run.close_time)
        first = max(last - size, 0)
        return Page(tuple(reversed(self._rows[first:last])), str(first).encode() if first else b"")

    async def running(self, size: int, token: bytes = b"", *, paused: bool = False) -> Page:
        """Return an empty page."""
        del size, token, paused
        return Page(())

    async def count(self, since: int, until: int) -> int:
        """Return the number of closed runs."""
        return sum(since <= run.close_time < until for run in self._rows)


@dataclass
class Side:
    """A mirror with its ledger in one database, and its timings in seconds.

    Attributes:
        catching_up: Duration of each page.
        polls: Duration of each poll with NEW runs.
        idle: Duration of each poll without new runs.
    """

    name: str
    ledger: Ledger
    mirror: Mirror
    catching_up: list[float] = field(default_factory=list)
    polls: list[float] = field(default_factory=list)
    idle: list[float] = field(default_factory=list)

    @property
    def count(self) -> int:
        """Number of counted runs."""
        return sum(histogram.count for histogram in self.mirror.state.closed.values())

    async def poll(self, now: int, seconds: list[float]) -> None:
        """Poll once."""
        started = time.perf_counter()
        await self.mirror.poll(now)
        seconds.append(time.perf_counter() - started)

    async def catch_up(self, now: int) -> None:
        """Read one page of the gap."""
        started = time.perf_counter()
        await self.mirror.catch_up(now)
        self.catching_up.append(time.perf_counter() - started)


@dataclass
class Result:
    """Timings of both databases for the same work.

    Attributes:
        rows: Rows ingested while catching up.
        total: Total number of rows.
    """

    rows: int
    total: int
    sides: list[Side]

    def __str__(self) -> str:
        lines = [f"{'':28}{'SQLite':>12}{'PostgreSQL':>12}{'ratio':>8}"]
        rates = [self.rows / sum(side.catching_up) for side in self.sides]
        lines.append(f"{'rows/s catching up':28}{rates[0]:12.0f}{rates[1]:12.0f}{rates[1] / rates[0]:8.2f}")
        for name, what in ((f"ms a poll, {NEW} new runs", "polls"), ("ms a poll, nothing new", "idle")):
            times = [statistics.median(getattr(side, what)) * 1000 for side in self.sides]
            lines.append(f"{name:28}{times[0]:12.2f}{times[1]:12.2f}{times[1] / times[0]:8.2f}")
        return "\n".join(lines)


async def measure(folder: Path, url: str, rows: int, polls: int) -> Result:
    """Catch up and poll with each database in turns, so that other load on the machine affects both.

    Args:
        folder: Directory of the SQLite file.
        url: URL of an empty PostgreSQL database.
        rows: Rows to catch up on.
        polls: Number of polls with new runs, and of polls without.
    """
    listed, sides = Listed(), list[Side]()
    for name, where in (("SQLite", f"sqlite:///{folder / 'ledger.db'}"), ("PostgreSQL", url)):
        ledger = Ledger(where)
        sides.append(Side(name, ledger, Mirror("shop", listed, ledger, State(), BEGAN, classify=from_visibility)))
    try:
        for side in sides:
            await side.mirror.poll(BEGAN)
        listed.put([closed(1 + at * 3600 / rows) for at in range(rows)])
        now = BEGAN + 70 * MINUTE
        left = await _catch_up(sides, now)
        for number in range(polls):
            now += INTERVAL
            listed.put([closed((now - BEGAN) / SECOND - 1 + at / 1000) for at in range(NEW)])
            # Each of them is first equally often.
            for side in sides if number % 2 else sides[::-1]:
                await side.poll(now, side.polls)
                await side.poll(now, side.idle)
    finally:
        for side in sides:
            side.ledger.close()
    return Result(left, rows + polls * NEW, sides)


async def _catch_up(sides: list[Side], now: int) -> int:
    """Poll once, then catch up on the gap; return the number of rows in it."""
    for side in sides:
        await side.mirror.poll(now)
    before = sides[0].count
    while any(side.mirror.state.gaps for side in sides):
        for side in sides:
            await side.catch_up(now)
    return sides[0].count - before


async def _main(rows: int, polls: int) -> None:
    server = Postgres(programs(Path(".tools"), print))
    try:
        await server.ready()
        with tempfile.TemporaryDirectory(dir=".") as folder:
            print(await measure(Path(folder), server.url(), rows, polls))
    finally:
        server.close()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--polls", type=int, default=40)
    given = parser.parse_args()
    asyncio.run(_main(given.rows, given.polls))


if __name__ == "__main__":
    main()
