"""What the requests of a poll asked and what came back, for whoever looks into one: a decorator round the protocol."""

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from temporal_slo.errors import TemporalRequestError
from temporal_slo.runs.microseconds import SECOND
from temporal_slo.temporal.visibility import Page, Visibility

KEPT: Final = 50
"""Requests of a poll that are kept: the newest."""


@dataclass(slots=True)
class Asked:
    """A request.

    Attributes:
        what: What was asked.
        code: The gRPC code of the answer.
        rows: How many rows or runs came back; None without an answer.
        seconds: How long that took, without the wait for its turn.
    """

    what: str
    code: str = "OK"
    rows: int | None = None
    seconds: float = 0.0


@dataclass(slots=True)
class Trace:
    """The requests of the last poll.

    Attributes:
        began: When it began, Unix time in seconds; None before the first.
        dropped: Requests of it that are not kept.
    """

    began: float | None = None
    asked: deque[Asked] = field(default_factory=lambda: deque(maxlen=KEPT))
    dropped: int = 0

    def begin(self, now: float) -> None:
        """Forget the poll before; one begins at *now*, Unix time in seconds."""
        self.began, self.dropped = now, 0
        self.asked.clear()

    @contextmanager
    def asking(self, what: str, passing: Callable[[], float] = time.monotonic) -> Iterator[Asked]:
        """Take note of a request, which the body makes."""
        asked, began = Asked(what), passing()
        try:
            yield asked
        except TemporalRequestError as error:
            asked.code = error.code
            raise
        finally:
            asked.seconds = passing() - began
            self.dropped += len(self.asked) == KEPT
            self.asked.append(asked)

    def told(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        requests = [{name: getattr(asked, name) for name in Asked.__slots__} for asked in self.asked]
        return {"began": self.began, "requests": requests, "requests_dropped": self.dropped}


class TracedVisibility:
    """Visibility that takes note of what it was asked.

    Args:
        inner: Answers the requests.
        trace: Gets the notes.
    """

    def __init__(self, inner: Visibility, trace: Trace) -> None:
        self._inner = inner
        self._trace = trace

    async def closed(self, size: int, token: bytes = b"", until: int | None = None) -> Page:
        """Closed runs, newest close first."""
        older = "" if until is None else f", closed until {_moment(until)}"
        with self._trace.asking(f"closed runs, {_page(size, token)}{older}") as asked:
            return _counted(asked, await self._inner.closed(size, token, until))

    async def running(self, size: int, token: bytes = b"", *, paused: bool = False) -> Page:
        """Running runs, newest start first."""
        kind = "running and paused runs" if paused else "running runs"
        with self._trace.asking(f"{kind}, {_page(size, token)}") as asked:
            return _counted(asked, await self._inner.running(size, token, paused=paused))

    async def count(self, since: int, until: int) -> int:
        """How many runs closed from *since* until before *until*."""
        with self._trace.asking(f"number of runs closed from {_moment(since)} until {_moment(until)}") as asked:
            asked.rows = await self._inner.count(since, until)
            return asked.rows


def _counted(asked: Asked, page: Page) -> Page:
    asked.rows = len(page.rows)
    return page


def _page(size: int, token: bytes) -> str:
    return f"{'a further' if token else 'the first'} page of {size}"


def _moment(microseconds: int) -> str:
    return datetime.fromtimestamp(microseconds / SECOND, UTC).isoformat(timespec="milliseconds")
