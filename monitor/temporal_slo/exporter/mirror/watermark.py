"""Watermark: how far a list that is ordered newest first is read."""

from collections.abc import Iterable
from typing import Final

from temporal_slo.ledger.change import Position
from temporal_slo.runs.microseconds import SECOND

FUTURE: Final = 5 * SECOND
"""How far a row's time may be ahead of the local clock and still move the watermark."""

REACH: Final = 3600 * SECOND
"""How far below the watermark a list is read again at most. Run ids are remembered for twice as long."""


class Watermark:
    """The time up to which a list is read.

    Positions are times of the server. The local clock only measures how long ago the watermark moved, so clock skew
    hides no row.

    Args:
        position: The position from the ledger.
        now: Local clock, in microseconds of Unix time. A restored watermark counts as moved now, so its rows get the
            whole grace period again.
    """

    def __init__(self, position: Position, now: int) -> None:
        self.position = position
        self._moved = now

    def floor(self, last: int, grace: int) -> int:
        """Return the oldest time at which a row may have become visible since *last*.

        Args:
            last: Local clock at the last complete read that reached equally far down.
            grace: How late a row may become visible.
        """
        # Bounded: after the clock was set back by hours, the read would go below the run ids that are remembered.
        still_late = min(max(grace - (last - self._moved), 0), REACH)
        return max(self.position.position - still_late, self.position.lowest)

    def ahead(self, times: Iterable[int], now: int) -> Position | None:
        """Return the position to which the newest of *times* moves the watermark; None if it does not move.

        A row from the future does not move it: one skewed clock would hide all rows until that time.
        """
        newest = max((time for time in times if time <= now + FUTURE), default=0)
        if newest <= self.position.position:
            return None
        return self.position._replace(position=newest)

    def move(self, position: Position | None, now: int) -> None:
        """Move to *position*, as returned by `ahead`, of a read that started at *now*; None does not move it."""
        if position:
            self.position, self._moved = position, now
