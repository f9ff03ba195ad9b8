"""The progress of a backfill, on a terminal."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final, TextIO

from temporal_slo.exporter.backfill.backfill import Done
from temporal_slo.runs.microseconds import SECOND

WIDTH: Final = 30
INTERVAL: Final = 0.2
"""Seconds between two drawings at least."""

ERASE: Final = "\x1b[K"


class Bar:
    """Draws a line on a terminal, and nothing on what is none.

    Args:
        stream: Where to.
        clock: Seconds that only rise.
    """

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._terminal = stream.isatty()
        self._clock = clock
        self._drawn = float("-inf")
        self._complete: set[str] = set()

    def __call__(self, done: Done) -> None:
        """Show how far a backfill has come."""
        now = self._clock()
        # When it is complete the log tells so; the line is only taken away.
        fresh = done.complete and done.namespace not in self._complete
        if not self._terminal or not (fresh or (not done.complete and now - self._drawn >= INTERVAL)):
            return
        self._drawn = now
        self._complete |= {done.namespace} if done.complete else set()
        line = "" if done.complete else _line(done)
        # The cursor goes back to its begin, so that a line of the log takes its place.
        self._stream.write(f"{line}{ERASE}\r")
        self._stream.flush()


def _line(done: Done) -> str:
    reached = datetime.fromtimestamp(max(done.progress.position, 0) / SECOND, UTC)
    name = "".join(filter(str.isprintable, done.namespace))[:40]
    return f"backfill {name} {_share(done.share)}back to {reached:%Y-%m-%d %H:%M}Z, {done.progress.runs:,} runs"


def _share(share: float | None) -> str:
    if share is None:
        return ""
    filled = int(share * WIDTH)
    return f"[{'#' * filled}{'.' * (WIDTH - filled)}] {share:4.0%} "
