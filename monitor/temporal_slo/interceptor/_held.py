"""What is counted unless its run comes back soon: where nothing tells whether the server has accepted a task."""

import threading
import time
from collections.abc import Callable
from typing import Final

GRACE: Final = 10.0
"""Seconds. A task that was rejected is there again long before."""


class Held:
    """Things to count, one for each run.

    Args:
        clock: Seconds that only go forward.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._held: dict[str, tuple[float, str, Callable[[], None]]] = {}

    def hold(self, run_id: str, task_queue: str, count: Callable[[], None]) -> None:
        """Call *count* after the grace, in place of what was held for the run before; it must not raise."""
        with self._lock:
            self._held[run_id] = (self._clock() + GRACE, task_queue, count)

    def drop(self, run_id: str) -> None:
        """Forget what is held for a run; if it is being counted now, wait for that."""
        with self._lock:
            self._held.pop(run_id, None)

    def settle(self, *, over: str | None = None) -> None:
        """Count what has been held for the grace, and all of the task queue whose worker is *over*."""
        with self._lock:
            now = self._clock()
            due = [id_ for id_, (at, queue, _) in self._held.items() if at <= now or queue == over]
            for run_id in due:
                self._held.pop(run_id)[2]()
