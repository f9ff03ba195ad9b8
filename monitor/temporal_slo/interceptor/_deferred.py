"""Counts that wait until it is likely that the server has accepted their workflow task."""

import threading
import time
from collections.abc import Callable
from typing import Final

GRACE: Final = 10.0
"""Seconds. A task that the server rejected is dispatched again long before."""


class DeferredCounts:
    """Counts to record after a grace period, at most one per run, unless the run gets another live task first.

    Args:
        clock: Monotonic clock, in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._deferred: dict[str, tuple[float, str, Callable[[], None]]] = {}

    def defer(self, run_id: str, task_queue: str, count: Callable[[], None]) -> None:
        """Call *count* after the grace period; replaces the run's previous one. *count* must not raise."""
        with self._lock:
            self._deferred[run_id] = (self._clock() + GRACE, task_queue, count)

    def discard(self, run_id: str) -> None:
        """Discard the count of a run; if it is being recorded now, wait until it is."""
        with self._lock:
            self._deferred.pop(run_id, None)

    def flush(self, *, stopped_queue: str | None = None) -> None:
        """Record counts whose grace period is over, and all counts of the task queue whose worker has stopped."""
        with self._lock:
            now = self._clock()
            due = [id_ for id_, (at, queue, _) in self._deferred.items() if at <= now or queue == stopped_queue]
            for run_id in due:
                self._deferred.pop(run_id)[2]()
