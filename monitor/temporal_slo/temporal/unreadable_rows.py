"""Rows that cannot be received: found by their time, so that a list continues below them, and counted."""

import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Final

from temporal_slo.names.values import TOO_LARGE, UNDECODABLE
from temporal_slo.runs.microseconds import HOUR, SECOND

REASONS: Final = (TOO_LARGE, UNDECODABLE)

REMEMBERED: Final = 1000
"""Times of rows that are remembered: a row that is met again is found at once, and not counted again."""

LOGGED: Final = 100
"""Rows that are logged; further ones are only counted."""

FAR: Final = 100 * 365 * 24 * HOUR
"""How far the clock of a server may be ahead."""

log = logging.getLogger(__name__)

IsEmpty = Callable[[int], Awaitable[bool]]
"""Returns whether a list has no rows later than a time; False if its first such row cannot be received."""


class UnreadableRows:
    """The rows of one Temporal namespace that could not be received.

    Args:
        namespace: Temporal namespace.

    Attributes:
        counts: Rows that were passed over, by reason.
    """

    def __init__(self, namespace: str) -> None:
        self._namespace = namespace
        # In the order in which they were found.
        self._times: dict[tuple[str, int], None] = {}
        self.counts: Counter[str] = Counter(dict.fromkeys(REASONS, 0))

    def times(self, column: str) -> list[int]:
        """Return the times of the remembered rows of lists that are sorted by *column*, ascending."""
        return sorted(time for name, time in self._times if name == column)

    def add(self, reason: str, column: str, time: int, rows: int) -> None:
        """Count rows, unless they are remembered, and log them.

        Args:
            reason: Why they cannot be received.
            column: Name of the time that the list is sorted by.
            time: Their time, in microseconds of Unix time.
            rows: How many there are at exactly that time.
        """
        if (column, time) in self._times:
            return
        if len(self._times) >= REMEMBERED:
            del self._times[next(iter(self._times))]
        self._times[column, time] = None
        self.counts[reason] += rows
        if self.counts.total() <= LOGGED:
            # Nothing else is known of a row that no response can contain.
            where = f"{column} {datetime.fromtimestamp(time / SECOND, UTC).isoformat(timespec='microseconds')}"
            log.warning(
                "%s: visibility row cannot be received and is set aside, %s: %s", self._namespace, reason, where
            )


async def time_of_first(is_empty: IsEmpty, now: int, known: Sequence[int] = ()) -> int | None:
    """Return the time of the first row of a list, which cannot be received; None if it is not found.

    Args:
        is_empty: Requests the list above a time.
        now: Current time, in microseconds of Unix time.
        known: Times at which it may be, ascending; they need few requests.
    """
    remembered = await _lowest_empty(is_empty, known)
    if remembered is not None and not await is_empty(remembered - 1):
        return remembered
    high, step = now, SECOND
    if not await is_empty(now):
        low, high = now, now + FAR
    else:
        low = high - step
        while await is_empty(low):
            if not low:
                return None
            high, step = low, 2 * step
            low = max(high - step, 0)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if await is_empty(middle) else (middle, high)
    # A passing fault of the server must not be taken for a row: both answers are repeated.
    return high if await is_empty(high) and not await is_empty(low) else None


async def _lowest_empty(is_empty: IsEmpty, times: Sequence[int]) -> int | None:
    low, high = 0, len(times)
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if await is_empty(times[middle]) else (middle + 1, high)
    return times[low] if low < len(times) else None
