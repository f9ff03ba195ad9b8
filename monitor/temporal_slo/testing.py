"""Fakes for tests of what stands on the exporter's protocols."""

import json
import sys
from collections import deque
from collections.abc import Callable, Iterable

from temporal_slo.names.values import PAUSED
from temporal_slo.runs.run import Run
from temporal_slo.temporal.visibility import PAGE_SIZE_MAX, Page


class FixedClock:
    """A clock that advances only on request; Unix time in seconds.

    Args:
        now: Where it starts.
    """

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        """Return the time."""
        return self.now

    def forward(self, seconds: float) -> None:
        """Move on."""
        self.now += seconds


class FakeVisibility:
    """Visibility of runs that a test puts there, listed in the order and the pages of a real server.

    Args:
        runs: What there is.
        page_limit: The largest page that it gives; a small one brings many pages out of few runs.

    Attributes:
        runs: What there is, by run id.
        requests: The name of each request made so far.
        errors: Raised by the next requests, in turn; None lets one through.
    """

    def __init__(self, runs: Iterable[Run] = (), page_limit: int = PAGE_SIZE_MAX) -> None:
        self._page_limit = page_limit
        self.runs = {run.run_id: run for run in runs}
        self.requests: list[str] = []
        self.errors: deque[Exception | None] = deque()

    def put(self, *runs: Run) -> None:
        """Add runs, or replace those of the same id."""
        self.runs.update({run.run_id: run for run in runs})

    async def closed(self, size: int, token: bytes = b"", until: int | None = None) -> Page:
        """Closed runs, newest close first, whatever their status."""
        self._ask("closed" if until is None else "closed until")
        last = sys.maxsize if until is None else until
        rows = (run for run in self.runs.values() if 0 < run.close_time <= last)
        return _page(rows, lambda run: (run.close_time, run.start_time, run.run_id), min(size, self._page_limit), token)

    async def running(self, size: int, token: bytes = b"", *, paused: bool = False) -> Page:
        """Open runs, newest start first, whatever their status, but paused ones only if they are asked for."""
        self._ask("running")
        rows = (run for run in self.runs.values() if not run.close_time and (paused or run.status != PAUSED))
        return _page(rows, lambda run: (run.start_time, run.run_id), min(size, self._page_limit), token)

    async def count(self, since: int, until: int) -> int:
        """How many runs closed from *since* until before *until*, whatever their status."""
        self._ask("count")
        return sum(since <= run.close_time < until for run in self.runs.values())

    def _ask(self, request: str) -> None:
        self.requests.append(request)
        error = self.errors.popleft() if self.errors else None
        if error:
            raise error


def _page(rows: Iterable[Run], key: Callable[[Run], tuple[int | str, ...]], size: int, token: bytes) -> Page:
    # As on a server, the token is the last row's place in the order, so that rows may come and go between pages.
    after = tuple(json.loads(token)) if token else None
    ordered = sorted((run for run in rows if after is None or key(run) < after), key=key, reverse=True)
    page = tuple(ordered[:size])
    return Page(page, json.dumps(key(page[-1])).encode() if len(ordered) > size else b"")
