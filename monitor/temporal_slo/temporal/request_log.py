"""The visibility requests of the last poll, for `/debug/poll`."""

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from temporalio.service import RPCStatusCode

from temporal_slo.errors import TemporalRequestError

LOG_SIZE: Final = 50
"""Requests of a poll that are kept: the newest."""


@dataclass(slots=True)
class LoggedRequest:
    """A request.

    Attributes:
        request: What was requested, as text.
        code: gRPC code of the response.
        rows: Rows in the response, or the runs that it counts; None without a response.
        seconds: Duration of the request, without the wait for the rate limiter.
    """

    request: str
    code: str = RPCStatusCode.OK.name
    rows: int | None = None
    seconds: float = 0.0


@dataclass(slots=True)
class RequestLog:
    """The requests of the last poll.

    Attributes:
        poll_start: Start of the poll, Unix time in seconds; None before the first.
        requests: The newest requests, at most LOG_SIZE.
        dropped: Requests of the poll that are not kept.
    """

    poll_start: float | None = None
    requests: deque[LoggedRequest] = field(default_factory=lambda: deque(maxlen=LOG_SIZE))
    dropped: int = 0

    def start_poll(self, now: float) -> None:
        """Drop the requests of the previous poll.

        Args:
            now: Start of the new poll, Unix time in seconds.
        """
        self.poll_start, self.dropped = now, 0
        self.requests.clear()

    @contextmanager
    def record(self, request: str, clock: Callable[[], float] = time.monotonic) -> Iterator[LoggedRequest]:
        """Log the request that the body makes, with its duration and its code.

        Args:
            request: What is requested, as text.
            clock: Monotonic time in seconds.
        """
        entry, start = LoggedRequest(request), clock()
        try:
            yield entry
        except TemporalRequestError as error:
            entry.code = error.code
            raise
        finally:
            entry.seconds = clock() - start
            self.dropped += len(self.requests) == LOG_SIZE
            self.requests.append(entry)

    def debug_info(self) -> dict[str, Any]:
        """Return the log as JSON."""
        requests = [{name: getattr(entry, name) for name in LoggedRequest.__slots__} for entry in self.requests]
        return {"start": self.poll_start, "requests": requests, "requests_dropped": self.dropped}
