"""Progress bar of a backfill on a terminal."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final, TextIO

from temporal_slo.exporter.backfill.backfill import ProgressReport
from temporal_slo.runs.microseconds import SECOND

WIDTH: Final = 30
REDRAW_INTERVAL: Final = 0.2
"""Minimum number of seconds between two redraws."""

ERASE_LINE: Final = "\x1b[K"


class ProgressBar:
    """Draws the progress in one line of a terminal; writes nothing to any other stream.

    Args:
        stream: Where to draw.
        clock: Monotonic seconds.
    """

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._terminal = stream.isatty()
        self._clock = clock
        self._drawn_at = float("-inf")
        self._complete: set[str] = set()

    def __call__(self, report: ProgressReport) -> None:
        """Draw *report*."""
        now = self._clock()
        # Completion is logged; here it only erases the line, once.
        first_complete = report.complete and report.namespace not in self._complete
        redraw = not report.complete and now - self._drawn_at >= REDRAW_INTERVAL
        if not self._terminal or not (first_complete or redraw):
            return
        self._drawn_at = now
        self._complete |= {report.namespace} if report.complete else set()
        line = "" if report.complete else _line(report)
        # The cursor returns to the start of the line, so that a log line overwrites it.
        self._stream.write(f"{line}{ERASE_LINE}\r")
        self._stream.flush()


def _line(report: ProgressReport) -> str:
    reached = datetime.fromtimestamp(max(report.progress.position, 0) / SECOND, UTC)
    name = "".join(filter(str.isprintable, report.namespace))[:40]
    return f"backfill {name} {_share(report.share)}back to {reached:%Y-%m-%d %H:%M}Z, {report.progress.runs:,} runs"


def _share(share: float | None) -> str:
    if share is None:
        return ""
    filled = int(share * WIDTH)
    return f"[{'#' * filled}{'.' * (WIDTH - filled)}] {share:4.0%} "
