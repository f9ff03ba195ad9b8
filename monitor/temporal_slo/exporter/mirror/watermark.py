"""How far down a list that is ordered newest first was read."""

from collections.abc import Iterable
from typing import Final

from temporal_slo.ledger.change import Position
from temporal_slo.runs.microseconds import SECOND

FUTURE: Final = 5 * SECOND
"""How far a row's time may lie ahead of our clock before it no longer moves the edge."""

REACH: Final = 3600 * SECOND
"""How far below its edge a list is ever read again; run ids are known for twice as long."""


class Edge:
    """The edge below which a list was covered.

    All positions are times of the server; our own clock only tells how long ago the edge was reached, so that a
    skewed clock hides nothing.

    Args:
        position: What is known of it.
        now: Our clock. A restored edge counts as reached only now, so that its rows have their whole grace once more.
    """

    def __init__(self, position: Position, now: int) -> None:
        self.position = position
        self._reached = now

    def floor(self, last: int, grace: int) -> int:
        """Return the oldest time at which a row may still be new to us.

        Args:
            last: Our clock at the last complete read that reached as far down as this one is to.
            grace: How late a row may become visible. One that was not visible at *last* is younger by that much.
        """
        # Bounded: with a clock that was set back by hours it would reach below what is known of rows.
        still_late = min(max(grace - (last - self._reached), 0), REACH)
        return max(self.position.position - still_late, self.position.lowest)

    def ahead(self, moments: Iterable[int], now: int) -> Position | None:
        """Return where the newest of *moments* moves the edge, or None if it does not.

        A row from the future does not move it, else one skewed clock would hide all that happens until then.
        """
        newest = max((moment for moment in moments if moment <= now + FUTURE), default=0)
        if newest <= self.position.position:
            return None
        return self.position._replace(position=newest)

    def move(self, position: Position | None, now: int) -> None:
        """Move to *position*, as `ahead` gave it, of a read that began at *now*; None is no move."""
        if position:
            self.position, self._reached = position, now
